"""Step 2, allocate: how many weights survive in each layer."""

from fractions import Fraction
from math import floor as round_down

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.ranking import Scores, keep_highest

MIN_SURVIVORS_PER_LAYER = 1
"""One weight is the least through which a signal passes. A larger floor would be an allocation of its own
and no longer the global ranking; whether the survivors join up is checked on the mask itself."""


def survivor_count(total: int, sparsity: float) -> int:
    """Weights left of `total`: total - floor(sparsity * total + 1/2), the pruned count rounded half up.

    The sum is exact on the shortest decimal that prints as `sparsity`: 0.8 of 10 leaves 2, although the
    binary number nearest to 0.8 is a little larger.

    Raises:
        MaskError: sparsity is not in [0, 1).
    """
    if not 0 <= sparsity < 1:
        raise MaskError(f"A sparsity of {sparsity} is out of range: it must be at least 0 and below 1.")
    return total - round_down(Fraction(repr(float(sparsity))) * total + Fraction(1, 2))


def allocate_global(scores: Scores, sparsity: float, floor: int = MIN_SURVIVORS_PER_LAYER) -> dict[str, int]:
    """Survivors per layer when all layers of a group compete in one ranking.

    The highest scores survive, ties by position: earlier layer, then lower flat index. A layer left with
    fewer than `floor` survivors (or than its size, if smaller) is filled up to it, and as many of the
    lowest-scoring survivors of layers above their floor are given up. The total is exact either way.

    Args:
        scores: path -> (inputs, outputs), layers in order.
        sparsity: share of the group's kernel weights to prune, in [0, 1).
        floor: survivors that each layer keeps at least.

    Returns:
        path -> number of survivors, with sum `survivor_count(weights in all layers, sparsity)`.

    Raises:
        MaskError: no weights, sparsity out of range, or floors that ask for more than the survivors.
    """
    sizes = {path: layer.size for path, layer in scores.items()}
    total = sum(sizes.values())
    if total == 0:
        raise MaskError("There are no kernel weights to prune.")
    survivors = survivor_count(total, sparsity)
    floors = {path: min(floor, size) for path, size in sizes.items()}
    protected = sum(floors.values())
    if protected > survivors:
        raise MaskError(
            f"A sparsity of {sparsity} leaves {survivors} of {total} weights, but each layer keeps at least "
            f"{floor}, in all {protected} ({', '.join(scores)}). Ask for a sparsity of at most "
            f"{_six_digits_down(Fraction(total - protected, total))}."
        )
    # First each layer's best up to its floor, then the best of the rest, whatever their layer. This is the
    # same set as the ranking with layers filled up afterwards: what those give up ranks lowest of the rest.
    kept = np.concatenate([keep_highest(layer.ravel(), floors[path]) for path, layer in scores.items()])
    rest = np.flatnonzero(~kept)
    ranked = np.concatenate([layer.ravel() for layer in scores.values()])
    kept[rest[keep_highest(ranked[rest], survivors - protected)]] = True
    layers = np.split(kept, np.cumsum(list(sizes.values()))[:-1])
    return {path: int(np.count_nonzero(layer)) for path, layer in zip(scores, layers, strict=True)}


def _six_digits_down(share: Fraction) -> float:
    return round_down(share * 10**6) / 10**6
