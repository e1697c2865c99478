"""Overlap of many masks, packed to one bit per weight so that those of a whole study fit in memory."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlottery.pruning.masks import GroupMask, Overlap

PARTNERS = 64
"""With how many of those that follow it a mask is compared, where there are too many masks for every pair."""

_WORDS = 2**16
"""How many words of bits are compared at one time."""


@dataclass(frozen=True, eq=False)
class Packed:
    """A packed mask.

    Attributes:
        shapes: layer path -> (inputs, outputs). Only masks with equal shapes can be compared.
        kept, sizes: remaining weights, and all weights, of each layer; shape (layers,).
        bits: of all layers in order, each padded with zeros to whole bytes.
    """

    shapes: Mapping[str, tuple[int, ...]]
    kept: NDArray[np.int64]
    sizes: NDArray[np.int64]
    bits: NDArray[np.uint64]


def pack(mask: GroupMask) -> Packed:
    """Pack the mask of one group or of a whole agent (`Mask.all_layers`)."""
    packed = np.concatenate([np.packbits(layer) for layer in mask.values()])
    return Packed(
        shapes={path: layer.shape for path, layer in mask.items()},
        kept=np.array([np.count_nonzero(layer) for layer in mask.values()], np.int64),
        sizes=np.array([layer.size for layer in mask.values()], np.int64),
        bits=np.pad(packed, (0, -len(packed) % 8)).view(np.uint64),
    )


def overlap_within(masks: Sequence[Packed]) -> tuple[int, Overlap] | None:
    """How many pairs of masks with equal shapes were compared, and their mean overlap; None without a pair.

    Up to 129 masks these are all pairs. Of more, each mask is compared with the 64 that follow it, and the last ones
    with the first. Masks in the order of their seeds are in no order of their content, so that the mean over these
    pairs differs from the mean over all only by chance, and its cost does not grow with the square of the masks.
    """
    return _mean_overlap(masks, [(one, other) for one in range(len(masks)) for other in _partners(one, len(masks))])


def overlap_between(ones: Sequence[Packed], others: Sequence[Packed]) -> tuple[int, Overlap] | None:
    """The same of the first masks of both, the second of both and so on. None if their shapes differ."""
    if not ones or ones[0].shapes != others[0].shapes:
        return None
    return _mean_overlap([*ones, *others], [(index, len(ones) + index) for index in range(len(ones))])


def _partners(index: int, masks: int) -> list[int]:
    """The later masks that a mask is compared with, in order: those at most `PARTNERS` places away in a circle."""
    last = index + PARTNERS
    return [*range(index + 1, min(masks, last + 1)), *range(max(last + 1, masks + index - PARTNERS), masks)]


def _mean_overlap(masks: Sequence[Packed], pairs: Sequence[tuple[int, int]]) -> tuple[int, Overlap] | None:
    """Of these pairs of places in `masks`; the definition is that of `rlottery.pruning.masks.overlap`."""
    if not pairs:
        return None
    bits, kept, sizes = np.stack([mask.bits for mask in masks]), np.stack([mask.kept for mask in masks]), masks[0].sizes
    totals = kept.sum(axis=1)
    places = np.array(pairs)
    jaccard, chance = np.ones(len(places)), np.ones(len(places))
    at_once = max(1, _WORDS // max(1, bits.shape[1]))
    for first in range(0, len(places), at_once):
        now = slice(first, first + at_once)
        one, other = places[now].T
        both = totals[one] + totals[other]
        shared = np.bitwise_count(bits[one] & bits[other]).sum(axis=1, dtype=np.int64)
        by_chance = (kept[one] * kept[other] / sizes).sum(axis=1)
        some = both > 0  # two empty masks are equal
        np.divide(shared, both - shared, out=jaccard[now], where=some)
        np.divide(by_chance, both - by_chance, out=chance[now], where=some)
    return len(pairs), Overlap(float(np.mean(jaccard)), float(np.mean(chance)))
