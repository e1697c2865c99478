from collections.abc import Iterator

import numpy as np
import pytest

from rlottery.errors import MaskError
from rlottery.pruning.criteria import CRITERIA, Criterion, magnitude, score, taylor

WEIGHTS = np.array([[1.0, -2.0], [0.0, 0.5]], dtype=np.float32)
MEAN_ABS_GRADIENT = np.array([[0.5, 0.25], [4.0, 0.0]], dtype=np.float32)


@pytest.mark.parametrize(
    ("criterion", "by_hand"),
    [
        ("magnitude", [[1.0, 2.0], [0.0, 0.5]]),
        ("taylor", [[0.5, 0.5], [0.0, 0.0]]),
        ("gradient", [[0.5, 0.25], [4.0, 0.0]]),
    ],
)
def test_scores_by_hand(criterion: str, by_hand: list[list[float]]) -> None:
    scores = score(criterion, {"layer_0": WEIGHTS}, {"layer_0": MEAN_ABS_GRADIENT})
    assert scores["layer_0"].tolist() == by_hand


def test_taylor_is_the_first_order_change_of_a_linear_loss() -> None:
    # L(w) = sum_i c_i w_i, so that removing w_i changes L by exactly c_i w_i, in every batch.
    coefficients = np.array([[3.0, -1.0], [2.0, 8.0]])
    change = np.empty((2, 2))
    for index in np.ndindex(2, 2):
        without = WEIGHTS.astype(np.float64)
        without[index] = 0
        change[index] = abs((coefficients * without).sum() - (coefficients * WEIGHTS).sum())
    np.testing.assert_allclose(taylor(WEIGHTS, np.abs(coefficients)), change)


def test_magnitude_needs_no_gradients_and_ignores_them_bit_for_bit() -> None:
    kernels = {"layer_0": WEIGHTS, "layer_1": WEIGHTS.T.copy()}
    gradients = {path: np.full((2, 2), 7.0, dtype=np.float32) for path in kernels}
    plain, given = score("magnitude", kernels), score("magnitude", kernels, gradients)
    assert all(plain[path].tobytes() == given[path].tobytes() for path in kernels)


def test_the_table_says_what_each_criterion_is() -> None:
    assert set(CRITERIA) == {"magnitude", "taylor", "gradient"}
    for criterion in CRITERIA.values():
        assert criterion.summary
        assert criterion.paper
        assert (criterion.estimator is not None) == criterion.needs_gradient


@pytest.fixture
def careless_criterion() -> Iterator[str]:
    """Reads gradients although its line in the table says that it needs none."""
    CRITERIA["careless"] = Criterion(taylor, needs_gradient=False, summary="", paper="")
    yield "careless"
    del CRITERIA["careless"]


@pytest.fixture
def row_criterion() -> Iterator[str]:
    CRITERIA["rows"] = Criterion(lambda w, _: magnitude(w, w).sum(axis=1), needs_gradient=False, summary="", paper="")
    yield "rows"
    del CRITERIA["rows"]


def test_a_criterion_that_hides_its_need_of_gradients_fails(careless_criterion: str) -> None:
    with pytest.raises(MaskError, match="NaN"):
        score(careless_criterion, {"layer_0": WEIGHTS}, {"layer_0": MEAN_ABS_GRADIENT})


def test_a_criterion_that_gives_another_shape_fails(row_criterion: str) -> None:
    with pytest.raises(MaskError, match=r"'rows' gave scores of shape \(2,\) for layer 'layer_0' of shape \(2, 2\)"):
        score(row_criterion, {"layer_0": WEIGHTS})


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_diverged_layer_is_named(bad: float) -> None:
    broken = WEIGHTS.copy()
    broken[1, 0] = bad
    with pytest.raises(MaskError, match="1 of 4 magnitude scores of layer 'q2.layer_1' are NaN or infinite"):
        score("magnitude", {"q2.layer_0": WEIGHTS, "q2.layer_1": broken})


def test_an_overflowing_product_is_named() -> None:
    huge = np.full((2, 2), 1e30, dtype=np.float32)
    with (
        pytest.raises(MaskError, match="4 of 4 taylor scores of layer 'layer_0'"),
        np.errstate(over="ignore"),
    ):
        score("taylor", {"layer_0": huge}, {"layer_0": huge})


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (None, "'taylor' needs the mean absolute gradient"),
        ({"layer_1": MEAN_ABS_GRADIENT}, "other layers: layer_1 against layer_0"),
        ({"layer_0": MEAN_ABS_GRADIENT[:1]}, r"'layer_0' has shape \(1, 2\), its kernel \(2, 2\)"),
        ({"layer_0": -MEAN_ABS_GRADIENT}, "absolute value of each batch gradient before the mean"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(gradients: dict[str, np.ndarray] | None, message: str) -> None:
    with pytest.raises(MaskError, match=message):
        score("taylor", {"layer_0": WEIGHTS}, gradients)


def test_an_unknown_criterion_is_answered_with_the_known_ones() -> None:
    with pytest.raises(MaskError, match="no criterion 'tailor'.*magnitude, taylor, gradient"):
        score("tailor", {"layer_0": WEIGHTS})
