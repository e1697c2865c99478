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
    varying_units,
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


def test_survivors_from_constant_units_come_last() -> None:
    """The first hidden unit has no inputs. The second output receives from it alone, so it is constant too."""
    masks: Masks = [np.array([[0, 1, 1]], np.bool_), np.array([[1, 1], [1, 0], [0, 0]], np.bool_)]
    layout = layout_of([1, 3, 2], masks)
    kernels = [np.array([[0, 1, 2]], np.float32), np.array([[3, 4], [5, 0], [0, 0]], np.float32)]
    layers = [{"kernel": kernel, "bias": np.zeros(kernel.shape[1], np.float32)} for kernel in kernels]
    assert to_vector(layout, layers, masks).tolist() == [1, 2, 0, 0, 0, 5, 3, 4, 0, 0]
    first = [[2, 1], [1, 0, 0], [2], [0, 0, 1, 2], [0, 1, 2], [0, 0], [0, 1], [1, 0], [0, 0]]
    second = [[2, 1], [0, 1], [3], [0, 2, 3], [1, 2], [1, 0, 0], [0, 2, 3, 3], [0, 1, 0], [1, 2, 0]]
    assert pattern_of(layout, masks).tolist() == [number for part in first + second for number in part]


def test_a_layer_with_too_many_survivors_is_better_dense() -> None:
    few, many = np.zeros((10, 10), np.bool_), np.zeros((10, 10), np.bool_)
    few.flat[: int(BREAK_EVEN * 100) - 1] = True
    many.flat[: int(BREAK_EVEN * 100)] = True
    assert pays(few)
    assert not pays(many)
    assert pays(np.ones((10, 1), np.bool_))
    assert layout_of([10] * 3, [few, None]) == Layout((10,) * 3, (SPARSE, FULL), int(few.sum()) + 100 + 20)


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
def test_units_vary_if_an_input_or_a_full_layer_is_connected_to_them(network: tuple) -> None:  # type: ignore[type-arg]
    widths, masks, _ = network
    reached = [True] * widths[0]
    for index, mask in enumerate(masks):
        found = varying_units(masks)[index]
        assert ([True] * widths[index] if found is None else found.tolist()) == reached
        if mask is None:
            reached = [True] * widths[index + 1]
        else:
            reached = [
                any(mask[unit, output] and reached[unit] for unit in range(widths[index]))
                for output in range(widths[index + 1])
            ]


@given(networks())
def test_a_pattern_lists_survivors_both_ways_round(network: tuple) -> None:  # type: ignore[type-arg]
    widths, masks, _ = network
    layout = layout_of(widths, masks)
    numbers = pattern_of(layout, masks).tolist()
    assert pattern_of(layout, masks).dtype == np.int32

    def take(count: int) -> list[int]:
        taken, numbers[:] = numbers[:count], numbers[count:]
        return taken

    varying = [np.ones(w, np.bool_) if v is None else v for v, w in zip(varying_units(masks), widths, strict=True)]
    for index, (mask, live) in enumerate(zip(masks, live_units(layout, masks), strict=True)):
        inputs, outputs = widths[index : index + 2]
        inputs_vary, outputs_vary = varying[index : index + 2]
        number, number_varying = take(2)
        listed = take(outputs)[:number]
        assert listed[:number_varying] == np.flatnonzero(live & outputs_vary).tolist()
        assert listed[number_varying:] == np.flatnonzero(live & ~outputs_vary).tolist()
        if mask is None:
            continue
        (count,) = take(1)
        assert count == mask.sum()
        starts, constants, rows = take(outputs + 1), take(outputs), take(count)
        for unit in range(outputs):
            from_varying, from_constant = np.split(rows[: starts[unit + 1]], [starts[unit], constants[unit]])[1:]
            assert from_varying.tolist() == np.flatnonzero(mask[:, unit] & inputs_vary).tolist()
            assert from_constant.tolist() == np.flatnonzero(mask[:, unit] & ~inputs_vary).tolist()
        starts_by_input, units, values = take(inputs + 1), take(count), take(count)
        for unit in range(inputs):
            span = slice(starts_by_input[unit], starts_by_input[unit + 1])
            assert units[span] == np.flatnonzero(mask[unit] & live).tolist()
            for output, value in zip(units[span], values[span], strict=True):
                assert rows[value] == unit
                assert starts[output] <= value < starts[output + 1]
    assert numbers == []


def test_masks_with_the_same_total_share_a_layout() -> None:
    generator = np.random.default_rng(0)
    one, other = (random_network(generator, [6, 5, 2], densities)[1] for densities in ([0.4, 0.3], [0.3, 0.6]))
    assert [mask.sum() for mask in (*one, *other)] == [12, 3, 9, 6]
    assert layout_of([6, 5, 2], one) == layout_of([6, 5, 2], other)
    layout = layout_of([6, 5, 2], one)
    assert pattern_of(layout, one).shape == pattern_of(layout, other).shape


@pytest.mark.parametrize(
    ("survivors", "size"), [(0, 64), (44, 64), (45, 128), (1000, 1024), (2028, 2048), (2029, 2176), (5000, 5120)]
)
def test_padding_is_short_and_holds_zeros(survivors: int, size: int) -> None:
    mask = np.arange(20_000).reshape(1000, 20) < survivors
    layer = {"kernel": np.where(mask, 1.0, 0.0), "bias": np.ones(20)}
    layout = layout_of([1000, 20], [mask], padded=True)
    assert layout.size == size
    assert to_vector(layout, [layer], [mask]).tolist() == [1.0] * (survivors + 20) + [0.0] * (size - survivors - 20)
    (back,) = from_vector(layout, to_vector(layout, [layer], [mask]), [mask])
    assert np.array_equal(back["kernel"], layer["kernel"])
    exact, padded = pattern_of(layout_of([1000, 20], [mask]), [mask]), pattern_of(layout, [mask])
    assert padded.tolist() == [*exact.tolist(), *[0] * 3 * (size - survivors - 20)]


def test_networks_without_sparse_layers_are_not_padded() -> None:
    assert layout_of([6, 5], [None], padded=True) == layout_of([6, 5], [None])


def test_a_vector_of_other_masks_is_refused() -> None:
    layers, masks = random_network(np.random.default_rng(0), [6, 5], [0.4])
    with pytest.raises(AssertionError, match="masks and layout differ"):
        to_vector(layout_of([6, 5], [None]), layers, masks)
