"""Step 2, allocate: how many weights survive in each layer.

All allocations keep the same number of the weights that they are given, `survivor_count`, and distribute them over the
layers in different ways. `prune` gives `allocate_global` one network at a time, and the others a whole group. With
`within`, the last mask of an iterative schedule, pruned weights stay pruned. Each layer keeps at least `floor` weights.
The default of 1 lets a signal pass; a larger minimum would change the global ranking.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil, prod
from math import floor as round_down
from typing import TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.masks import GroupMask, by_network
from rlottery.pruning.ranking import Scores, keep_highest

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Layer path -> shape of its kernel (inputs, outputs); layers from input to output."""
Counts: TypeAlias = dict[str, int]
"""Layer path -> how many of its weights survive."""


def survivor_count(total: int, sparsity: float) -> int:
    """Weights left of `total`: total - floor(sparsity * total + 1/2), the pruned count rounded half up.

    The count is exact for the shortest decimal that prints as `sparsity`: 0.8 of 10 leaves 2, although the binary
    number nearest to 0.8 is slightly larger.

    Raises:
        MaskError: sparsity is not in [0, 1).
    """
    if not 0 <= sparsity < 1:
        raise MaskError(f"A sparsity of {sparsity} is out of range: it must be at least 0 and below 1.")
    return total - round_down(Fraction(repr(float(sparsity))) * total + Fraction(1, 2))


def allocate_global(scores: Scores, sparsity: float, floor: int = 1, within: GroupMask | None = None) -> Counts:
    """Survivors per layer when all layers of a group compete in one ranking.

    The highest scores survive; among equal scores the earlier layer, then the lower flat index. A layer with fewer than
    `floor` survivors is filled up to `floor` (or as far as it can be), and layers above `floor` give up as many of
    their lowest-scoring survivors. The total is exact in any case.

    Args:
        sparsity: share of the group's kernel weights to prune, in [0, 1).
        floor: minimum weights per layer.
        within: the last mask; only its survivors compete. `sparsity` is still a share of all weights of the group.

    Returns:
        Counts with sum `survivor_count(weights in all layers, sparsity)`.

    Raises:
        MaskError: there are no weights, the sparsity is out of range, the minimum per layer needs more weights than
            survive, or `within` has other layers or fewer survivors than asked for.
    """
    shapes = {path: layer.shape for path, layer in scores.items()}
    survivors, floors, capacities = _bounds(shapes, sparsity, floor, within)
    competing = [layer.ravel() if within is None else layer[within[path]] for path, layer in scores.items()]
    # First the best of each layer up to the minimum, then the best of the rest in any layer. This gives the same set as
    # filling layers up after the ranking, because the weights given up for that rank lowest of the rest.
    kept = np.concatenate([keep_highest(layer, least) for layer, least in zip(competing, floors, strict=True)])
    rest = np.flatnonzero(~kept)
    kept[rest[keep_highest(np.concatenate(competing)[rest], survivors - sum(floors))]] = True
    layers = np.split(kept, np.cumsum(capacities)[:-1])
    return {path: int(np.count_nonzero(layer)) for path, layer in zip(scores, layers, strict=True)}


def allocate_uniform(shapes: Shapes, sparsity: float, floor: int = 1, within: GroupMask | None = None) -> Counts:
    """The same share of survivors in each layer, as far as `floor`, `within` and whole numbers allow.

    Rounded by largest remainder; of equal remainders, the earlier layer's is rounded up. Arguments, total and errors
    are those of `allocate_global`, except that it needs no scores.
    """
    return _proportional([prod(shape) for shape in shapes.values()], shapes, sparsity, floor, within)


def allocate_erk(shapes: Shapes, sparsity: float, floor: int = 1, within: GroupMask | None = None) -> Counts:
    """Erdos-Renyi-Kernel: density proportional to (inputs + outputs) / (inputs * outputs), at most 1.

    Small layers stay denser. Layers that would exceed density 1 are full, and one factor for the rest of the group is
    solved exactly (Mocanu et al. 2018, equation 1; Evci et al. 2020, RigL, section 3: for fully connected layers, ERK
    is the same as ER). Rounding, arguments, total and errors are those of `allocate_uniform`.
    """
    return _proportional([sum(shape) for shape in shapes.values()], shapes, sparsity, floor, within)


def allocate_given(shapes: Shapes, sparsities: Sequence[float], floor: int = 1) -> Counts:
    """Each layer's own sparsity, `survivor_count` of its weights, but at least `floor` (or its size, if smaller).

    Args:
        sparsities: one per layer of a network; independent networks (twin critics) use the same list.

    Raises:
        MaskError: a sparsity is out of range, or their number isn't the number of layers.
    """
    counts = {}
    for name, layers in by_network(shapes).items():
        if len(layers) != len(sparsities):
            raise MaskError(
                f"{len(sparsities)} sparsities are given for the {len(layers)} layers of "
                f"{f'the network {name!r}' if name else 'the network'} ({', '.join(layers)}). Give one for each layer."
            )
        for (path, shape), sparsity in zip(layers.items(), sparsities, strict=True):
            size = prod(shape)
            counts[path] = max(survivor_count(size, sparsity), min(floor, size))
    return {path: counts[path] for path in shapes}


def survivors_above(protected: int, total: int, sparsity: float, keeps: str) -> int:
    """`survivor_count`, if it is at least the number of `protected` weights.

    Args:
        keeps: for the message: what is protected, such as "each layer keeps at least 1".

    Raises:
        MaskError: there are no weights, the sparsity is out of range, or too few survive. The message has the largest
            possible sparsity.
    """
    if total == 0:
        raise MaskError("There are no kernel weights to prune.")
    survivors = survivor_count(total, sparsity)
    if protected > survivors:
        largest = round_down(Fraction(total - protected, total) * 10**6) / 10**6
        raise MaskError(
            f"A sparsity of {sparsity} leaves {survivors} of {total} weights, but {keeps}. "
            f"Use a sparsity of at most {largest}."
        )
    return survivors


def _bounds(shapes: Shapes, sparsity: float, floor: int, within: GroupMask | None) -> tuple[int, list[int], list[int]]:
    """The number of survivors of the group, and the minimum and maximum for each layer."""
    sizes = [prod(shape) for shape in shapes.values()]
    capacities = sizes if within is None else _alive(shapes, within)
    floors = [min(floor, capacity) for capacity in capacities]
    total, protected, alive = sum(sizes), sum(floors), sum(capacities)
    keeps = f"each layer keeps at least {floor}, in all {protected} ({', '.join(shapes)})"
    survivors = survivors_above(protected, total, sparsity, keeps)
    if survivors > alive:
        raise MaskError(
            f"A sparsity of {sparsity} leaves {survivors} of {total} weights, but the last mask kept only {alive}. "
            f"Use a sparsity of at least {ceil(Fraction(total - alive, total) * 10**6) / 10**6}."
        )
    return survivors, floors, capacities


def _alive(shapes: Shapes, within: GroupMask) -> list[int]:
    if {path: layer.shape for path, layer in within.items()} != dict(shapes):
        raise MaskError(
            "The last mask belongs to another network: it has "
            f"{', '.join(f'{path} {layer.shape}' for path, layer in within.items())}, not "
            f"{', '.join(f'{path} {shape}' for path, shape in shapes.items())}. Use a mask of this network."
        )
    return [int(np.count_nonzero(within[path])) for path in shapes]


def _proportional(
    weights: Sequence[int], shapes: Shapes, sparsity: float, floor: int, within: GroupMask | None
) -> Counts:
    """Counts proportional to `weights` (one per layer) between each layer's bounds, summing to the survivors."""
    survivors, floors, capacities = _bounds(shapes, sparsity, floor, within)
    shares = _fill(weights, floors, capacities, survivors)
    counts = [round_down(share) for share in shares]
    by_remainder = sorted(range(len(counts)), key=lambda layer: counts[layer] - shares[layer])
    for layer in by_remainder[: survivors - sum(counts)]:
        counts[layer] += 1
    return dict(zip(shapes, counts, strict=True))


def _fill(weights: Sequence[int], low: Sequence[int], high: Sequence[int], total: int) -> list[Fraction]:
    """scale * weight, clipped to [low, high], with the scale for which the sum is `total`; exact.

    The sum grows with the scale. It is linear between the scales at which a layer leaves its lower bound or reaches its
    upper bound. The other layers make up for what a bound adds or removes, in proportion to their weights.
    """

    def clipped(scale: Fraction) -> list[Fraction]:
        return [min(max(scale * w, Fraction(lo)), Fraction(hi)) for w, lo, hi in zip(weights, low, high, strict=True)]

    knees = sorted({Fraction(b, w) for w, *bounds in zip(weights, low, high, strict=True) if w for b in bounds})
    knee = next(knee for knee in knees if sum(clipped(knee)) >= total)
    excess = sum(clipped(knee), Fraction(0)) - total
    if not excess:
        return clipped(knee)
    growing = sum(w for w, lo, hi in zip(weights, low, high, strict=True) if lo < knee * w <= hi)
    return clipped(knee - excess / growing)
