"""Overlap of many masks, packed to one bit per weight so that those of a whole study fit in memory."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlottery.pruning.masks import GroupMask, Overlap


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


def packed_overlap(a: Packed, b: Packed) -> Overlap:
    """`rlottery.pruning.masks.overlap` of two packed masks with equal shapes."""
    shared = int(np.bitwise_count(a.bits & b.bits).sum())
    both = int(a.kept.sum() + b.kept.sum())
    if both == 0:
        return Overlap(jaccard=1.0, chance=1.0)
    by_chance = float((a.kept * b.kept / a.sizes).sum())
    return Overlap(jaccard=shared / (both - shared), chance=by_chance / (both - by_chance))


def mean_overlap(pairs: Iterable[tuple[Packed, Packed]]) -> tuple[int, Overlap] | None:
    """How many of these pairs can be compared, and their mean overlap; None if none can."""
    found = [packed_overlap(a, b) for a, b in pairs if a.shapes == b.shapes]
    if not found:
        return None
    jaccard, chance = (float(np.mean(values)) for values in zip(*((o.jaccard, o.chance) for o in found), strict=True))
    return len(found), Overlap(jaccard, chance)
