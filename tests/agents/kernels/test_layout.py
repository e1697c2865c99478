from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.agents.kernels.layout import (
    BREAK_EVEN,
    FULL,
    SPARSE,
    Layout,
    from_vector,
    layout_of,
    live_units,
    pattern_of,
    pays,
    to_vector,
)
from tests.agents.kernels.networks import Masks, random_network


@st.composite
def networks(draw: st.DrawFn) -> tuple[list[int], Masks, list[dict[str, np.ndarray]]]:
    widths = draw(st.lists(st.integers(1, 12), min_size=2, max_size=5))
    density = st.sampled_from([None, 0.0, 0.1, 0.3, 0.6, 1.0])
    densities = draw(st.lists(density, min_size=len(widths) - 1, max_size=len(widths) - 1))
    layers, masks = random_network(np.random.default_rng(draw(st.integers(0, 2**31))), widths, densities)
    return widths, masks, layers


@given(networks())
def test_a_vector_holds_all_and_gives_it_back_to_the_bit(network: tuple) -> None:  # type: ignore[type-arg]
    widths, masks, layers = network
    layout = layout_of(widths, masks)
    vector = to_vector(layout, layers, masks)
    assert (vector.dtype, vector.shape) == (np.float32, (layout.size,))
    kept = sum(layer["kernel"].size if mask is None else mask.sum() for layer, mask in zip(layers, masks, strict=True))
    assert layout.size == kept + sum(widths[1:])
    for layer, back in zip(layers, from_vector(layout, vector, masks), strict=True):
        assert layer["kernel"].tobytes() == back["kernel"].tobytes()
        assert layer["bias"].tobytes() == back["bias"].tobytes()


def test_survivors_are_ordered_by_output_unit_then_by_input() -> None:
    mask = np.array([[1, 0, 1], [1, 1, 0]], np.bool_)
    kernel = np.array([[1, 0, 2], [3, 4, 0]], np.float32)
    layout = layout_of([2, 3], [mask])
    bias = np.array([7, 8, 9], np.float32)
    assert to_vector(layout, [{"kernel": kernel, "bias": bias}], [mask]).tolist() == [1, 3, 4, 2, 7, 8, 9]
    full = layout_of([2, 3], [None])
    assert to_vector(full, [{"kernel": kernel, "bias": bias}], [None]).tolist() == [1, 0, 2, 3, 4, 0, 7, 8, 9]


def test_a_layer_with_too_many_survivors_is_better_dense() -> None:
    few, many = np.zeros((10, 10), np.bool_), np.zeros((10, 10), np.bool_)
    few.flat[: int(BREAK_EVEN * 100) - 1] = True
    many.flat[: int(BREAK_EVEN * 100)] = True
    assert pays(few)
    assert not pays(many)
    assert layout_of([10] * 3, [few, None]) == Layout((10,) * 3, (SPARSE, FULL), (int(few.sum()), 100))


@given(networks())
def test_live_units_are_those_from_which_a_path_leads_to_an_output(network: tuple) -> None:  # type: ignore[type-arg]
    widths, masks, _ = network
    layout = layout_of(widths, masks)
    there = [
        np.ones((a, b), np.bool_) if mask is None else mask
        for mask, a, b in zip(masks, widths, widths[1:], strict=False)
    ]
    for index, found in enumerate(live_units(layout, masks)):
        for unit in range(widths[index + 1]):
            paths = product(*(range(width) for width in widths[index + 2 :])) if widths[index + 2 :] else [()]
            if len(widths) - index - 2 > 2:
                continue  # the paths of deep networks are too many to walk
            walks = ([unit, *path] for path in paths)
            reaches = any(all(there[index + 1 + k][a, b] for k, (a, b) in enumerate(pairwise(walk))) for walk in walks)
            if all(kind == SPARSE for kind in layout.kinds[index + 1 :]):
                assert found[unit] == reaches
            else:
                assert found[unit] or not reaches


@given(networks())
def test_a_pattern_lists_survivors_both_ways_round(network: tuple) -> None:  # type: ignore[type-arg]
    widths, masks, _ = network
    layout = layout_of(widths, masks)
    numbers = pattern_of(layout, masks).tolist()
    assert pattern_of(layout, masks).dtype == np.int32

    def take(count: int) -> list[int]:
        taken, numbers[:] = numbers[:count], numbers[count:]
        return taken

    for count, mask, live, inputs, outputs in zip(
        layout.counts, masks, live_units(layout, masks), widths, widths[1:], strict=False
    ):
        (number,) = take(1)
        assert take(outputs)[:number] == np.flatnonzero(live).tolist()
        if mask is None:
            continue
        starts, rows = take(outputs + 1), take(count)
        for unit in range(outputs):
            assert rows[starts[unit] : starts[unit + 1]] == np.flatnonzero(mask[:, unit]).tolist()
        starts_by_input, units, values = take(inputs + 1), take(count), take(count)
        for unit in range(inputs):
            span = slice(starts_by_input[unit], starts_by_input[unit + 1])
            assert units[span] == np.flatnonzero(mask[unit] & live).tolist()
            for output, value in zip(units[span], values[span], strict=True):
                assert rows[value] == unit
                assert starts[output] <= value < starts[output + 1]
    assert numbers == []


def test_networks_that_differ_in_their_numbers_alone_share_a_layout() -> None:
    generator = np.random.default_rng(0)
    one, other = (random_network(generator, [6, 5, 2], [0.4, 0.3])[1] for _ in range(2))
    assert layout_of([6, 5, 2], one) == layout_of([6, 5, 2], other)
    assert not np.array_equal(one[0], other[0])
    layout = layout_of([6, 5, 2], one)
    assert pattern_of(layout, one).shape == pattern_of(layout, other).shape


def test_a_vector_of_other_masks_is_refused() -> None:
    layers, masks = random_network(np.random.default_rng(0), [6, 5], [0.4])
    with pytest.raises(AssertionError, match="masks and layout differ"):
        to_vector(layout_of([6, 5], [None]), layers, masks)
