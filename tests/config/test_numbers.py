"""Numbers: what no run could compute with is refused by its key; whole numbers may be written in several ways."""

from collections.abc import Callable, Iterator
from typing import Annotated, Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from rlottery.config import ALGORITHMS, DEFAULT_ALGORITHM, ON_POLICY, Config
from rlottery.config.fields import Discount, NumberOrAuto, Positive, Rate, Section
from rlottery.config.recipes import TicketRecipe
from tests.config.conftest import Faults

Load = Callable[..., Config]

MINIMAL = """
tasks: [a]
seeds: [0]
training: {env_steps: 1000, warmup_steps: 10}
evaluation: {interval: 1, score_evaluations: 1}
"""


def accepts(kind: object, value: object) -> bool:
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError:
        return False
    return True


def number_keys(section: type[Section], of: str = "") -> Iterator[str]:
    """The keys that take a number, of a section and of those in it. Those of lists end in [].

    Found by what they accept, so that a new key is tested as well.
    """
    for name, field in section.model_fields.items():
        kinds = (field.annotation, *get_args(field.annotation))
        for inner in kinds:
            if isinstance(inner, type) and issubclass(inner, Section):
                yield from number_keys(inner, f"{of}{name}.")
        kind = _with_validators(field)
        if any(accepts(kind, number) for number in (100, 0.1)):
            yield f"{of}{name}"
        if any(accepts(kind, [number]) for number in (100, 0.1)):
            yield f"{of}{name}[]"


def _with_validators(field: FieldInfo) -> object:
    return Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation  # type: ignore[return-value]


OF_STUDY = [key for key in number_keys(Config) if not key.startswith(("tasks", "arms"))]
OF_ARMS = list(number_keys(TicketRecipe))
IMPOSSIBLE = [".nan", ".inf", "-.inf", "1e400", "1" + 30 * "0", "-1e400", "1e300", "-1e300", "true", "null", "x"]


def setting(key: str, value: str) -> str:
    """An override that sets a key of the study."""
    return f"{key[:-2]}=[{value}]" if key.endswith("[]") else f"{key}={value}"


def minimal(key: str) -> str:
    """A config that may have this key."""
    section, _, inner = key.removesuffix("[]").partition(".")
    owner = section if section in ALGORITHMS else "dqn" if inner.endswith("q") else DEFAULT_ALGORITHM
    made = MINIMAL if owner not in ON_POLICY else MINIMAL.replace(", warmup_steps: 10", "")
    return f"{made}algorithm: {owner}\n"


def arm(key: str, value: str) -> str:
    """An override that lists one arm, with one of its keys set."""
    path = [part for part in key.removesuffix("[]").split(".") if part != "layers"]
    text = f"[{value}]" if key.endswith("[]") else value
    if path[0] == "allocation":
        others = {"actor": ", critic: [0.5, 0.5, 0.5]", "critic": ", actor: [0.5, 0.5, 0.5]", "q": ""}
        return f"arms=[{{criterion: taylor, allocation: {{{path[1]}: {text}{others[path[1]]}}}}}]"
    for part in reversed(path):
        text = f"{{{part}: {text}}}"
    scored = "" if path[0] == "schedule" and path[1] != "iterative" else "criterion: magnitude, "
    scored = "criterion: taylor, " if path[0] in ("batches", "batch_size") else scored
    pruned = "" if path[0] == "sparsity" else "sparsity: 0.5, "
    return f"arms=[{{{scored}{pruned}{text[1:-1]}}}]"


def test_the_keys_are_found() -> None:
    assert len(OF_STUDY) == 69 and {"seeds[]", "network.actor[]", "sac.discount", "verdict.level"} <= {*OF_STUDY}
    assert len(OF_ARMS) == 19 and {"batches", "rewind.step", "schedule.rigl.drop", "sparsity[]"} <= {*OF_ARMS}


@pytest.mark.parametrize("key", OF_STUDY)
def test_no_key_takes_what_cannot_be_computed_with(faults: Faults, key: str) -> None:
    place = key.replace("[]", ".0")
    for value in IMPOSSIBLE:
        override = setting(key, value)
        found = [line.removeprefix(f"command line: {override}: ") for line in faults(minimal(key), override)]
        assert any(f"{line}".startswith((f"{place}: must be ", "must be ")) for line in found), (value, found)


@pytest.mark.parametrize("key", OF_ARMS)
def test_no_key_of_an_arm_does(faults: Faults, key: str) -> None:
    for value in IMPOSSIBLE:
        if key == "sparsity" and value == "null":  # as if it weren't given
            continue
        found = faults(minimal(key), arm(key, value))[0]
        assert key.removesuffix("[]").rpartition(".")[2] in found and "must be " in found, (value, found)


@pytest.mark.parametrize("key", [*OF_STUDY, *OF_ARMS])
def test_numbers_have_no_quotes(faults: Faults, key: str) -> None:
    if key == "rewind.step":
        return  # its message shows what it takes
    override = setting(key, '"1e2"') if key in OF_STUDY else arm(key, '"1e2"')
    assert any(line.endswith("not '1e2'; leave the quotes out") for line in faults(minimal(key), override))


def value_of(config: Config, key: str) -> object:
    value: Any = config
    for part in key.removesuffix("[]").split("."):
        value = getattr(value, part)
    return value[0] if key.endswith("[]") else value


DIVIDED = {
    "training.environments": ["training.warmup_steps=100", "evaluation.interval=100"],
    "ppo.rollout_steps": ["ppo.batch_size=50"],
    "ppo.batch_size": ["ppo.rollout_steps=200"],
    "ppo.epochs": ["ppo.rollout_steps=64"],
}
"""What else has to be set if a key is 100, because one must divide the other or fit into it."""


@pytest.mark.parametrize("key", OF_STUDY)
def test_whole_numbers_may_be_written_with_an_exponent(load: Load, faults: Faults, key: str) -> None:
    default = value_of(Config(tasks=["a"], seeds=[0]), key)  # type: ignore[arg-type, list-item]
    if not isinstance(default, int) and key not in ("workers", "training.replay_capacity"):
        return
    others = DIVIDED.get(key, [])
    for written in ("100", "1e2", "1.0e2", "100.0", "1_00", "+1e+2"):
        value = value_of(load(minimal(key), setting(key, written), *others), key)
        assert (type(value), value) == (int, 100)
    is_share = key == "training.updates_per_step.updates"  # fractions are more than a slip here
    for written in ("1e2.0", "0x64") if is_share else ("100.5", "1e-2", "1e2.0", "0x64"):
        assert "must be a whole number" in faults(MINIMAL, setting(key, written))[0]


@pytest.mark.parametrize(
    "key", [key for key in OF_ARMS if key.endswith(("batches", "size", "step", "floor", "interval"))]
)
def test_whole_numbers_of_arms(load: Load, faults: Faults, key: str) -> None:
    def read(written: str) -> object:
        recipe: Any = load(MINIMAL, arm(key, written)).recipes[0]
        for part in key.split("."):
            recipe = getattr(recipe, part)
        return recipe

    for written in ("100", "1e2", "1.0e2", "100.0", "1_00"):
        value = read(written)
        assert (type(value), value) == (int, 100)
    assert "whole number" in faults(MINIMAL, arm(key, "100.5"))[0]
    assert "at most 2,147,483,647" in faults(MINIMAL, arm(key, "1e10"))[0] or key.startswith("batch")


class TestFloat32:
    """Against NumPy's float32. Numbers below the smallest normal one are 0 in compiled programs."""

    TINY, HUGE = float(np.finfo(np.float32).tiny), float(np.finfo(np.float32).max)

    @given(st.floats(0, 1, exclude_min=True))
    def test_rates(self, x: float) -> None:
        assert accepts(Rate, x) == (np.float32(x) >= self.TINY)

    @given(st.floats(0, 1, exclude_max=True) | st.floats(1 - 1e-7, 1, exclude_max=True))
    def test_discounts(self, x: float) -> None:
        assert accepts(Discount, x) == (np.float32(x) < 1)

    @given(st.floats(allow_nan=False, allow_infinity=False))
    def test_others(self, x: float) -> None:
        with np.errstate(over="ignore"):
            is_held = abs(x) <= self.HUGE
            assert accepts(NumberOrAuto, x) == is_held
            assert accepts(Positive, x) == (x >= self.TINY and is_held)

    @pytest.mark.parametrize(
        ("override", "message"),
        [
            (
                "sac.discount=0.99999999",
                "to below 1, not 0.99999999: float32 rounds it to 1; the largest below 1 is 0.9",
            ),
            ("sac.polyak=1e-50", "above 0 and at most 1, not 1e-50: float32 rounds it to 0; the smallest is 1.2e-38"),
            ("sac.reward_scale=1e39", "must be a number above 0, not 1e+39: float32 holds at most 3.4e38"),
            ("sac.target_entropy=-1e39", "must be a number, or auto, not -1e+39: float32 holds at most 3.4e38"),
        ],
    )
    def test_messages_name_the_limit(self, faults: Faults, override: str, message: str) -> None:
        assert message in faults(MINIMAL, override)[0]


class TestSeeds:
    def test_up_to_int64(self, load: Load, faults: Faults) -> None:
        assert load(MINIMAL, f"seeds=[{2**63 - 1}, 1e15, 0.0]").seeds == (2**63 - 1, 10**15, 0)
        for seed in (2**63, 2**64):
            message = f"seeds.0: must be at most 9,223,372,036,854,775,807, not {seed}"
            assert faults(MINIMAL, f"seeds=[{seed}]")[0].endswith(message)

    def test_that_float64_may_have_rounded(self, faults: Faults) -> None:
        assert "must be written without an exponent, not 1e+18" in faults(MINIMAL, "seeds=[1e18]")[0]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (
            ["training.env_steps=2e9", "training.updates_per_step=2", "evaluation.interval=1e5"],
            "would make 3,999,999,980 updates in a run",
        ),
        (["verdict.resamples=1000001"], "verdict.resamples=1000001: must be at most 1,000,000, not 1000001"),
        (
            ["network.actor=[" + ", ".join(["4"] * 101) + "]"],
            "must have at most 100 entries, one for each hidden layer",
        ),
    ],
)
def test_products_that_are_too_large(faults: Faults, overrides: list[str], message: str) -> None:
    found = faults(MINIMAL, *overrides)
    assert len(found) == 1 and message in found[0]
