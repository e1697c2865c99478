"""Starved layers, of masks made by hand."""

from itertools import pairwise, product

import numpy as np
import pytest

from rlottery.pruning.allocation import allocate_erk
from rlottery.pruning.starved import starved_layers


def first(inputs: int, units: int, used: int) -> np.ndarray:
    """Every input of the first `used` units."""
    layer = np.zeros((inputs, units), bool)
    layer[:, :used] = True
    return layer


def test_a_layer_with_few_weights_that_leaves_few_units_is_starved() -> None:
    # 2 of 100 weights are far less than the network's (2 + 400 + 20) / (100 + 400 + 20), and lead to 1 of 20 units.
    mask = {"layer_0": first(5, 20, 0), "layer_1": np.ones((20, 20), bool), "layer_2": np.ones((20, 1), bool)}
    mask["layer_0"][:2, 0] = True
    (found,) = starved_layers(mask)
    assert (found.network, found.path, found.place, found.layers) == ("", "layer_0", 0, 3)
    assert (found.kept, found.size, found.in_use, found.units) == (2, 100, 1, 20)
    assert found.of_network == pytest.approx((2 + 400 + 20) / 520)


def test_a_last_layer_can_be_starved_and_twins_are_told_apart() -> None:
    full, narrow = np.ones((20, 2), bool), np.zeros((20, 2), bool)
    narrow[:4, 0] = True
    hidden = np.ones((4, 20), bool)
    mask = {"q1.layer_0": hidden, "q1.layer_1": full, "q2.layer_0": hidden, "q2.layer_1": narrow}
    (found,) = starved_layers(mask)
    assert (found.network, found.path, found.in_use, found.units) == ("q2", "q2.layer_1", 4, 20)


@pytest.mark.parametrize(
    ("used", "weights"),
    [
        (5, 5),  # a quarter of the units, by few weights
        (1, 60),  # one unit, though the layer keeps as large a share as the network does
    ],
)
def test_neither_few_weights_nor_few_units_alone_starve_a_layer(used: int, weights: int) -> None:
    before, after = np.zeros((60, 20), bool), np.zeros((20, 1), bool)
    before[: weights // used, :used], after[:used] = True, True
    assert list(starved_layers({"layer_0": before, "layer_1": after})) == []


def test_a_network_without_hidden_layers_has_none() -> None:
    mask = np.zeros((50, 2), bool)
    mask[0, 0] = True
    assert list(starved_layers({"layer_0": mask})) == []


def test_erk_gives_every_layer_of_equally_wide_networks_half_of_its_part() -> None:
    """The bound that the rule rests on; the margin is for whole weights."""
    for units, inputs, outputs, depth, sparsity in product((64, 256), (3, 39), (1, 8), (1, 2, 3), (0.8, 0.95)):
        sizes = [inputs, *[units] * depth, outputs]
        shapes = {f"layer_{i}": shape for i, shape in enumerate(pairwise(sizes))}
        size = {path: one * other for path, (one, other) in shapes.items()}
        counts = allocate_erk(shapes, sparsity)
        of_network = sum(counts.values()) / sum(size.values())
        assert min((count + 1) / size[path] for path, count in counts.items()) >= 0.5 * of_network
