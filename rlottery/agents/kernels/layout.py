"""The kernels' view of a network: its sizes, its surviving weights, and their positions in one vector.

A compact network is one float32 vector: for each layer the values of its weights, then its biases. A full layer stores
all weights, in the order of its matrix (inputs, outputs), row by row. A sparse layer stores the values of its
survivors, ordered by output unit. Those of one output unit are ordered by input unit: first those from units that vary,
then those from constant units.

A vector may be longer than its content (`PADDING`): then zeros follow, which the kernels don't read.

A unit of a sparse layer is constant if no input of the network is connected to it: it has the same value for all
transitions. The kernels compute that value once, and what it adds to other units too.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FULL, SPARSE = 0, 1
"""Kinds of layers: all weights are stored, or only the survivors."""

BREAK_EVEN = 0.46
"""Density (share of survivors) from which a masked layer is computed as a full one. Both take the same time at 0.47
with AVX-512 and at 0.45 with AVX2 (``python -m benchmarks.break_even``)."""


PADDING = 64
"""The lengths of padded vectors are multiples of this, or of a larger power of two that is at most a 16th of them."""


class Layout(NamedTuple):
    """Sizes that the compiled program depends on; hashable.

    Which weights survive is data, and how many survive in each layer too: masks with the same total share a program.

    Attributes:
        widths: numbers of units, from inputs to outputs.
        kinds: the kind of each layer.
        size: length of the parameter vector.
    """

    widths: tuple[int, ...]
    kinds: tuple[int, ...]
    size: int

    @property
    def features(self) -> int:
        """Number of inputs and hidden units."""
        return sum(self.widths[:-1])

    @property
    def numbers(self) -> np.ndarray:
        """The widths, then the kind of each layer: what the kernels know of a network without its pattern; int64."""
        return np.array([*self.widths, *self.kinds], np.int64)


def layout_of(widths: Sequence[int], masks: Sequence[np.ndarray | None], *, padded: bool = False) -> Layout:
    """The layout of a network with these widths. Sparse layers have a mask (inputs, outputs), full layers have None.

    Args:
        padded: round the length of the vector up (`PADDING`), so that masks with nearly the same total share a program.
            Vectors without sparse layers all have the same length, and are not padded.
    """
    kinds = tuple(FULL if mask is None else SPARSE for mask in masks)
    size = sum(value_counts(widths, masks)) + sum(widths[1:])
    if padded and SPARSE in kinds:
        step = max(PADDING, 2 ** (size.bit_length() - 5))
        size = -(-size // step) * step
    return Layout(tuple(widths), kinds, size)


def value_counts(widths: Sequence[int], masks: Sequence[np.ndarray | None]) -> list[int]:
    """The number of values of each layer: of all weights of a full layer, of the survivors of a sparse one."""
    shapes = zip(widths[:-1], widths[1:], masks, strict=True)
    return [inputs * outputs if mask is None else int(np.count_nonzero(mask)) for inputs, outputs, mask in shapes]


def pays(mask: np.ndarray) -> bool:
    """Whether a layer with this mask is faster as a sparse layer. One with a single output always is."""
    return mask.shape[1] == 1 or bool(np.count_nonzero(mask) < BREAK_EVEN * mask.size)


def live_units(layout: Layout, masks: Sequence[np.ndarray | None]) -> list[np.ndarray]:
    """For each layer, which of its output units are connected to the network's output: bool (outputs,).

    A full layer reads all of its inputs, so they all count as connected.
    """
    live: list[np.ndarray] = [np.ones(layout.widths[-1], np.bool_)]
    for mask in masks[:0:-1]:
        if mask is not None:
            live.append(np.logical_or.reduce(mask[:, live[-1]], axis=1))
        else:
            live.append(np.ones(layout.widths[-1 - len(live)], np.bool_))
    return live[::-1]


def varying_units(masks: Sequence[np.ndarray | None]) -> list[np.ndarray | None]:
    """For each layer, which of its input units vary within a batch: bool (inputs,). None if all do.

    The units of a full layer count as varying.
    """
    varying: list[np.ndarray | None] = [None]
    for mask in masks:
        if mask is None:
            varying.append(None)
        else:
            before = varying[-1]
            varying.append(np.logical_or.reduce(mask if before is None else mask[before], axis=0))
    return varying


def pattern_of(layout: Layout, masks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Which weights survive, in the kernels' format: int32, with a length that the layout determines.

    For each layer: the number of live output units, how many of these vary, and their indices, first of those that
    vary. For a sparse layer also the number of its survivors; these by output unit (the start of each unit's list;
    where those from constant units begin; their inputs); and those into live units by input unit (the start of each
    unit's list; their outputs; the positions of their values). Three zeros follow for each entry of padding.
    """
    parts: list[np.ndarray] = []
    varying = varying_units(masks)
    for mask, live, inputs_vary, outputs_vary in zip(
        masks, live_units(layout, masks), varying, varying[1:], strict=False
    ):
        vary = live if outputs_vary is None else live & outputs_vary
        units = np.concatenate([np.flatnonzero(vary), np.flatnonzero(live & ~vary)])
        parts += [np.array([len(units), vary.sum()]), units, np.zeros(len(live) - len(units))]
        if mask is None:
            continue
        outputs, inputs = _survivors(mask, inputs_vary)
        starts = _starts(outputs, mask.shape[1])
        varies = np.ones(len(inputs), np.bool_) if inputs_vary is None else inputs_vary[inputs]
        by_input = np.lexsort((outputs, inputs))
        by_input = by_input[live[outputs[by_input]]]
        unused = np.zeros(len(outputs) - len(by_input))
        parts += [starts[-1:], starts, starts[:-1] + np.bincount(outputs[varies], minlength=mask.shape[1]), inputs]
        parts += [_starts(inputs[by_input], mask.shape[0]), outputs[by_input], unused, by_input, unused]
    parts.append(np.zeros(3 * _spare(layout, masks)))
    return np.concatenate(parts).astype(np.int32)


def to_vector(
    layout: Layout, layers: Sequence[Mapping[str, np.ndarray]], masks: Sequence[np.ndarray | None]
) -> np.ndarray:
    """The kernel (inputs, outputs) and the bias of each layer as one vector."""
    parts = []
    for layer, mask, varying in zip(layers, masks, varying_units(masks)[:-1], strict=True):
        kernel = np.asarray(layer["kernel"])
        values = kernel.reshape(-1) if mask is None else kernel[_survivors(mask, varying)[::-1]]
        parts += [values, np.asarray(layer["bias"])]
    return np.concatenate([*parts, np.zeros(_spare(layout, masks))]).astype(np.float32)


def from_vector(layout: Layout, vector: np.ndarray, masks: Sequence[np.ndarray | None]) -> list[dict[str, Any]]:
    """The inverse of `to_vector`; pruned weights are zero."""
    layers: list[dict[str, Any]] = []
    at = 0
    shapes = zip(layout.widths[:-1], layout.widths[1:], strict=True)
    for (inputs, outputs), count, mask, varying in zip(
        shapes, value_counts(layout.widths, masks), masks, varying_units(masks)[:-1], strict=True
    ):
        values = vector[at : at + count]
        if mask is None:
            kernel = values.reshape(inputs, outputs).copy()
        else:
            kernel = np.zeros((inputs, outputs), np.float32)
            kernel[_survivors(mask, varying)[::-1]] = values
        layers.append({"kernel": kernel, "bias": vector[at + count : at + count + outputs].copy()})
        at += count + outputs
    return layers


def _spare(layout: Layout, masks: Sequence[np.ndarray | None]) -> int:
    """The number of entries of padding in a vector."""
    exact = layout_of(layout.widths, masks)
    assert layout in (exact, layout_of(layout.widths, masks, padded=True)), "masks and layout differ"
    return layout.size - exact.size


def _survivors(mask: np.ndarray, varying: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """The output and the input units of a sparse layer's survivors, in the order of its values."""
    outputs, inputs = np.nonzero(mask.T)
    if varying is not None:
        order = np.lexsort((inputs, ~varying[inputs], outputs))
        outputs, inputs = outputs[order], inputs[order]
    return outputs, inputs


def _starts(units: np.ndarray, number: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(units, minlength=number))])
