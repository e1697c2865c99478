"""The kernels' view of a network: its sizes, its surviving weights, and their positions in one vector.

A compact network is one float32 vector: for each layer the values of its weights, then its biases. A sparse layer
stores the values of its survivors, ordered by output unit, then by input unit. A full layer stores all weights, in the
order of its matrix (inputs, outputs), row by row.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

FULL, SPARSE = 0, 1
"""Kinds of layers: all weights are stored, or only the survivors."""

BREAK_EVEN = 0.46
"""Density (share of survivors) from which a masked layer is computed as a full one. Both take the same time at 0.47
with AVX-512 and at 0.45 with AVX2 (``python -m benchmarks.break_even``)."""


class Layout(NamedTuple):
    """Sizes that the compiled program depends on; hashable. Which weights survive is data, and not part of it.

    Attributes:
        widths: numbers of units, from inputs to outputs.
        kinds: the kind of each layer.
        counts: the number of values of each layer.
    """

    widths: tuple[int, ...]
    kinds: tuple[int, ...]
    counts: tuple[int, ...]

    @property
    def size(self) -> int:
        """Length of the parameter vector."""
        return sum(self.counts) + sum(self.widths[1:])

    @property
    def features(self) -> int:
        """Number of inputs and hidden units."""
        return sum(self.widths[:-1])

    @property
    def numbers(self) -> np.ndarray:
        """The layout in the kernels' format: widths, then kind and count of each layer; int64."""
        pairs = [number for pair in zip(self.kinds, self.counts, strict=True) for number in pair]
        return np.array([*self.widths, *pairs], np.int64)


def layout_of(widths: Sequence[int], masks: Sequence[np.ndarray | None]) -> Layout:
    """The layout of a network with these widths. Sparse layers have a mask (inputs, outputs), full layers have None."""
    kinds, counts = [], []
    for inputs, outputs, mask in zip(widths[:-1], widths[1:], masks, strict=True):
        kinds.append(FULL if mask is None else SPARSE)
        counts.append(inputs * outputs if mask is None else int(np.count_nonzero(mask)))
    return Layout(tuple(widths), tuple(kinds), tuple(counts))


def pays(mask: np.ndarray) -> bool:
    """Whether a layer with this mask is faster as a sparse layer."""
    return bool(np.count_nonzero(mask) < BREAK_EVEN * mask.size)


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


def pattern_of(layout: Layout, masks: Sequence[np.ndarray | None]) -> np.ndarray:
    """Which weights survive, in the kernels' format: int32, with a length that the layout determines.

    For each layer: the number of live output units, and their indices. For a sparse layer also its survivors by output
    unit (the start of each unit's list; their inputs), and those into live units by input unit (the start of each
    unit's list; their outputs; the positions of their values).
    """
    parts: list[np.ndarray] = []
    for mask, live in zip(masks, live_units(layout, masks), strict=True):
        units = np.flatnonzero(live)
        parts += [np.array([len(units)]), units, np.zeros(len(live) - len(units))]
        if mask is None:
            continue
        outputs, inputs = np.nonzero(mask.T)
        by_input = np.lexsort((outputs, inputs))
        by_input = by_input[live[outputs[by_input]]]
        unused = np.zeros(len(outputs) - len(by_input))
        parts += [_starts(outputs, mask.shape[1]), inputs, _starts(inputs[by_input], mask.shape[0])]
        parts += [outputs[by_input], unused, by_input, unused]
    return np.concatenate(parts).astype(np.int32)


def to_vector(
    layout: Layout, layers: Sequence[Mapping[str, np.ndarray]], masks: Sequence[np.ndarray | None]
) -> np.ndarray:
    """The kernel (inputs, outputs) and the bias of each layer as one vector."""
    parts = []
    for layer, mask in zip(layers, masks, strict=True):
        kernel = np.asarray(layer["kernel"])
        parts += [kernel.reshape(-1) if mask is None else kernel.T[mask.T], np.asarray(layer["bias"])]
    vector = np.concatenate(parts).astype(np.float32)
    assert len(vector) == layout.size, "masks and layout differ"
    return vector


def from_vector(layout: Layout, vector: np.ndarray, masks: Sequence[np.ndarray | None]) -> list[dict[str, Any]]:
    """The inverse of `to_vector`; pruned weights are zero."""
    layers: list[dict[str, Any]] = []
    at = 0
    for inputs, outputs, count, mask in zip(layout.widths, layout.widths[1:], layout.counts, masks, strict=False):
        values = vector[at : at + count]
        if mask is None:
            kernel = values.reshape(inputs, outputs).copy()
        else:
            transposed = np.zeros((outputs, inputs), np.float32)
            transposed[mask.T] = values
            kernel = np.ascontiguousarray(transposed.T)
        layers.append({"kernel": kernel, "bias": vector[at + count : at + count + outputs].copy()})
        at += count + outputs
    return layers


def _starts(units: np.ndarray, number: int) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(np.bincount(units, minlength=number))])
