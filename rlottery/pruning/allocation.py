"""Step 2, allocate: how many weights survive in each layer.

Every allocation gives the group (actor or critic) the same total, `survivor_count`; they differ in who gets it. Counts
may be bounded by `within`, the last mask of an iterative schedule: what is pruned stays pruned.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from math import ceil
from math import floor as round_down
from typing import TypeAlias, TypeVar

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.ranking import BoolArray, Scores, keep_highest

T = TypeVar("T")

Shapes: TypeAlias = Mapping[str, tuple[int, ...]]
"""Layer path -> shape of its kernel (inputs, outputs); layers from input to output."""

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


def by_network(layers: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Network name (what stands before a path's last dot, or "") -> its layers, in order."""
    networks: dict[str, dict[str, T]] = {}
    for path, layer in layers.items():
        networks.setdefault(path.rpartition(".")[0], {})[path] = layer
    return networks


def allocate_global(
    scores: Scores,
    sparsity: float,
    floor: int = MIN_SURVIVORS_PER_LAYER,
    within: Mapping[str, BoolArray] | None = None,
) -> dict[str, int]:
    """Survivors per layer when all layers of a group compete in one ranking.

    The highest scores survive, ties by position: earlier layer, then lower flat index. A layer left with
    fewer than `floor` survivors (or than it can give, if fewer) is filled up to it, and as many of the
    lowest-scoring survivors of layers above their floor are given up. The total is exact either way.

    Args:
        scores: path -> (inputs, outputs), layers in order.
        sparsity: share of the group's kernel weights to prune, in [0, 1).
        floor: survivors that each layer keeps at least.
        within: the last mask, path -> bool (inputs, outputs): only its survivors compete. `sparsity` stays a share
            of all weights of the group.

    Returns:
        path -> number of survivors, with sum `survivor_count(weights in all layers, sparsity)`.

    Raises:
        MaskError: no weights, sparsity out of range, floors that ask for more than the survivors, or `within` of
            other layers or with fewer survivors than asked for.
    """
    shapes = {path: layer.shape for path, layer in scores.items()}
    survivors, floors, capacities = _bounds(shapes, sparsity, floor, within)
    competing = [layer.ravel() if within is None else layer[within[path]] for path, layer in scores.items()]
    # First each layer's best up to its floor, then the best of the rest, whatever their layer. This is the
    # same set as the ranking with layers filled up afterwards: what those give up ranks lowest of the rest.
    kept = np.concatenate([keep_highest(layer, least) for layer, least in zip(competing, floors, strict=True)])
    rest = np.flatnonzero(~kept)
    kept[rest[keep_highest(np.concatenate(competing)[rest], survivors - sum(floors))]] = True
    layers = np.split(kept, np.cumsum(capacities)[:-1])
    return {path: int(np.count_nonzero(layer)) for path, layer in zip(scores, layers, strict=True)}


def allocate_uniform(
    shapes: Shapes,
    sparsity: float,
    floor: int = MIN_SURVIVORS_PER_LAYER,
    within: Mapping[str, BoolArray] | None = None,
) -> dict[str, int]:
    """The same share of survivors in each layer, as far as floors, `within` and whole numbers allow.

    Args and raises: as `allocate_global`, which this differs from in needing no scores.

    Returns:
        path -> number of survivors, with sum `survivor_count(weights in all layers, sparsity)`. Rounded by largest
        remainder, ties to the earlier layer.
    """
    sizes = [_size(shape) for shape in shapes.values()]
    return _proportional(sizes, shapes, sparsity, floor, within)


def allocate_erk(
    shapes: Shapes,
    sparsity: float,
    floor: int = MIN_SURVIVORS_PER_LAYER,
    within: Mapping[str, BoolArray] | None = None,
) -> dict[str, int]:
    """Erdos-Renyi-Kernel: density proportional to (inputs + outputs) / (inputs * outputs), at most 1.

    Small layers stay denser. The factor of proportion is common to the group and solved exactly, after layers that
    would exceed density 1 are full (Mocanu et al. 2018, equation 1; Evci et al. 2020, RigL, section 3: for dense
    layers, the kernel's extent is 1 and their ERK is this ER).

    Args and raises: as `allocate_global`, which this differs from in needing no scores.

    Returns:
        path -> number of survivors, with sum `survivor_count(weights in all layers, sparsity)`. Rounded by largest
        remainder, ties to the earlier layer.
    """
    return _proportional([sum(shape) for shape in shapes.values()], shapes, sparsity, floor, within)


def allocate_given(shapes: Shapes, sparsities: Sequence[float], floor: int = MIN_SURVIVORS_PER_LAYER) -> dict[str, int]:
    """Each layer's own sparsity, `survivor_count` of its weights, but at least `floor` (or its size, if smaller).

    Args:
        shapes: path -> (inputs, outputs), layers in order.
        sparsities: one per layer of a network; independent networks (twin critics) get the same list.
        floor: survivors that each layer keeps at least.

    Raises:
        MaskError: a sparsity out of range, or another number of them than layers in a network.
    """
    counts = {}
    for name, layers in by_network(shapes).items():
        if len(layers) != len(sparsities):
            raise MaskError(
                f"{len(sparsities)} sparsities are given for the {len(layers)} layers of "
                f"{f'the network {name!r}' if name else 'the network'} ({', '.join(layers)}). Give one for each."
            )
        for (path, shape), sparsity in zip(layers.items(), sparsities, strict=True):
            size = _size(shape)
            counts[path] = max(survivor_count(size, sparsity), min(floor, size))
    return {path: counts[path] for path in shapes}


def check_possible(shapes: Shapes, sparsity: float, floor: int = MIN_SURVIVORS_PER_LAYER) -> None:
    """Passes if a group of these shapes can be pruned so far; what the allocations by one sparsity check themselves.

    Raises:
        MaskError: no weights, sparsity out of range, or floors that ask for more than the survivors.
    """
    _bounds(shapes, sparsity, floor, None)


def survivors_above(protected: int, total: int, sparsity: float, keeps: str) -> int:
    """`survivor_count`, if it is no less than the `protected` weights that floors demand.

    Args:
        keeps: for the message: who keeps how many at least, such as "each layer keeps at least 1".

    Raises:
        MaskError: no weights, sparsity out of range, or too few survivors, with the largest possible sparsity.
    """
    if total == 0:
        raise MaskError("There are no kernel weights to prune.")
    survivors = survivor_count(total, sparsity)
    if protected > survivors:
        largest = round_down(Fraction(total - protected, total) * 10**6) / 10**6
        raise MaskError(
            f"A sparsity of {sparsity} leaves {survivors} of {total} weights, but {keeps}. "
            f"Ask for a sparsity of at most {largest}."
        )
    return survivors


def _bounds(
    shapes: Shapes, sparsity: float, floor: int, within: Mapping[str, BoolArray] | None
) -> tuple[int, list[int], list[int]]:
    """The group's survivors, and by layer the least and the most that it can keep."""
    sizes = [_size(shape) for shape in shapes.values()]
    capacities = sizes if within is None else _alive(shapes, within)
    floors = [min(floor, capacity) for capacity in capacities]
    total, protected, alive = sum(sizes), sum(floors), sum(capacities)
    keeps = f"each layer keeps at least {floor}, in all {protected} ({', '.join(shapes)})"
    survivors = survivors_above(protected, total, sparsity, keeps)
    if survivors > alive:
        raise MaskError(
            f"A sparsity of {sparsity} leaves {survivors} of {total} weights, but the last mask kept only {alive}. "
            f"Ask for a sparsity of at least {ceil(Fraction(total - alive, total) * 10**6) / 10**6}."
        )
    return survivors, floors, capacities


def _alive(shapes: Shapes, within: Mapping[str, BoolArray]) -> list[int]:
    if {path: layer.shape for path, layer in within.items()} != dict(shapes):
        raise MaskError(
            "The last mask is of another network: it has "
            f"{', '.join(f'{path} {layer.shape}' for path, layer in within.items())}, not "
            f"{', '.join(f'{path} {shape}' for path, shape in shapes.items())}. Prune on with a mask of this one."
        )
    return [int(np.count_nonzero(within[path])) for path in shapes]


def _proportional(
    weights: Sequence[int], shapes: Shapes, sparsity: float, floor: int, within: Mapping[str, BoolArray] | None
) -> dict[str, int]:
    """Counts proportional to `weights` (one per layer) between each layer's bounds, summing to the survivors."""
    survivors, floors, capacities = _bounds(shapes, sparsity, floor, within)
    shares = _fill(weights, floors, capacities, survivors)
    counts = [round_down(share) for share in shares]
    by_remainder = sorted(range(len(counts)), key=lambda layer: counts[layer] - shares[layer])
    for layer in by_remainder[: survivors - sum(counts)]:
        counts[layer] += 1
    return dict(zip(shapes, counts, strict=True))


def _fill(weights: Sequence[int], low: Sequence[int], high: Sequence[int], total: int) -> list[Fraction]:
    """scale * weight, clipped to [low, high], with the one scale that makes the sum `total`; exact.

    The sum grows with the scale, linearly between the scales at which some layer leaves its lower or meets its upper
    bound. What a bound takes from a layer or adds to it is thereby shared by the others in proportion.
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


def _size(shape: tuple[int, ...]) -> int:
    inputs, outputs = shape
    return int(inputs) * int(outputs)
