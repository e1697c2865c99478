"""What masks really keep, against walks along every surviving weight, and scores of rank one against their SVD."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.effective import effective, on_a_path, rank_one_share
from rlottery.pruning.masks import by_network, effective_of, make_mask


@st.composite
def networks(draw: st.DrawFn) -> list[np.ndarray]:
    """The masks of a network's layers, of any density."""
    widths = draw(st.lists(st.integers(1, 4), min_size=2, max_size=5))
    generator = np.random.default_rng(draw(st.integers(0, 2**31)))
    density = draw(st.sampled_from([0.0, 0.1, 0.3, 0.5, 1.0]))
    return [generator.random(shape) < density for shape in itertools.pairwise(widths)]


@given(kept=networks())
def test_survivors_on_a_path_are_those_of_all_walks(kept: list[np.ndarray]) -> None:
    walked = [np.zeros_like(layer) for layer in kept]
    units = [set[int]() for _ in kept]
    for walk in itertools.product(range(kept[0].shape[0]), *(range(layer.shape[1]) for layer in kept)):
        if all(layer[edge] for layer, edge in zip(kept, itertools.pairwise(walk), strict=True)):
            for layer, used, edge in zip(walked, units, itertools.pairwise(walk), strict=True):
                layer[edge] = True
                used.add(edge[1])
    assert all(np.array_equal(found, by_walks) for found, by_walks in zip(on_a_path(kept), walked, strict=True))
    named = {f"layer_{index}": layer for index, layer in enumerate(kept)}
    found = effective({"": named})
    on_walks, everything = (sum(int(layer.sum()) for layer in of) for of in (walked, kept))
    assert found.total == sum(layer.size for layer in kept)
    assert found.sparsity == pytest.approx(1 - on_walks / found.total)
    assert found.idle == pytest.approx((everything - on_walks) / everything if everything else 0)
    assert [used for used, _ in found.units.values()] == [len(used) for used in units[:-1]]


def test_metadata_by_hand() -> None:
    """The second unit reads nothing and the third leads nowhere; the twin is whole."""
    layer_0, layer_1 = [[1, 0, 1], [1, 0, 0]], [[1], [1], [0]]
    mask = make_mask(
        {"critic": {"q1.layer_0": layer_0, "q1.layer_1": layer_1, "q2.layer_0": [[1], [1]], "q2.layer_1": [[1]]}},
        task="t",
        seed=0,
    )
    assert mask.metadata["effective"] == {
        "critic": {
            "sparsity": 1 - 6 / 12,  # of 8 survivors, the edge into unit 2 and that out of unit 1 are idle
            "layers": {"q1.layer_0": 2, "q1.layer_1": 1, "q2.layer_0": 2, "q2.layer_1": 1},
            "units": {"q1.layer_0": [1, 3], "q2.layer_0": [1, 1]},
        }
    }
    assert effective_of(mask.groups["critic"]).idle == 2 / 8


def test_layers_that_form_no_network() -> None:
    layers = {"layer_0": np.ones((2, 3), bool), "layer_1": np.ones((2, 1), bool)}
    with pytest.raises(MaskError, match="'layer_1' has 2 inputs, but the layer before it has 3 outputs"):
        effective(by_network(layers))
    assert "effective" not in make_mask({"actor": layers}, task="t", seed=0).metadata


class TestRankOne:
    def test_products_of_units_are_all_of_it_at_any_scale(self) -> None:
        one, other = np.random.default_rng(0).random((2, 30))
        for scale in (1.0, 1e-200, 1e200):
            assert rank_one_share(np.outer(one, other) * scale) == 1.0

    def test_by_hand(self) -> None:
        assert rank_one_share(np.eye(4)) == 0.25  # four equal singular values
        assert rank_one_share(np.diag([3.0, 4.0])) == 0.64

    def test_against_the_singular_values(self) -> None:
        scores = np.random.default_rng(1).random((9, 17))
        values = np.linalg.svd(scores, compute_uv=False)
        assert rank_one_share(scores) == pytest.approx(values[0] ** 2 / np.sum(values**2), abs=5e-5)

    def test_where_it_says_nothing(self) -> None:
        assert rank_one_share(np.ones((5, 1))) is None
        assert rank_one_share(np.zeros((3, 3))) is None
