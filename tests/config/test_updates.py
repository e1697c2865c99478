"""How many updates are made, and when."""

from collections.abc import Callable
from fractions import Fraction
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.config import Config, Training
from rlottery.config.updates import Updates
from tests.config.conftest import Faults

Load = Callable[..., Config]


def after_each(updates: Any, steps: int) -> list[int]:
    """The updates after each of the first steps after the warm-up."""
    made = Updates.model_validate(updates)
    return [now - before for before, now in pairwise(made.after(step) for step in range(steps + 1))]


@pytest.mark.parametrize(
    ("updates", "expected"),
    [
        (1, [1, 1, 1, 1, 1, 1, 1, 1]),
        (3, [3, 3, 3, 3, 3, 3, 3, 3]),
        (0.25, [0, 0, 0, 1, 0, 0, 0, 1]),
        (0.75, [0, 1, 1, 1, 0, 1, 1, 1]),
        (1.5, [1, 2, 1, 2, 1, 2, 1, 2]),
        ({"every": 4, "updates": 3}, [0, 0, 0, 3, 0, 0, 0, 3]),
        ({"every": 3, "updates": 1}, [0, 0, 1, 0, 0, 1, 0, 0]),
    ],
)
def test_by_hand(updates: Any, expected: list[int]) -> None:
    assert after_each(updates, 8) == expected


DECIMALS = [2**a * 5**b for a in range(10) for b in range(5) if 2**a * 5**b <= 1_000]
"""The denominators of fractions that end as decimals."""


@given(st.sampled_from(DECIMALS), st.integers(1, 5_000), st.integers(0, 2**31))
def test_a_fraction_is_never_an_update_behind_or_ahead(denominator: int, numerator: int, steps: int) -> None:
    share = Fraction(numerator, denominator)
    made = Updates.model_validate(float(share))
    assert 0 <= share * steps - made.after(steps) < 1
    wait = made.longest_wait
    assert made.after(wait - 1) == 0 < made.after(wait)
    assert made.after(steps + wait) > made.after(steps)


@pytest.mark.parametrize(
    ("updates", "written"),
    [
        (1, 1),
        (2.0, 2),
        (0.25, 0.25),
        ({"every": 4, "updates": 1}, 0.25),
        ({"every": 3, "updates": 1}, {"every": 3, "updates": 1}),
        ({"every": 1, "updates": 5}, 5),
        ({"every": 8, "updates": 2}, {"every": 8, "updates": 2}),
        ({"every": 2, "updates": 0.5}, 0.25),
        ({"every": 3, "updates": 0.5}, {"every": 6, "updates": 1}),
        ({"every": 2, "updates": 0.75}, {"every": 2, "updates": 0.75}),
        ({"every": 1_000, "updates": 1}, 0.001),
        ({"every": 2_000, "updates": 1}, {"every": 2_000, "updates": 1}),
        ({"every": 1_000, "updates": 0.001}, {"every": 1_000_000, "updates": 1}),
        ({"every": 2**31 - 1, "updates": 0.5}, {"every": 2**31 - 1, "updates": 0.5}),
    ],
)
def test_one_form_for_one_meaning(updates: Any, written: Any) -> None:
    plain = Training(updates_per_step=updates).model_dump(mode="json")["updates_per_step"]
    assert plain == written
    assert type(plain) is type(written)
    assert after_each(plain, 4_100) == after_each(updates, 4_100)
    made, again = Updates.model_validate(updates), Updates.model_validate(plain)
    assert again.model_dump() == plain
    assert again.longest_wait == made.longest_wait


STUDY = "tasks: [a]\nseeds: [0]\n"
"""Of 25,000 steps, 1,000 of them for the warm-up."""


@pytest.mark.parametrize(
    ("updates", "instead"),
    [
        ("0.3333333333333333", "write {every: 3, updates: 1}"),
        ("0.333333", "write {every: 3, updates: 1}"),
        ("{every: 2, updates: 0.6667}", "write {every: 3, updates: 1}"),
        ("1000000000.3333", "write {every: 3, updates: 3000000001}"),
        ("0.0008", "write {every: 1250, updates: 1}"),
        ("0.00005", "write {every: 20000, updates: 1}"),
        # One update in 30,000 steps would be none in this study.
        ("0.0000333333333", "for a single update in a run, write {every: 24000, updates: 1}"),
        ("0.00001", "for a single update in a run, write {every: 24000, updates: 1}"),
        ("1e-300", "for a single update in a run, write {every: 24000, updates: 1}"),
        ("{every: 24001, updates: 3}", "for a single update in a run, write {every: 24000, updates: 1}"),
    ],
)
def test_what_to_write_in_place_of_a_fraction_is_accepted(
    load: Load, faults: Faults, updates: str, instead: str
) -> None:
    (found,) = faults(f"{STUDY}training: {{updates_per_step: {updates}}}")
    assert found.startswith("config.yaml:3: training.updates_per_step: ") and found.endswith(f"; {instead}")
    if "3000000001" not in instead:  # which is too many, as what was given
        written = load(f"{STUDY}training: {{updates_per_step: {instead.partition('write ')[2]}}}")
        assert written.training.updates_by(25_000) > 0


def test_a_task_with_fewer_steps_is_told_its_own_number(faults: Faults) -> None:
    short = "training: {env_steps: 3000, warmup_steps: 200}, sac: {batch_size: 8}"
    (found,) = faults(f"tasks: [a, {{id: b, {short}}}]\nseeds: [0]\ntraining: {{updates_per_step: 0.0001}}")
    assert found.endswith("write {every: 10000, updates: 1}")
    (found,) = faults(f"tasks: [{{id: b, {short}}}, a]\nseeds: [0]\ntraining: {{updates_per_step: 0.0001}}")
    assert found.endswith("for a single update in a run, write {every: 2800, updates: 1}")


def test_updates_begin_after_the_warm_up() -> None:
    training = Training(warmup_steps=10, updates_per_step={"every": 8, "updates": 2})
    assert [training.updates_by(step) for step in (0, 10, 17, 18, 25, 26)] == [0, 0, 0, 2, 2, 4]
    assert training.first_update == 18
    assert Training(warmup_steps=10).first_update == 11
