import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse  # noqa: F401  imported before tests restore sys.modules, which it would not survive

from rlottery.errors import MaskError
from rlottery.pruning.criteria import (
    CRITERIA,
    MEAN_ABS_BATCH_GRADIENT,
    STATISTICS,
    Criterion,
    Needed,
    find_criterion,
    score,
    statistics_for,
)
from rlottery.pruning.prune import prune

WEIGHTS = np.array([[1.0, -2.0], [0.0, 0.5]], dtype=np.float32)
MEAN_ABS_GRADIENT = np.array([[0.5, 0.25], [4.0, 0.0]], dtype=np.float32)
SIGNED = np.array([[-0.5, -0.25], [3.0, 2.0]], dtype=np.float32)


def layered(**evidence: np.ndarray) -> dict[str, dict[str, np.ndarray]]:
    return {name: {"layer_0": array} for name, array in evidence.items()}


@pytest.mark.parametrize(
    ("criterion", "evidence", "by_hand"),
    [
        ("magnitude", {}, [[1.0, 2.0], [0.0, 0.5]]),
        ("taylor", {"mean_abs_gradient": MEAN_ABS_GRADIENT}, [[0.5, 0.5], [0.0, 0.0]]),
        ("gradient", {"mean_abs_gradient": MEAN_ABS_GRADIENT}, [[0.5, 0.25], [4.0, 0.0]]),
        ("fisher", {"mean_squared_gradient": MEAN_ABS_GRADIENT}, [[0.25, 0.5], [0.0, 0.0]]),
        ("wanda", {"input_norm": np.array([2.0, 3.0])}, [[2.0, 4.0], [0.0, 1.5]]),
        ("random", {"random": MEAN_ABS_GRADIENT}, [[0.5, 0.25], [4.0, 0.0]]),
        ("magnitude-init", {"initial_weights": SIGNED}, [[0.5, 0.25], [3.0, 2.0]]),
        ("snip", {"initial_weights": WEIGHTS, "initial_mean_gradient": SIGNED}, [[0.5, 0.5], [0.0, 1.0]]),
        # The last weight adds most to the gradient; the first holds it back, and goes first.
        ("grasp", {"initial_weights": WEIGHTS, "initial_hessian_gradient": SIGNED}, [[-0.5, 0.5], [0.0, 1.0]]),
        ("synflow", {"initial_weights": WEIGHTS, "initial_synaptic_flow": MEAN_ABS_GRADIENT}, [[0.5, 0.5], [0.0, 0.0]]),
    ],
)
def test_scores_by_hand(criterion: str, evidence: dict[str, np.ndarray], by_hand: list[list[float]]) -> None:
    assert score(criterion, layered(**{"weights": WEIGHTS} | evidence))["layer_0"].tolist() == by_hand


def test_taylor_is_the_first_order_change_of_a_linear_loss() -> None:
    # L(w) = sum_i c_i w_i, so that removing w_i changes L by exactly c_i w_i, in every batch.
    coefficients = np.array([[3.0, -1.0], [2.0, 8.0]])
    change = np.empty((2, 2))
    for index in np.ndindex(2, 2):
        without = WEIGHTS.astype(np.float64)
        without[index] = 0
        change[index] = abs((coefficients * without).sum() - (coefficients * WEIGHTS).sum())
    np.testing.assert_allclose(CRITERIA["taylor"].function(WEIGHTS, np.abs(coefficients)), change)


def test_fisher_is_the_change_of_a_quadratic_loss_whose_hessian_is_the_fisher_information() -> None:
    # L(w) = sum_i f_i (w_i - a_i)^2 / 2 at its optimum w = a: removing w_i adds f_i a_i^2 / 2.
    fisher_information = np.array([[3.0, 1.0], [2.0, 8.0]])
    change = np.empty((2, 2))
    for index in np.ndindex(2, 2):
        without = WEIGHTS.astype(np.float64)
        without[index] = 0
        change[index] = (fisher_information * (without - WEIGHTS) ** 2 / 2).sum()
    evidence = layered(weights=WEIGHTS, mean_squared_gradient=fisher_information)
    np.testing.assert_allclose(score("fisher", evidence)["layer_0"], change)


def test_what_is_not_read_changes_no_bit() -> None:
    plain = score("magnitude", layered(weights=WEIGHTS))
    given = score("magnitude", layered(weights=WEIGHTS, mean_abs_gradient=-SIGNED, random=np.full(3, np.nan)))
    assert plain["layer_0"].tobytes() == given["layer_0"].tobytes()


def test_the_table_says_what_each_criterion_is() -> None:
    before = {"random", "magnitude-init", "snip", "grasp", "synflow"}
    after = {"magnitude", "taylor", "gradient", "fisher", "wanda"}
    assert CRITERIA.keys() == before | after
    for name, criterion in CRITERIA.items():
        assert all([criterion.summary, criterion.paper, criterion.cost, criterion.use]), name
        assert "\n" not in criterion.summary
        assert set(criterion.reads) <= STATISTICS.keys()
        assert criterion.before_training == (name in before)
        assert criterion.iterations == (100 if name == "synflow" else 1)
    assert {name for name, c in CRITERIA.items() if c.needs_replay} == {"taylor", "gradient", "fisher", "wanda"}
    assert {name for name, c in CRITERIA.items() if c.needs_warmup} == {"snip", "grasp"}
    for criterion in CRITERIA.values():
        assert criterion.needs_data == (criterion.needs_replay or criterion.needs_warmup)
        assert (criterion.estimator() is not None) == criterion.needs_data


def test_what_is_averaged_how_is_said() -> None:
    for name in ("taylor", "gradient"):
        assert CRITERIA[name].estimator() == MEAN_ABS_BATCH_GRADIENT == "mean over batches of |batch gradient|"
        assert CRITERIA[name].estimator("mean-abs") == MEAN_ABS_BATCH_GRADIENT
        assert CRITERIA[name].estimator("abs-mean") == "|mean over batches of batch gradient|"
    assert CRITERIA["snip"].estimator() == "mean over batches of batch gradient, at the initial weights"
    assert "single" in CRITERIA["fisher"].summary
    assert str(CRITERIA["fisher"].estimator()).startswith("mean over transitions of the squared gradient")


@pytest.mark.parametrize(
    ("criterion", "trained", "initial"),
    [
        ("magnitude", ("weights",), ()),
        ("gradient", ("weights", "mean_abs_gradient"), ()),
        ("wanda", ("weights", "input_norm"), ()),
        ("random", (), ("weights", "random")),
        ("snip", (), ("weights", "mean_gradient")),
        ("synflow", (), ("weights", "synaptic_flow")),
    ],
)
def test_what_has_to_be_gathered(criterion: str, trained: tuple[str, ...], initial: tuple[str, ...]) -> None:
    assert statistics_for(criterion) == Needed(trained, initial)


def test_of_movement_both_weights_are_gathered(monkeypatch: pytest.MonkeyPatch) -> None:
    def movement(weights: np.ndarray, initial_weights: np.ndarray, random: np.ndarray) -> np.ndarray:
        return np.abs(weights - initial_weights)

    criterion = Criterion(movement, summary="", paper="", cost="", use="")
    monkeypatch.setitem(CRITERIA, "movement", criterion)
    assert statistics_for("movement") == Needed(("weights", "random"), ("weights",))
    assert not criterion.before_training
    assert not criterion.needs_data
    evidence = layered(weights=WEIGHTS, initial_weights=SIGNED, random=SIGNED)
    assert score("movement", evidence)["layer_0"].tolist() == [[1.5, 1.75], [3.0, 1.5]]


def test_gradients_can_be_averaged_before_their_absolute_value(monkeypatch: pytest.MonkeyPatch) -> None:
    assert statistics_for("taylor", "abs-mean") == Needed(("weights", "mean_gradient"), ())
    assert statistics_for("taylor", "mean-abs") == statistics_for("taylor")
    evidence = layered(weights=WEIGHTS, mean_gradient=SIGNED, mean_abs_gradient=MEAN_ABS_GRADIENT)
    assert score("taylor", evidence, estimator="abs-mean")["layer_0"].tolist() == [[0.5, 0.5], [0.0, 1.0]]
    assert score("taylor", evidence, estimator="mean-abs")["layer_0"].tolist() == [[0.5, 0.5], [0.0, 0.0]]

    def early(initial_mean_abs_gradient: np.ndarray) -> np.ndarray:
        return initial_mean_abs_gradient

    monkeypatch.setitem(CRITERIA, "early", Criterion(early, summary="", paper="", cost="", use=""))
    assert statistics_for("early", "abs-mean") == Needed((), ("weights", "mean_gradient"))
    evidence = layered(initial_weights=WEIGHTS, initial_mean_gradient=SIGNED)
    assert score("early", evidence, estimator="abs-mean")["layer_0"].tolist() == np.abs(SIGNED).tolist()


@pytest.mark.parametrize("estimator", ["mean-abs", "abs-mean"])
def test_an_estimator_means_nothing_to_criteria_that_have_their_own(estimator: Any) -> None:
    for criterion in ("magnitude", "fisher", "snip"):
        with pytest.raises(MaskError, match="but not mean_abs_gradient.*Leave the estimator out"):
            statistics_for(criterion, estimator)


def test_the_highest_of_signed_scores_are_worth_keeping_too() -> None:
    evidence = layered(initial_weights=WEIGHTS, initial_hessian_gradient=-SIGNED)
    assert score("grasp", evidence)["layer_0"].min() == -1.0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_layer_is_named(bad: float) -> None:
    broken = WEIGHTS.copy()
    broken[1, 0] = bad
    with pytest.raises(MaskError, match="1 of 4 values of weights of layer 'q2.layer_1' are NaN or infinite.*diverged"):
        score("magnitude", {"weights": {"q2.layer_0": WEIGHTS, "q2.layer_1": broken}})


def test_an_overflowing_product_is_named() -> None:
    huge = np.full((2, 2), 1e30, dtype=np.float32)
    with pytest.raises(MaskError, match="4 of 4 taylor scores of layer 'layer_0'.*weights, mean_abs_gradient"):
        score("taylor", layered(weights=huge, mean_abs_gradient=huge))


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (None, "'taylor' needs mean_abs_gradient of every kernel"),
        ({"layer_1": MEAN_ABS_GRADIENT}, "different layers: layer_1 and layer_0"),
        ({"layer_0": MEAN_ABS_GRADIENT[:1]}, r"'layer_0' has shape \(1, 2\), but its kernel \(2, 2\)"),
        ({"layer_0": -MEAN_ABS_GRADIENT}, "absolute value of each batch gradient before the mean"),
    ],
)
def test_evidence_that_does_not_fit_is_refused(gradients: dict[str, np.ndarray] | None, message: str) -> None:
    evidence = layered(weights=WEIGHTS) | ({} if gradients is None else {"mean_abs_gradient": gradients})
    with pytest.raises(MaskError, match=message):
        score("taylor", evidence)


def test_layers_are_not_known_without_weights() -> None:
    with pytest.raises(MaskError, match="'gradient' was given no weights"):
        score("gradient", layered(mean_abs_gradient=MEAN_ABS_GRADIENT))


@pytest.mark.parametrize("shape", [(2, 2), (3,), (1,)])
def test_inputs_are_one_number_each(shape: tuple[int, ...]) -> None:
    with pytest.raises(MaskError, match="input_norm of layer 'layer_0' has shape"):
        score("wanda", layered(weights=WEIGHTS, input_norm=np.ones(shape)))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tailor", "no criterion 'tailor'. Did you mean 'taylor'.*magnitude, taylor, gradient.*module:function"),
        ("snipp", "Did you mean 'snip'"),
        ("", "no criterion ''. Choose one of magnitude"),
    ],
)
def test_an_unknown_criterion_is_answered_with_the_known_ones(name: str, message: str) -> None:
    for asked in (find_criterion, statistics_for, lambda name: score(name, layered(weights=WEIGHTS))):
        with pytest.raises(MaskError, match=message):
            asked(name)


Write = Callable[[str, str], str]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Write:
    """Writes a user's module to the current folder, which is searched last, as in a run; gives its name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*(entry for entry in sys.path if entry), str(tmp_path)])
    monkeypatch.setattr(sys, "modules", dict(sys.modules))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write(name: str, text: str) -> str:
        (tmp_path / f"{name}.py").write_text(text)
        return name

    return write


def test_a_function_of_the_users_own(write: Write) -> None:
    write(
        "own_movement",
        "import numpy as np\n"
        "def movement(weights, initial_weights, mean_abs_gradient):\n"
        '    """How far the weight moved.\n\n    Zhou et al. 2019.\n    """\n'
        "    return np.abs(weights - initial_weights) + 0 * mean_abs_gradient\n",
    )
    criterion = find_criterion("own_movement:movement")
    assert criterion.summary == "How far the weight moved."
    assert criterion.reads == ("weights", "initial_weights", "mean_abs_gradient")
    assert criterion.estimator() == MEAN_ABS_BATCH_GRADIENT
    assert (criterion.needs_replay, criterion.needs_warmup, criterion.iterations) == (True, False, 1)
    evidence = layered(weights=WEIGHTS, initial_weights=SIGNED, mean_abs_gradient=MEAN_ABS_GRADIENT)
    assert score("own_movement:movement", evidence)["layer_0"].tolist() == [[1.5, 1.75], [3.0, 1.5]]


@pytest.mark.parametrize(
    ("text", "name", "message"),
    [
        ("", "no_such_module:f", "no module 'no_such_module'.*current folder"),
        ("", "no.such.module:f", "no module 'no'"),
        ("1 / 0", "{}:f", "'own_bad' .*can't be imported: ZeroDivisionError: division by zero.*python -c"),
        ("import missing_dependency", "{}:f", "can't be imported: ModuleNotFoundError: .*'missing_dependency'"),
        ("def f(:", "{}:f", "can't be imported: SyntaxError"),
        (
            "raise SystemExit(3)",
            "{}:f",
            r"can't be imported: it tried to end the process with sys.exit\(3\) in .*own_bad.py",
        ),
        ("def score(weights): ...", "{}:scores", "'scores' doesn't exist in 'own_bad'. Did you mean 'score'"),
        ("f = 3", "{}:f", "'f' is int, not a function"),
        ("f = None", "{}:f", "'f' is NoneType, not a function"),
        ("def f(weights): ...", "{}:", "'' doesn't exist"),
        ("def f(weights): ...", "{}.py:f", "names a file.*import path of its module: own_bad:f"),
        ("def f(weights): ...", "./sub/{}.py:f", "import path of its module: sub.own_bad:f"),
        ("def f(): ...", "{}:f", "has no parameters.*weights, synaptic_flow"),
        ("def f(weights, mean_abs_gradients): ...", "{}:f", "'mean_abs_gradients'.*Did you mean 'mean_abs_gradient'"),
        ("def f(weights, power=2): ...", "{}:f", "'power', which is not a known statistic.*initial_weights"),
        ("def f(*args): ...", "{}:f", "'args', which is not a known statistic"),
        ("def f(initial_random): ...", "{}:f", "'initial_random', which is not a known statistic"),
        ("f = int", "{}:f", "own_bad:f"),
    ],
)
def test_what_is_wrong_with_a_users_own_function_is_said(write: Write, text: str, name: str, message: str) -> None:
    name = name.format(write("own_bad", text))
    with pytest.raises(MaskError, match=message) as caught:
        find_criterion(name)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("return weights[9]", "'own_wrong:f' failed on layer 'layer_0': IndexError: index 9"),
        ("weights[0] = 1; return weights", "failed on layer 'layer_0': ValueError: .*read-only"),
        ("return weights.sum(axis=1)", r"'own_wrong:f' returned scores of shape \(2,\) for layer 'layer_0' of shape"),
        ("return None", "returned NoneType for layer 'layer_0', not an array"),
        ("return weights.tolist()", "returned list for layer 'layer_0', not an array"),
        ("return weights * 1j", "returned complex64 for layer 'layer_0', not real numbers"),
        ("return weights.astype(object)", "returned object for layer 'layer_0', not real numbers"),
        ("return weights.astype(str)", "returned <U32 for layer 'layer_0', not real numbers"),
        ("import numpy as np; return np.ma.masked_less(weights, 0)", r"returned a masked array .*\.filled\(0\)"),
        ("import numpy as np; return np.ma.array(weights)", r"returned a masked array .*\.filled\(0\)"),
        ("import scipy.sparse; return scipy.sparse.csr_array(weights)", "returned csr_array .*, not an array"),
        (
            "return type('Device', (), {'__array__': lambda *_, **__: 1 / 0})()",
            "failed on layer 'layer_0': ZeroDivisionError",
        ),
        ("return 1 / weights", "1 of 4 own_wrong:f scores of layer 'layer_0' are NaN or infinite.*divided by zero"),
    ],
)
def test_what_a_users_own_function_does_wrong_is_said(write: Write, body: str, message: str) -> None:
    write("own_wrong", f"def f(weights):\n    {body}\n")
    with pytest.raises(MaskError, match=message):
        score("own_wrong:f", layered(weights=WEIGHTS))
    assert WEIGHTS[0, 0] == 1.0


@pytest.mark.parametrize(
    ("body", "by_hand"), [("weights > 0", [[1, 0], [0, 1]]), ("weights.astype(int)", [[1, -2], [0, 0]])]
)
def test_whole_numbers_and_truth_values_become_floats(write: Write, body: str, by_hand: list[list[float]]) -> None:
    write("own_whole", f"def f(weights):\n    return {body}\n")
    scores = score("own_whole:f", layered(weights=WEIGHTS))["layer_0"]
    assert scores.dtype == np.float64
    assert scores.tolist() == by_hand


@pytest.mark.parametrize(
    ("body", "order"),
    [
        ("np.array([[2**53, 2**53 + 1], [-(2**53) - 1, -(2**53)]])", [2, 3, 0, 1]),
        ("np.array([[2**63 - 1, 2**63 - 2], [-(2**63), 1 - 2**63]])", [2, 3, 1, 0]),
        ("np.array([[2**64 - 1, 2**64 - 2], [0, 1]], np.uint64)", [2, 3, 1, 0]),
        ("np.array([[200, 3], [2, 255]], np.uint8)", [2, 1, 0, 3]),
        ("np.array([[1.0, 1 + 2**-52], [1 - 2**-53, 2.0]])", [2, 0, 1, 3]),
        ("np.array([[1.0, 1 + 2**-10], [1 - 2**-11, 2.0]], np.float16)", [2, 0, 1, 3]),
        ("np.array([[1e-320, 5e-324], [0.0, 1e-300]])", [2, 1, 0, 3]),
        ("np.array([[1, np.nextafter(np.longdouble(1), 2)], [0, 2]], np.longdouble)", [2, 0, 1, 3]),
    ],
)
@pytest.mark.skipif(np.finfo(np.longdouble).nmant < 63, reason="has no float for every int64")
def test_scores_keep_their_precision(write: Write, body: str, order: list[int]) -> None:
    write("own_exact", f"import numpy as np\ndef f(weights):\n    return {body}\n")
    scores = score("own_exact:f", layered(weights=WEIGHTS))["layer_0"]
    assert np.argsort(scores.ravel(), kind="stable").tolist() == order
    assert np.unique(scores).size == 4 and scores.dtype.kind == "f"
    for count in range(5):
        kept = prune({"layer_0": scores, "layer_1": scores}, 1 - count / 4) if count > 1 else None
        assert kept is None or kept["layer_0"].ravel()[order[-count:]].all()


def test_an_array_that_the_function_uses_again_is_copied(write: Write) -> None:
    text = "import numpy as np\nout = np.empty((2, 2))\ndef f(weights):\n    return np.abs(weights, out=out)\n"
    write("own_buffer", text)
    weights = {"layer_0": WEIGHTS, "layer_1": 3 * WEIGHTS}
    scores = score("own_buffer:f", {"weights": weights})
    assert all(scores[path].tolist() == np.abs(layer).tolist() for path, layer in weights.items())


def test_warnings_of_a_function_do_not_leak(write: Write) -> None:
    text = (
        "import numpy as np\ndef f(weights):\n    return weights + np.nan_to_num(np.mean([]) + np.exp(weights * 1e9))\n"
    )
    write("own_loud", text)
    before = np.geterr()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        score("own_loud:f", layered(weights=-np.abs(WEIGHTS)))
    assert np.geterr() == before
