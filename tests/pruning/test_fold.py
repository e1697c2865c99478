"""Folded networks against the masked ones at double precision, and against walks along every surviving weight."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.activations import ACTIVATIONS, Activation
from rlottery.pruning.fold import Folded, Layers, fold
from tests.agents.kernels.networks import Layer, Masks, forward, random_network

Network = tuple[list[int], list[Layer], Masks]
Drawn = tuple[list[tuple[int, float]], int]


DENSITIES = (0.0, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
DRAWN = st.tuples(
    st.lists(st.tuples(st.integers(1, 12), st.sampled_from(DENSITIES)), min_size=2, max_size=6), st.integers(0, 2**31)
)
"""The width of each layer, the density of the weights that read it, and a seed. Networks are made of them in the tests:
Hypothesis gives up if drawing takes long, as it may on a busy machine."""


def network_of(drawn: Drawn) -> Network:
    """Any number of layers, of any density, with whole rows and columns gone."""
    units, seed = drawn
    widths, generator = [width for width, _ in units], np.random.default_rng(seed)
    layers, masks = random_network(generator, widths, [density for _, density in units[:-1]])
    for layer, mask in zip(layers, masks, strict=True):
        assert mask is not None
        mask[generator.random(mask.shape[0]) < generator.choice([0.0, 0.3]), :] = False
        mask[:, generator.random(mask.shape[1]) < generator.choice([0.0, 0.3])] = False
        layer["kernel"][~mask] = 0.0
    return widths, layers, masks


def named(layers: Sequence[Layer]) -> Layers:
    return {f"layer_{index}": dict(layer) for index, layer in enumerate(layers)}


def named_masks(masks: Masks) -> Layers:
    return {f"layer_{index}": {"kernel": mask} for index, mask in enumerate(masks) if mask is not None}


def unnamed(layers: Layers) -> list[Any]:
    return [layers[f"layer_{index}"] for index in range(len(layers))]


def walked(kept: Sequence[np.ndarray], layer: int, unit: int, step: int) -> bool:
    """Whether a walk along survivors leads from a unit to an output (`step` 1), or to an input (-1)."""
    if layer == (len(kept) if step == 1 else 0):
        return True
    weights = kept[layer][unit] if step == 1 else kept[layer - 1][:, unit]
    return any(walked(kept, layer + step, other, step) for other in np.flatnonzero(weights))


def assert_equal(one: Layers, other: Layers) -> None:
    assert one.keys() == other.keys()
    for name, layer in one.items():
        assert layer.keys() == other[name].keys()
        for key, array in layer.items():
            assert array.dtype == other[name][key].dtype
            np.testing.assert_array_equal(array, other[name][key])


@given(DRAWN, st.integers(0, 2**31), st.sampled_from(ACTIVATIONS))
def test_outputs_are_those_of_the_masked_network(drawn: Drawn, seed: int, activation: Activation) -> None:
    _, layers, masks = network_of(drawn)
    folded = fold(named(layers), named_masks(masks), activation)
    observations = np.random.default_rng(seed).normal(size=(20, layers[0]["kernel"].shape[0]))
    expected, found = (forward(of, observations, activation)[-1] for of in (layers, unnamed(folded.params)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-6)
    assert all(array.dtype == np.float32 for layer in unnamed(folded.params) for array in layer.values())


@given(DRAWN)
def test_what_goes_is_what_no_walk_reaches(drawn: Drawn) -> None:
    widths, layers, masks = network_of(drawn)
    kept = [mask for mask in masks if mask is not None]
    folded = fold(named(layers), named_masks(masks), "relu")
    for index, (dead, constant) in enumerate(zip(folded.dead, folded.constant, strict=True), start=1):
        ways_out = [walked(kept, index, unit, 1) for unit in range(widths[index])]
        ways_in = [walked(kept, index, unit, -1) for unit in range(widths[index])]
        assert dead.tolist() == [not out for out in ways_out]
        assert constant.tolist() == [out and not into for out, into in zip(ways_out, ways_in, strict=True)]
    left = [np.ones(widths[0], np.bool_), *(~d & ~c for d, c in zip(folded.dead, folded.constant, strict=True))]
    left.append(np.ones(widths[-1], np.bool_))
    for index, (layer, mask) in enumerate(zip(unnamed(folded.params), unnamed(folded.masks), strict=True)):
        rest = np.ix_(left[index], left[index + 1])
        np.testing.assert_array_equal(layer["kernel"], layers[index]["kernel"][rest])
        np.testing.assert_array_equal(mask["kernel"], kept[index][rest])
        assert layer["bias"].shape == (np.count_nonzero(left[index + 1]),)


@given(DRAWN)
def test_folding_twice_changes_nothing(drawn: Drawn) -> None:
    _, layers, masks = network_of(drawn)
    once = fold(named(layers), named_masks(masks), "relu")
    twice = fold(once.params, once.masks, "relu")
    assert_equal(once.params, twice.params)
    assert_equal(once.masks, twice.masks)
    assert not any(units.any() for units in (*twice.dead, *twice.constant))


@given(DRAWN)
def test_a_network_without_masks_stays_as_it_is(drawn: Drawn) -> None:
    _, layers, _ = network_of(drawn)
    folded = fold(named(layers), {}, "relu")
    assert_equal(folded.params, named(layers))
    assert folded.masks == {}
    assert not any(units.any() for units in (*folded.dead, *folded.constant))


def by_hand(kernels: Sequence[Any], biases: Sequence[Any], activation: Activation = "relu") -> Folded:
    """A network whose zeros are pruned, folded."""
    layers = [
        {"kernel": np.array(kernel, np.float32), "bias": np.array(bias, np.float32)}
        for kernel, bias in zip(kernels, biases, strict=True)
    ]
    return fold(named(layers), named_masks([layer["kernel"] != 0 for layer in layers]), activation)


def test_constants_go_through_the_layers() -> None:
    # Unit 0 of the first layer is always 2, so unit 0 of the second always relu(1 - 2 x 3) = 0 and unit 1 always
    # relu(0.5 + 2 x 1) = 2.5; unit 2 varies, and has 2 x 4 more. Its own input is unit 1 of the first layer.
    folded = by_hand(
        [[[0, 1], [0, 0]], [[-3, 1, 4], [0, 0, 5]], [[7], [2], [1]]],
        [[2, 0], [1, 0.5, 0.25], [10]],
    )
    assert [layer["kernel"].tolist() for layer in unnamed(folded.params)] == [[[1], [0]], [[5]], [[1]]]
    assert [layer["bias"].tolist() for layer in unnamed(folded.params)] == [[0], [8.25], [15]]
    assert [units.tolist() for units in folded.constant] == [[True, False], [True, True, False]]
    assert not any(units.any() for units in folded.dead)


def test_a_constant_tanh_unit_is_not_zero() -> None:
    # Unit 0 of the first layer is always tanh(-0.5), so unit 0 of the second always tanh(1 + 2 tanh(-0.5)).
    folded = by_hand([[[0, 1]], [[2, 0], [0, 3]], [[4], [5]]], [[-0.5, 0], [1, 0.25], [10]], "tanh")
    assert [layer["kernel"].tolist() for layer in unnamed(folded.params)] == [[[1]], [[3]], [[5]]]
    assert [units.tolist() for units in folded.constant] == [[True, False], [True, False]]
    assert folded.params["layer_1"]["bias"].tolist() == [0.25]
    assert folded.params["layer_2"]["bias"] == pytest.approx(10 + 4 * math.tanh(1 + 2 * math.tanh(-0.5)))


def test_a_constant_that_leads_nowhere_counts_as_dead() -> None:
    folded = by_hand([[[0, 1]], [[0], [1]]], [[2, 0], [1]])
    assert (folded.dead[0].tolist(), folded.constant[0].tolist()) == ([True, False], [False, False])


def test_no_hidden_unit_left() -> None:
    folded = by_hand([[[0, 1], [0, 0]], [[3, 0], [0, 0]], [[2, 0], [0, 0]]], [[2, 1], [-1, 9], [0.5, -4]])
    assert [layer["kernel"].shape for layer in unnamed(folded.params)] == [(2, 0), (0, 0), (0, 2)]
    assert folded.params["layer_2"]["bias"].tolist() == [10.5, -4]  # 0.5 + 2 x relu(-1 + 3 x 2)
    assert forward(unnamed(folded.params), np.ones((1, 2)))[-1].tolist() == [[10.5, -4]]


def test_weights_that_the_mask_has_not_count_for_nothing() -> None:
    layers = [{"kernel": np.ones((2, 2), np.float32), "bias": np.zeros(2, np.float32)}]
    mask = np.array([[True, False], [True, True]])
    folded = fold(named(layers), named_masks([mask]), "relu")
    assert folded.params["layer_0"]["kernel"].tolist() == mask.tolist()
