import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning import masks
from rlottery.pruning.allocation import allocate_erk
from rlottery.pruning.controls import CONTROLS
from rlottery.pruning.masks import GroupMask, check_connected, survivors
from rlottery.pruning.random_masks import random_erk, random_like, shuffle_all_but_first, shuffle_degrees
from rlottery.pruning.structured import is_structured, units_of
from tests.pruning.networks import TICKET, UNITS, equal, rng

DRAWN = {name: control.draw_mask for name, control in CONTROLS.items() if control.draw_mask is not None}


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
        monkeypatch.setattr(masks, "DRAWS", 1)
        with pytest.raises(MaskError, match="is cut"):
            for seed in range(50):
                DRAWN[name](mask, rng(seed))


class TestRandomLike:
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
