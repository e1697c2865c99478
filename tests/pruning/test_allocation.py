from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.allocation import MIN_SURVIVORS_PER_LAYER, allocate_global, survivor_count

from .networks import groups_of_scores

sparsities = st.floats(0, 0.999) | st.sampled_from([0.0, 0.1, 0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 0.999])


def filled_up_ranking(scores: dict[str, np.ndarray], survivors: int, floor: int) -> dict[str, int]:
    """The documented procedure on a full sort: rank, fill up to the floors, give up the lowest."""
    ranked = sorted(
        (-float(value), layer, index)
        for layer, matrix in enumerate(scores.values())
        for index, value in enumerate(matrix.ravel())
    )
    kept = [layer for _, layer, _ in ranked[:survivors]]
    sizes = [matrix.size for matrix in scores.values()]
    counts = [kept.count(layer) for layer in range(len(sizes))]
    floors = [min(floor, size) for size in sizes]
    surplus = sum(max(0, least - count) for count, least in zip(counts, floors, strict=True))
    counts = [max(count, least) for count, least in zip(counts, floors, strict=True)]
    for layer in reversed(kept):
        if surplus and counts[layer] > floors[layer]:
            counts[layer] -= 1
            surplus -= 1
    return dict(zip(scores, counts, strict=True))


@pytest.mark.parametrize(
    ("total", "sparsity", "left"),
    [
        (10, 0.8, 2),
        (10, 0.85, 1),  # 8.5 pruned, rounded half up to 9
        (10, 0.25, 7),  # 2.5 -> 3
        (1000, 0.9995, 0),  # 999.5 -> 1000
        (20, 0.225, 15),  # 4.5 -> 5: in binary, 0.225 * 20 is above or below by chance
        (3, 0.0, 3),
        (77632, 0.8, 15526),  # 62105.6 -> 62106
    ],
)
def test_survivor_count_by_hand(total: int, sparsity: float, left: int) -> None:
    assert survivor_count(total, sparsity) == left


@settings(deadline=None)
@given(total=st.integers(0, 10**12), sparsity=sparsities | st.decimals("0", "0.9999", places=4).map(float))
def test_survivor_count_rounds_as_decimal_arithmetic_does(total: int, sparsity: float) -> None:
    pruned = (Decimal(str(sparsity)) * total).quantize(Decimal(1), rounding=ROUND_HALF_UP)
    assert survivor_count(total, sparsity) == total - pruned


@pytest.mark.parametrize("sparsity", [1.0, 1.5, -0.1, float("nan"), float("inf")])
def test_sparsity_out_of_range(sparsity: float) -> None:
    with pytest.raises(MaskError, match="at least 0 and below 1"):
        allocate_global({"layer_0": np.ones((2, 2))}, sparsity)


def test_layers_compete_in_one_ranking() -> None:
    scores = {"layer_0": np.array([[9.0, 8.0], [1.0, 7.0]]), "layer_1": np.array([[2.0], [6.0]])}
    assert allocate_global(scores, 0.5) == {"layer_0": 2, "layer_1": 1}  # 9, 8 and, for the floor, 6
    assert allocate_global(scores, 0.5, floor=0) == {"layer_0": 3, "layer_1": 0}  # 9, 8, 7


def test_a_layer_without_survivors_is_filled_from_the_lowest_survivors_of_others() -> None:
    scores = {"a": np.array([[10.0, 9.0]]), "b": np.array([[8.0, 7.0]]), "c": np.array([[0.0, 0.0]])}
    # The ranking keeps 10, 9, 8, 7. For c, 7 goes: the lowest survivor, and b is above its floor.
    assert allocate_global(scores, 1 / 3) == {"a": 2, "b": 1, "c": 1}


def test_ties_go_to_the_earlier_layer() -> None:
    scores = {"a": np.zeros((2, 2)), "b": np.zeros((2, 2)), "c": np.zeros((2, 2))}
    assert allocate_global(scores, 0.5) == {"a": 4, "b": 1, "c": 1}


@settings(deadline=None)
@given(scores=groups_of_scores(), sparsity=sparsities, floor=st.integers(0, 3))
def test_counts_equal_the_documented_procedure(scores: dict[str, np.ndarray], sparsity: float, floor: int) -> None:
    survivors = survivor_count(sum(s.size for s in scores.values()), sparsity)
    if sum(min(floor, s.size) for s in scores.values()) > survivors:
        with pytest.raises(MaskError, match="Ask for a sparsity of at most"):
            allocate_global(scores, sparsity, floor)
    else:
        counts = allocate_global(scores, sparsity, floor)
        assert counts == filled_up_ranking(scores, survivors, floor)
        assert sum(counts.values()) == survivors


@settings(deadline=None)
@given(scores=groups_of_scores())
def test_the_sparsity_that_an_impossible_floor_suggests_is_possible(scores: dict[str, np.ndarray]) -> None:
    with pytest.raises(MaskError) as caught:
        allocate_global(scores, 0.9999)
    suggested = float(str(caught.value).split("at most ")[1].removesuffix("."))
    counts = allocate_global(scores, suggested)
    assert min(counts.values()) == MIN_SURVIVORS_PER_LAYER


def test_an_impossible_floor_names_the_layers() -> None:
    scores = {"layer_0": np.ones((4, 2)), "layer_1": np.ones((2, 1))}
    message = r"leaves 1 of 10 .* each layer keeps at least 1, in all 2 \(layer_0, layer_1\).*at most 0.8\."
    with pytest.raises(MaskError, match=message):
        allocate_global(scores, 0.9)


@pytest.mark.parametrize("scores", [{}, {"layer_0": np.ones((0, 3))}])
def test_nothing_to_prune(scores: dict[str, np.ndarray]) -> None:
    with pytest.raises(MaskError, match="no kernel weights"):
        allocate_global(scores, 0.5)
