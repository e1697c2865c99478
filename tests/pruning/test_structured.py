import itertools
from typing import Literal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.allocation import survivor_count
from rlottery.pruning.masks import GroupMask, check_connected
from rlottery.pruning.structured import is_structured, mask_of_units, prune_units, unit_scores, units_of
from tests.pruning.networks import network, sizes

Allocation = Literal["global", "uniform"]
allocations = st.sampled_from(["global", "uniform"])


@st.composite
def groups(draw: st.DrawFn) -> dict[str, np.ndarray]:
    """One or two networks with one to three hidden layers, and ties or none among the scores."""
    widths = draw(st.lists(st.integers(1, 7), min_size=3, max_size=5))
    seed = draw(st.integers(0, 5))
    twins = {}
    for prefix in draw(st.sampled_from([[""], ["q1.", "q2."]])):
        twins |= network(*widths, prefix=prefix, seed=seed + len(twins))
    tied = draw(st.booleans())
    return {path: np.abs(np.round(layer) if tied else layer) for path, layer in twins.items()}


def hidden_layers(scores: dict[str, np.ndarray]) -> list[tuple[str, str]]:
    """(layer that makes the units, layer that reads them)."""
    return [(a, b) for a, b in itertools.pairwise(scores) if a.rpartition(".")[0] == b.rpartition(".")[0]]


def unit_by_unit(
    scores: dict[str, np.ndarray], survivors: int, floor: int, allocation: Allocation
) -> tuple[GroupMask, tuple[str, str, int] | None]:
    """The documented procedure on masks, with loops; and the last unit that was removed."""
    mask = {path: np.ones(layer.shape, dtype=bool) for path, layer in scores.items()}
    units = []
    for order, (path, after) in enumerate(hidden_layers(scores)):
        width = scores[path].shape[1]
        rms = []
        for unit in range(width):
            weights = [*scores[path][:, unit].tolist(), *scores[after][unit].tolist()]
            rms.append((sum(w * w for w in weights) / len(weights)) ** 0.5)
        for unit in range(width):
            better = sum((-rms[other], other) < (-rms[unit], unit) for other in range(width))
            rank = rms[unit] if allocation == "global" else (width - better - 0.5) / width
            units.append((round(rank, 9), -order, -unit, path, after))
    last = None
    for _, _, unit, path, after in sorted(units):
        if sum(layer.sum() for layer in mask.values()) <= survivors:
            break
        if mask[path].any(axis=0).sum() > floor:
            mask[path][:, -unit] = False
            mask[after][-unit] = False
            last = path, after, -unit
    return mask, last


@given(scores=groups(), sparsity=st.floats(0, 0.99), floor=st.integers(1, 3), allocation=allocations)
def test_equals_the_documented_procedure(
    scores: dict[str, np.ndarray], sparsity: float, floor: int, allocation: Allocation
) -> None:
    survivors = survivor_count(sum(layer.size for layer in scores.values()), sparsity)
    expected, last = unit_by_unit(scores, survivors, floor, allocation)
    if sum(layer.sum() for layer in expected.values()) > survivors:
        with pytest.raises(MaskError, match="Use a sparsity of at most") as caught:
            prune_units(scores, sparsity, floor, allocation)
        largest = float(str(caught.value).split("at most ")[1].removesuffix("."))
        assert largest < sparsity
        prune_units(scores, largest, floor, allocation)
        return

    mask = prune_units(scores, sparsity, floor, allocation)
    assert all(np.array_equal(mask[path], layer) for path, layer in expected.items())
    assert list(mask) == list(scores)
    assert is_structured(mask)
    check_connected(mask)
    assert sum(np.count_nonzero(layer) for layer in mask.values()) <= survivors
    for path, _ in hidden_layers(scores):
        assert units_of(mask)[path].sum() >= min(floor, scores[path].shape[1])
    if last is not None:
        units = units_of(mask)
        path, _, unit = last
        units[path][unit] = True
        back = mask_of_units({path: layer.shape for path, layer in scores.items()}, units)
        assert sum(np.count_nonzero(layer) for layer in back.values()) > survivors


@given(scores=groups(), sparsity=st.floats(0, 0.9))
def test_uniform_takes_the_same_share_to_half_a_unit(scores: dict[str, np.ndarray], sparsity: float) -> None:
    try:
        units = units_of(prune_units(scores, sparsity, allocation="uniform"))
    except MaskError:
        return
    # From layers above their floor some common share is gone, which rounding moves by half a unit at most.
    free = [(1 - alive.mean(), 0.5 / alive.size) for alive in units.values() if alive.sum() > 1]
    lowest = max((gone - half for gone, half in free), default=0)
    assert lowest <= min((gone + half for gone, half in free), default=1) + 1e-9


class TestUnitScores:
    def test_by_hand(self) -> None:
        scores = {"layer_0": np.array([[3.0, 0.0]]), "layer_1": np.array([[4.0], [1.0]])}
        found = unit_scores(scores)
        assert list(found) == ["layer_0"]
        assert found["layer_0"] == pytest.approx([(25 / 2) ** 0.5, 0.5**0.5])

    def test_layers_of_all_sizes_compete_alike(self) -> None:
        """Equal weights everywhere: no layer's units rank above another's for having more of them."""
        found = unit_scores({path: np.ones_like(layer) for path, layer in network(3, 50, 7, 2).items()})
        assert all((layer == 1).all() for layer in found.values())

    def test_nan(self) -> None:
        with pytest.raises(MaskError, match="NaN.*'layer_0' or 'layer_1'"):
            unit_scores({"layer_0": np.ones((2, 2)), "layer_1": np.array([[np.nan], [1.0]])})


def test_the_weakest_units_of_all_networks_go() -> None:
    weak = {path: layer * np.float32(0.1) for path, layer in network(4, 8, 1, prefix="q2.").items()}
    units = units_of(prune_units(sizes(network(4, 8, 1, prefix="q1.") | weak), 0.25))
    assert units["q1.layer_0"].sum() == 8
    assert units["q2.layer_0"].sum() == 4  # 20 of 80 weights, 5 to a unit


def test_a_unit_goes_with_its_column_and_its_row() -> None:
    scores = {"layer_0": np.array([[1.0, 0.1, 1.0]] * 2), "layer_1": np.array([[1.0], [0.1], [1.0]])}
    mask = prune_units(scores, 0.3)
    assert mask["layer_0"].tolist() == [[True, False, True]] * 2
    assert mask["layer_1"].tolist() == [[True], [False], [True]]


class TestIsStructured:
    def test_a_weight_too_many_or_too_few(self) -> None:
        mask = prune_units(sizes(network(4, 8, 8, 2)), 0.5)
        assert is_structured(mask)
        for path, layer in mask.items():
            for index in np.ndindex(layer.shape):
                flipped = layer.copy()
                flipped[index] ^= True
                assert not is_structured(mask | {path: flipped})

    def test_nothing_removed(self) -> None:
        assert is_structured({"layer_0": np.ones((2, 2), dtype=bool)})
        assert not is_structured({"layer_0": np.array([[True, False]])})

    @given(scores=groups(), seed=st.integers(0, 100))
    def test_units_and_masks_are_one_to_one(self, scores: dict[str, np.ndarray], seed: int) -> None:
        rng = np.random.default_rng(seed)
        units = {path: rng.permutation(np.arange(scores[path].shape[1]) < 2) for path, _ in hidden_layers(scores)}
        mask = mask_of_units({path: layer.shape for path, layer in scores.items()}, units)
        assert is_structured(mask)
        assert all(np.array_equal(alive, units[path]) for path, alive in units_of(mask).items())
        assert units_of(mask).keys() == units.keys()


class TestErrors:
    def test_no_hidden_layer(self) -> None:
        with pytest.raises(MaskError, match="'q2' has no hidden units"):
            prune_units(sizes(network(3, 4, 1, prefix="q1.") | network(3, 1, prefix="q2.")), 0.5)

    def test_layers_that_do_not_join(self) -> None:
        with pytest.raises(MaskError, match="'layer_1' has 3 inputs, but 'layer_0' before it has 2"):
            prune_units({"layer_0": np.ones((2, 2)), "layer_1": np.ones((3, 1))}, 0.5)

    def test_impossible_floor(self) -> None:
        # 2 units in each hidden layer keep 4 * 2 + 2 * 2 + 2 * 1 of 40 + 100 + 10 weights.
        message = r"leaves 7 of 150 weights, but each hidden layer keeps at least 2 .* in all 14 .* at most 0\.906666\."
        with pytest.raises(MaskError, match=message):
            prune_units(sizes(network(4, 10, 10, 1)), 0.95, floor=2)

    def test_a_floor_below_one(self) -> None:
        with pytest.raises(MaskError, match="must keep at least 1"):
            prune_units(sizes(network(3, 4, 1)), 0.5, floor=0)

    def test_an_unknown_allocation(self) -> None:
        with pytest.raises(MaskError, match="Units can't be allocated by 'erk'. Use global or uniform"):
            prune_units(sizes(network(3, 4, 1)), 0.5, allocation="erk")  # type: ignore[arg-type]

    @pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan")])
    def test_sparsity_out_of_range(self, sparsity: float) -> None:
        with pytest.raises(MaskError, match="at least 0 and below 1"):
            prune_units(sizes(network(3, 4, 1)), sparsity)


def test_scores_with_signs_are_refused() -> None:
    # The unit that is worth least has the largest square.
    scores = {"layer_0": np.array([[1.0, -10.0, 2.0]]), "layer_1": np.zeros((3, 1))}
    with pytest.raises(MaskError, match="Signed scores.*Prune single weights"):
        prune_units(scores, 0.5)


@pytest.mark.parametrize("factor", [1e-320, 1e-200, 1e-100, 1.0, 1e200, 1e307])
def test_units_are_ranked_by_scores_of_any_size(factor: float) -> None:
    """Products of many small probabilities, say; the best units are the last ones."""
    scores = {"layer_0": np.tile(np.arange(1.0, 5), (3, 1)), "layer_1": np.tile(np.arange(1.0, 5)[:, None], (1, 2))}
    ranks = unit_scores({path: layer * factor for path, layer in scores.items()})["layer_0"]
    assert ranks / factor == pytest.approx([1, 2, 3, 4], rel=1e-2 if factor < 1e-310 else 1e-12)
    kept = prune_units({path: layer * factor for path, layer in scores.items()}, 0.5)
    assert kept["layer_0"].any(axis=0).tolist() == [False, False, True, True]


def test_layers_of_other_sizes_do_not_hide_each_others_order() -> None:
    scores = {
        "layer_0": np.tile([1e-200, 3e-200, 2e-200], (2, 1)),
        "layer_1": np.outer([1e-200, 3e-200, 2e-200], [1.0, 1.0]),
        "layer_2": np.full((2, 1), 1e200),
    }
    assert np.argsort(unit_scores(scores)["layer_0"]).tolist() == [0, 2, 1]


def test_units_keep_the_precision_of_long_doubles() -> None:
    one = np.longdouble(1)
    scores = {
        "layer_0": np.array([[one, np.nextafter(one, 2), one]]),
        "layer_1": np.array([[one], [np.nextafter(one, 2)], [one]]),
    }
    ranks = unit_scores(scores)["layer_0"]
    assert ranks.dtype == np.longdouble and ranks[1] > ranks[0] == ranks[2]


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_units_of_small_floats_are_ranked_in_float64(dtype: type) -> None:
    scores = {"layer_0": np.full((2, 2), 6e4, dtype), "layer_1": np.full((2, 1), 6e4, dtype)}
    assert unit_scores(scores)["layer_0"].dtype == np.float64 and np.isfinite(unit_scores(scores)["layer_0"]).all()
