from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.allocation import (
    allocate_erk,
    allocate_given,
    allocate_global,
    allocate_uniform,
    survivor_count,
)
from rlottery.pruning.masks import by_network, select
from tests.pruning.networks import groups_of_scores

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


@given(scores=groups_of_scores(), sparsity=sparsities, floor=st.integers(0, 3))
def test_counts_equal_the_documented_procedure(scores: dict[str, np.ndarray], sparsity: float, floor: int) -> None:
    survivors = survivor_count(sum(s.size for s in scores.values()), sparsity)
    if sum(min(floor, s.size) for s in scores.values()) > survivors:
        with pytest.raises(MaskError, match="Use a sparsity of at most"):
            allocate_global(scores, sparsity, floor)
    else:
        counts = allocate_global(scores, sparsity, floor)
        assert counts == filled_up_ranking(scores, survivors, floor)
        assert sum(counts.values()) == survivors


@given(scores=groups_of_scores())
def test_the_sparsity_that_an_impossible_floor_suggests_is_possible(scores: dict[str, np.ndarray]) -> None:
    with pytest.raises(MaskError) as caught:
        allocate_global(scores, 0.9999)
    suggested = float(str(caught.value).split("at most ")[1].removesuffix("."))
    counts = allocate_global(scores, suggested)
    assert min(counts.values()) == 1


def test_an_impossible_floor_names_the_layers() -> None:
    scores = {"layer_0": np.ones((4, 2)), "layer_1": np.ones((2, 1))}
    message = r"leaves 1 of 10 .* each layer keeps at least 1, in all 2 \(layer_0, layer_1\).*at most 0.8\."
    with pytest.raises(MaskError, match=message):
        allocate_global(scores, 0.9)


@pytest.mark.parametrize("scores", [{}, {"layer_0": np.ones((0, 3))}])
def test_nothing_to_prune(scores: dict[str, np.ndarray]) -> None:
    with pytest.raises(MaskError, match="no kernel weights"):
        allocate_global(scores, 0.5)


def shapes_of(layers: dict[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    return {path: layer.shape for path, layer in layers.items()}


shapes = st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=6).map(
    lambda drawn: {f"layer_{i}": shape for i, shape in enumerate(drawn)}
)
by_shape = pytest.mark.parametrize("allocate", [allocate_uniform, allocate_erk])


def alive(rng: np.random.Generator, shapes: dict[str, tuple[int, ...]], density: float) -> dict[str, np.ndarray]:
    return {path: rng.random(shape) < density for path, shape in shapes.items()}


def bisected(weights: np.ndarray, low: np.ndarray, high: np.ndarray, total: int) -> np.ndarray:
    """clip(scale * weights, low, high) with sum `total`, the scale by bisection in double precision."""
    below, above = 0.0, float((high / weights).max())
    for _ in range(200):
        scale = (below + above) / 2
        below, above = (scale, above) if np.clip(scale * weights, low, high).sum() < total else (below, scale)
    return np.clip(above * weights, low, high)


def largest_remainder(shares: np.ndarray, total: int) -> list[int]:
    # Double precision leaves whole shares and equal remainders apart by rounding errors.
    shares = shares.round(6)
    counts = np.floor(shares).astype(int)
    order = sorted(range(len(shares)), key=lambda i: (round(counts[i] - shares[i], 6), i))
    for i in order[: total - counts.sum()]:
        counts[i] += 1
    return counts.tolist()


class TestByShape:
    def test_uniform_by_hand(self) -> None:
        three = {"a": (2, 5), "b": (3, 5), "c": (5, 1)}  # 10, 15 and 5 weights
        assert allocate_uniform(three, 0.6) == {"a": 4, "b": 6, "c": 2}
        assert allocate_uniform(three, 0.5) == {"a": 5, "b": 8, "c": 2}  # 5, 7.5, 2.5: the earlier of equal remainders
        assert allocate_uniform(three, 0.9) == {"a": 1, "b": 1, "c": 1}
        assert allocate_uniform(three, 0.6, floor=4) == {"a": 4, "b": 4, "c": 4}

    def test_erk_by_hand(self) -> None:
        # Inputs + outputs are 40, 60 and 20: with 120 of 1,300 weights, each layer has as many survivors.
        three = {"a": (10, 30), "b": (30, 30), "c": (10, 10)}
        assert allocate_erk(three, 1180 / 1300) == {"a": 40, "b": 60, "c": 20}
        # 51 of 102 weights would be 44.35 and 6.65, but b has only 2.
        assert allocate_erk({"a": (10, 10), "b": (2, 1)}, 0.5) == {"a": 49, "b": 2}

    @pytest.mark.parametrize(
        "layers",
        [
            [(39, 256), (256, 256), (256, 8)],
            [(43, 256), (256, 256), (256, 1)] * 2,  # outputs of twin critics fill up first
            [(4, 64), (64, 64), (64, 2)],
            [(376, 400), (400, 300), (300, 17)],
            [(3, 2), (2, 900)],
        ],
    )
    @pytest.mark.parametrize("sparsity", [0.0, 0.1, 0.5, 0.8, 0.9, 0.95, 0.99])
    def test_erk_equals_the_formula(self, layers: list[tuple[int, int]], sparsity: float) -> None:
        """Evci et al. 2020: density epsilon (n + m) / (n m); where that exceeds 1, the layer is dense."""
        sizes = np.array([n * m for n, m in layers])
        survivors = survivor_count(int(sizes.sum()), sparsity)
        counts = allocate_erk({str(i): shape for i, shape in enumerate(layers)}, sparsity)
        assert sum(counts.values()) == survivors

        below, above = 0.0, 1e6
        for _ in range(200):
            epsilon = (below + above) / 2
            densities = np.array([min(1.0, epsilon * (n + m) / (n * m)) for n, m in layers])
            below, above = (epsilon, above) if densities @ sizes < survivors else (below, epsilon)
        for count, density, size in zip(counts.values(), densities, sizes, strict=True):
            assert abs(count - density * size) < 1 + 1e-6
        assert all(c == s for c, d, s in zip(counts.values(), densities, sizes, strict=True) if d == 1)

    @given(shapes=shapes, sparsity=sparsities, floor=st.integers(0, 5), density=st.none() | st.floats(0, 1))
    @by_shape
    def test_equals_clipped_shares_by_bisection(
        self, allocate, shapes: dict[str, tuple[int, int]], sparsity: float, floor: int, density: float | None
    ) -> None:
        within = None if density is None else alive(np.random.default_rng(0), shapes, density)
        sizes = np.array([n * m for n, m in shapes.values()])
        high = sizes if within is None else np.array([np.count_nonzero(m) for m in within.values()])
        low = np.minimum(floor, high)
        survivors = survivor_count(int(sizes.sum()), sparsity)
        if low.sum() > survivors:
            with pytest.raises(MaskError, match="Use a sparsity of at most"):
                allocate(shapes, sparsity, floor, within)
        elif high.sum() < survivors:
            with pytest.raises(MaskError, match="Use a sparsity of at least"):
                allocate(shapes, sparsity, floor, within)
        else:
            counts = allocate(shapes, sparsity, floor, within)
            weights = sizes if allocate is allocate_uniform else np.array([n + m for n, m in shapes.values()])
            assert list(counts.values()) == largest_remainder(bisected(weights, low, high, survivors), survivors)
            assert list(counts) == list(shapes)
            assert all(type(count) is int for count in counts.values())

    @by_shape
    def test_an_excess_goes_to_the_others_in_proportion(self, allocate) -> None:
        shapes = {"a": (10, 10), "b": (10, 10), "c": (10, 10)}
        within = {path: np.ones(shape, dtype=bool) for path, shape in shapes.items()}
        within["b"][2:] = False
        assert allocate(shapes, 0.6, within=within) == {"a": 50, "b": 20, "c": 50}

    @by_shape
    def test_an_impossible_floor_says_the_same_as_the_global_allocation(self, allocate) -> None:
        scores = {"layer_0": np.ones((4, 2)), "layer_1": np.ones((2, 1))}
        said = []
        for attempt in (
            lambda: allocate_global(scores, 0.9),
            lambda: allocate(shapes_of(scores), 0.9),
            lambda: allocate_uniform(shapes_of(scores), 0.9),
        ):
            with pytest.raises(MaskError) as caught:
                attempt()
            said.append(str(caught.value))
        assert len(set(said)) == 1
        allocate_uniform(shapes_of(scores), 0.8)

    @by_shape
    @pytest.mark.parametrize("sparsity", [1.0, -0.1, float("nan")])
    def test_sparsity_out_of_range(self, allocate, sparsity: float) -> None:
        with pytest.raises(MaskError, match="at least 0 and below 1"):
            allocate({"layer_0": (2, 2)}, sparsity)


class TestWithin:
    @given(scores=groups_of_scores(), data=st.data(), floor=st.integers(0, 3))
    def test_global_equals_the_ranking_of_the_survivors_alone(
        self, scores: dict[str, np.ndarray], data: st.DataObject, floor: int
    ) -> None:
        within = alive(np.random.default_rng(data.draw(st.integers(0, 9))), shapes_of(scores), 0.6)
        left = sum(np.count_nonzero(layer) for layer in within.values())
        total = sum(layer.size for layer in scores.values())
        least = sum(min(floor, np.count_nonzero(layer)) for layer in within.values())
        survivors = data.draw(st.integers(least, left))
        assume(survivors > 0)
        counts = allocate_global(scores, (total - survivors) / total, floor, within)
        # As if the last mask's survivors were all that there is, one row to a layer.
        alone = {path: layer[within[path]][None] for path, layer in scores.items()}
        assert counts == filled_up_ranking(alone, survivors, floor)

        mask = select(scores, counts, within)
        for path, layer in mask.items():
            kept = select({path: alone[path]}, {path: counts[path]})[path]
            assert not (layer & ~within[path]).any()
            assert np.array_equal(layer[within[path]], kept[0])

    def test_everything_within_is_no_bound(self) -> None:
        rng = np.random.default_rng(0)
        scores = {"a": rng.normal(size=(5, 7)), "b": rng.normal(size=(7, 3))}
        everything = alive(rng, shapes_of(scores), 2.0)
        assert allocate_global(scores, 0.7, within=everything) == allocate_global(scores, 0.7)

    def test_too_few_survivors_are_left(self) -> None:
        scores = {"a": np.ones((2, 5)), "b": np.ones((5, 2))}
        within = {path: layer.cumsum().reshape(layer.shape) <= 3 for path, layer in scores.items()}
        message = r"leaves 10 of 20 weights, but the last mask kept only 6\. Use a sparsity of at least 0\.7\."
        with pytest.raises(MaskError, match=message):
            allocate_global(scores, 0.5, within=within)
        assert allocate_global(scores, 0.7, within=within) == {"a": 3, "b": 3}

    def test_a_mask_of_another_network(self) -> None:
        scores = {"a": np.ones((2, 5))}
        for other in ({"b": np.ones((2, 5), dtype=bool)}, {"a": np.ones((5, 2), dtype=bool)}):
            with pytest.raises(MaskError, match="another network"):
                allocate_global(scores, 0.5, within=other)
            with pytest.raises(MaskError, match=r"has no layer a|has shape \(5, 2\)"):
                select(scores, {"a": 1}, other)


class TestGiven:
    def test_each_layer_has_its_own_in_each_twin(self) -> None:
        shapes = {f"q{twin}.layer_{i}": shape for twin in (1, 2) for i, shape in enumerate([(4, 10), (10, 1)])}
        counts = {"q1.layer_0": 4, "q1.layer_1": 10, "q2.layer_0": 4, "q2.layer_1": 10}
        assert allocate_given(shapes, [0.9, 0.0]) == counts

    def test_floors(self) -> None:
        shapes = {"layer_0": (10, 10), "layer_1": (2, 1)}
        assert allocate_given(shapes, [0.999, 0.9]) == {"layer_0": 1, "layer_1": 1}
        assert allocate_given(shapes, [0.999, 0.9], floor=5) == {"layer_0": 5, "layer_1": 2}

    def test_another_number_of_layers(self) -> None:
        shapes = {"q1.layer_0": (2, 2), "q1.layer_1": (2, 2)}
        with pytest.raises(MaskError, match=r"3 sparsities .* 2 layers of the network 'q1' \(q1.layer_0, q1.layer_1\)"):
            allocate_given(shapes, [0.5, 0.5, 0.5])

    def test_sparsity_out_of_range(self) -> None:
        with pytest.raises(MaskError, match="at least 0 and below 1"):
            allocate_given({"layer_0": (2, 2)}, [1.0])


def test_networks_are_told_apart_by_what_stands_before_the_last_dot() -> None:
    layers = {"layer_0": 1, "q1.layer_0": 2, "a.q1.layer_0": 3, "q1.layer_1": 4}
    assert by_network(layers) == {
        "": {"layer_0": 1},
        "q1": {"q1.layer_0": 2, "q1.layer_1": 4},
        "a.q1": {"a.q1.layer_0": 3},
    }
