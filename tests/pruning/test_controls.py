import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning import random_masks
from rlottery.pruning.allocation import allocate_erk, allocate_global
from rlottery.pruning.controls import CONTROLS, invert, small_widths
from rlottery.pruning.initial_weights import permute_weights, rescale
from rlottery.pruning.masks import GroupMask, check_connected, select, survivors
from rlottery.pruning.random_masks import random_erk, random_like, shuffle_all_but_first, shuffle_degrees
from rlottery.pruning.structured import is_structured, prune_units, unit_scores, units_of
from tests.pruning.networks import network

TWINS = {path: np.abs(k) for prefix in ("q1.", "q2.") for path, k in network(6, 20, 16, 3, prefix=prefix).items()}
DRAWN = {name: control.draw_mask for name, control in CONTROLS.items() if control.draw_mask is not None}
TICKET = select(TWINS, allocate_global(TWINS, 0.7))
UNITS = prune_units({path: np.abs(k) for path, k in network(6, 20, 16, 3).items()}, 0.6)


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def equal(a: GroupMask, b: GroupMask) -> bool:
    return list(a) == list(b) and all(np.array_equal(layer, b[path]) for path, layer in a.items())


def degrees(layer: np.ndarray) -> tuple[list[int], list[int]]:
    return layer.sum(axis=0).tolist(), layer.sum(axis=1).tolist()


class TestEveryMaskControl:
    @pytest.mark.parametrize("name", DRAWN)
    def test_keeps_shapes_and_total_and_differs_and_joins_and_repeats(self, name: str) -> None:
        before = {path: layer.copy() for path, layer in TICKET.items()}
        drawn = DRAWN[name](TICKET, rng(1))
        assert equal(TICKET, before)
        assert {p: layer.shape for p, layer in drawn.items()} == {p: layer.shape for p, layer in TICKET.items()}
        assert all(layer.dtype == np.bool_ and layer.flags.c_contiguous for layer in drawn.values())
        assert sum(map(np.count_nonzero, drawn.values())) == sum(map(np.count_nonzero, TICKET.values()))
        assert not equal(drawn, TICKET)
        check_connected(drawn)
        assert equal(drawn, DRAWN[name](TICKET, rng(1)))
        assert not equal(drawn, DRAWN[name](TICKET, rng(2)))

    @pytest.mark.parametrize("name", DRAWN)
    def test_draws_that_are_cut_are_drawn_again(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        half = np.array([[True, True, False, False]])
        mask = {"layer_0": half, "layer_1": np.eye(4, dtype=bool), "layer_2": half.T.copy()}
        for seed in range(50):
            check_connected(DRAWN[name](mask, rng(seed)))
        monkeypatch.setattr(random_masks, "DRAWS", 1)
        with pytest.raises(MaskError, match="is cut"):
            for seed in range(50):
                DRAWN[name](mask, rng(seed))

    def test_described(self) -> None:
        assert list(CONTROLS) == [
            "random",
            "random-erk",
            "shuffled",
            "first-layer",
            "inverted",
            "permuted-weights",
            "fresh-weights",
            "small-dense",
            "dense-again",
        ]
        texts = ("summary", "paper", "cost", "use", "changes")
        assert all(getattr(control, text) for control in CONTROLS.values() for text in texts)


class TestRandomLike:
    @settings(deadline=None)
    @given(density=st.floats(0.3, 1), seed=st.integers(0, 1000))
    def test_exact_counts_in_each_layer(self, density: float, seed: int) -> None:
        mask = {path: rng(seed).random(layer.shape) < density for path, layer in TICKET.items()}
        assert survivors(random_like(mask, rng(seed))) == survivors(mask)

    def test_every_position_alike(self) -> None:
        draws = [random_like(TICKET, rng(seed)) for seed in range(400)]
        for path, layer in TICKET.items():
            share = np.mean([draw[path] for draw in draws], axis=0)
            # Five standard errors; of 960 positions, none is beyond by chance.
            assert np.abs(share - layer.mean()).max() < 5 * np.sqrt(layer.mean() * (1 - layer.mean()) / 400)

    def test_whole_units_stay_whole(self) -> None:
        seen = set()
        for seed in range(20):
            drawn = random_like(UNITS, rng(seed))
            assert is_structured(drawn)
            assert survivors(drawn) == survivors(UNITS)
            assert {p: u.sum() for p, u in units_of(drawn).items()} == {p: u.sum() for p, u in units_of(UNITS).items()}
            seen.add(drawn["layer_1"].tobytes())
        assert len(seen) == 20

    def test_no_draw_joins(self) -> None:
        """A thousand positions in either layer, one survivor in each."""
        mask = {"layer_0": np.zeros((10, 1000), dtype=bool), "layer_1": np.zeros((1000, 10), dtype=bool)}
        mask["layer_0"][0, 0] = mask["layer_1"][0, 0] = True
        with pytest.raises(MaskError, match="None of 100 random masks .* is cut at layer 'layer_1'.*a lower sparsity"):
            random_like(mask, rng())


class TestRandomERK:
    def test_erk_counts_of_the_tickets_total(self) -> None:
        kept = sum(map(np.count_nonzero, TICKET.values()))
        total = sum(layer.size for layer in TICKET.values())
        counts = allocate_erk({path: layer.shape for path, layer in TICKET.items()}, (total - kept) / total)
        drawn = random_erk(TICKET, rng())
        assert {path: np.count_nonzero(layer) for path, layer in drawn.items()} == counts
        assert survivors(drawn) != survivors(TICKET)


class TestShuffleDegrees:
    @settings(deadline=None)
    @given(
        shape=st.tuples(st.integers(2, 30), st.integers(2, 30)), density=st.floats(0.1, 0.9), seed=st.integers(0, 99)
    )
    def test_rows_and_columns_keep_their_survivors(self, shape: tuple[int, int], density: float, seed: int) -> None:
        mask = {"layer_0": rng(seed).random(shape) < density}
        try:
            drawn = shuffle_degrees(mask, rng(seed))
        except MaskError:
            return  # a layer whose degrees only one mask has; they are tested below
        assert degrees(drawn["layer_0"]) == degrees(mask["layer_0"])
        assert not equal(drawn, mask)

    def test_all_masks_with_the_degrees_come_alike(self) -> None:
        """The 4 x 4 masks with these degrees, listed by trying all; each is drawn about as often as every other."""
        start = np.array([[1, 1, 1, 0], [1, 0, 0, 0], [0, 1, 0, 1], [0, 0, 1, 1]], dtype=bool)
        masks = np.array(list(itertools.product([False, True], repeat=16))).reshape(-1, 4, 4)
        alike = (masks.sum(axis=1) == start.sum(axis=0)).all(axis=1) & (masks.sum(axis=2) == start.sum(axis=1)).all(
            axis=1
        )
        others = {m.tobytes() for m in masks[alike]} - {start.tobytes()}
        ways = {"layer_0": start}
        draws = [shuffle_degrees(ways, rng(seed))["layer_0"].tobytes() for seed in range(40 * len(others))]
        assert set(draws) == others  # the ticket's own never
        expected = len(draws) / len(others)
        assert max(abs(draws.count(m) - expected) for m in others) < 5 * np.sqrt(expected)

    def test_a_regular_mask_mixes(self) -> None:
        """Eight diagonals of 64: by symmetry each position survives with the same chance, 1/8."""
        circulant = {"layer_0": (np.arange(64)[:, None] - np.arange(64)) % 64 < 8}
        draws = np.array([shuffle_degrees(circulant, rng(seed))["layer_0"] for seed in range(200)])
        assert np.abs(draws.mean(axis=0) - 1 / 8).max() < 5.5 * np.sqrt(1 / 8 * 7 / 8 / 200)
        kept = draws[:, circulant["layer_0"]].mean(axis=1)  # what chance leaves where it was
        assert abs(kept.mean() - 1 / 8) < 5 * kept.std() / np.sqrt(200)

    @pytest.mark.parametrize("mask", [UNITS, {"layer_0": np.ones((3, 3), dtype=bool)}], ids=["whole units", "dense"])
    def test_a_ticket_that_its_degrees_determine(self, mask: GroupMask) -> None:
        with pytest.raises(MaskError, match="the control would equal the ticket. Use the control `random`"):
            shuffle_degrees(mask, rng())


class TestShuffleAllButFirst:
    def test_the_first_layer_of_every_network_stays(self) -> None:
        drawn = shuffle_all_but_first(TICKET, rng())
        assert survivors(drawn) == survivors(TICKET)
        for path, layer in drawn.items():
            assert np.array_equal(layer, TICKET[path]) == path.endswith("layer_0")

    def test_whole_units(self) -> None:
        drawn = shuffle_all_but_first(UNITS, rng())
        assert is_structured(drawn)
        assert np.array_equal(drawn["layer_0"], UNITS["layer_0"])
        assert not np.array_equal(drawn["layer_1"], UNITS["layer_1"])
        assert survivors(drawn) == survivors(UNITS)

    def test_nothing_behind_the_first_layer(self) -> None:
        with pytest.raises(MaskError, match="the control would equal the ticket"):
            shuffle_all_but_first({"layer_0": np.array([[True, False]])}, rng())


class TestInvert:
    def test_the_lowest_of_each_layer(self) -> None:
        inverse = invert(TWINS, TICKET)
        assert survivors(inverse) == survivors(TICKET)
        for path, layer in inverse.items():
            assert TWINS[path][layer].max() < TWINS[path][~layer].min()

    def test_ties_go_to_the_lowest_index(self) -> None:
        scores = {"layer_0": np.array([[2.0, 1.0, 1.0, 1.0]])}
        assert invert(scores, {"layer_0": np.array([[1, 1, 0, 0]], dtype=bool)})["layer_0"].tolist() == [
            [False, True, True, False]
        ]

    def test_whole_units(self) -> None:
        scores = {path: np.abs(k) for path, k in network(6, 20, 16, 3).items()}
        inverse = invert(scores, UNITS)
        assert is_structured(inverse)
        assert survivors(inverse) == survivors(UNITS)
        for path, alive in units_of(inverse).items():
            assert unit_scores(scores)[path][alive].max() < unit_scores(scores)[path][~alive].min()

    def test_other_layers(self) -> None:
        with pytest.raises(MaskError, match="has shape"):
            invert({"layer_0": np.ones((2, 3))}, {"layer_0": np.ones((3, 2), dtype=bool)})

    def test_an_inverse_that_is_cut(self) -> None:
        scores = {"layer_0": np.array([[3.0, 1.0], [3.0, 2.0]]), "layer_1": np.array([[1.0], [2.0]])}
        mask = {"layer_0": np.array([[True, False], [False, False]]), "layer_1": np.array([[True], [False]])}
        with pytest.raises(MaskError, match="is cut at layer 'layer_1'"):
            invert(scores, mask)


class TestPermuteWeights:
    def test_the_same_values_at_other_surviving_positions(self) -> None:
        permuted = permute_weights(TWINS, TICKET, rng())
        for path, kernel in TWINS.items():
            alive = TICKET[path]
            assert sorted(permuted[path][alive]) == sorted(kernel[alive])
            assert not np.array_equal(permuted[path][alive], kernel[alive])
            assert np.array_equal(permuted[path][~alive], kernel[~alive])
            assert permuted[path].dtype == kernel.dtype

    def test_its_arguments_stay(self) -> None:
        before = {path: kernel.copy() for path, kernel in TWINS.items()}
        permute_weights(TWINS, TICKET, rng())
        assert equal(before, TWINS)


class TestRescale:
    def test_by_hand(self) -> None:
        kernels = {"layer_0": np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1]], dtype=np.float32)}
        mask = {"layer_0": np.array([[1, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 1]], dtype=bool)}
        rescaled = rescale(kernels, mask)["layer_0"]
        assert rescaled.tolist() == [[2, 2, 3], [4, 5, 6], [7, 8, 9], [1, 1, 1]]
        assert rescaled.dtype == np.float32

    @pytest.mark.parametrize("kept", [2, 10, 40])
    def test_gives_the_variance_of_pre_activations_back(self, kept: int) -> None:
        generator = rng(kept)
        kernel = generator.normal(size=(60, 1)).astype(np.float32)
        outputs, plain = [], []
        for _ in range(4000):
            alive = generator.permutation(np.arange(60) < kept)[:, None]
            inputs = generator.normal(size=(20, 60))
            outputs.append(inputs @ np.where(alive, rescale({"k": kernel}, {"k": alive})["k"], 0))
            plain.append(inputs @ np.where(alive, kernel, 0))
        dense = np.sum(kernel.astype(np.float64) ** 2)
        assert np.var(outputs) == pytest.approx(dense, rel=0.06)
        assert np.var(plain) == pytest.approx(dense * kept / 60, rel=0.06)


def dense_weights(hidden: tuple[int, ...], inputs: int, outputs: int) -> int:
    return sum(a * b for a, b in itertools.pairwise((inputs, *hidden, outputs)))


class TestSmallWidths:
    def test_by_hand(self) -> None:
        # 10 + 2 weights to a unit of one hidden layer.
        assert small_widths((256,), 10, 2, 12 * 7 + 11) == (7,)
        # (5, 10): 20 + 50 + 10 = 80; the next is (5, 11), 4 * 5 + 5 * 11 + 11 = 86.
        assert small_widths((50, 100), 4, 1, 85) == (5, 10)
        assert small_widths((50, 100), 4, 1, 86) == (5, 11)
        assert small_widths((), 4, 1, 4) == ()

    @settings(deadline=None)
    @given(
        widths=st.lists(st.integers(1, 30), min_size=1, max_size=3).map(tuple),
        inputs=st.integers(1, 20),
        outputs=st.integers(1, 20),
        survivors=st.integers(1, 3000),
    )
    def test_equals_a_scan_over_factors(
        self, widths: tuple[int, ...], inputs: int, outputs: int, survivors: int
    ) -> None:
        # Every width's steps are at fractions of it; their common denominator meets all.
        steps = int(np.lcm.reduce(widths))
        best = None
        for k in range(steps + 1):
            hidden = tuple(max(1, k * width // steps) for width in widths)
            if dense_weights(hidden, inputs, outputs) > survivors:
                break
            best = hidden
        if best is None:
            with pytest.raises(MaskError, match="lower sparsity, or leave the small dense control out"):
                small_widths(widths, inputs, outputs, survivors)
        else:
            assert small_widths(widths, inputs, outputs, survivors) == best

    def test_never_wider_than_the_dense_agent(self) -> None:
        assert small_widths((8, 8), 3, 1, 10**9) == (8, 8)

    def test_too_few_survivors(self) -> None:
        message = "as small as 9 weights: with 8 inputs, 1 outputs and 1 unit in each of 2 hidden layers it has 10"
        with pytest.raises(MaskError, match=message):
            small_widths((256, 256), 8, 1, 9)
