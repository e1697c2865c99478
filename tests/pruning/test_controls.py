import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.controls import CONTROLS, invert, small_widths
from rlottery.pruning.masks import survivors
from rlottery.pruning.structured import is_structured, unit_scores, units_of
from tests.pruning.networks import TICKET, TWINS, UNITS, network


def test_every_control_is_described() -> None:
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
