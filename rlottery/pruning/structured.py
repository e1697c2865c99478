"""Masks of whole hidden units: the survivors form a smaller dense network."""

import itertools
from collections.abc import Iterator, Mapping
from typing import Literal, TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.allocation import Shapes, survivors_above
from rlottery.pruning.masks import GroupMask, by_network
from rlottery.pruning.ranking import BoolArray, RealArray, Scores

Units: TypeAlias = Mapping[str, BoolArray]
"""Path of each layer that makes hidden units (all but a network's last) -> bool (outputs,), true if it survives."""


def prune_units(
    scores: Scores, sparsity: float, floor: int = 1, allocation: Literal["global", "uniform"] = "global"
) -> GroupMask:
    """Removes the lowest-scoring hidden units, each with its incoming and outgoing weights.

    Units are removed one by one, lowest score first, until at most `survivor_count(total, sparsity)` weights survive.
    The sparsity is at least the one asked for, and exceeds it by less than the weights of one unit. Among equal scores
    the earlier layer, then the lower index survives.

    Args:
        scores: path -> a criterion's scores (inputs, outputs) of one group, layers in order.
        sparsity: share of the group's kernel weights to prune, in [0, 1).
        floor: minimum units per hidden layer (all of them, if it has fewer).
        allocation: with "global", the hidden units of all networks of the group are ranked together by `unit_scores`;
            with "uniform", each layer is ranked on its own and loses the same share of its units (to half a unit).

    Raises:
        MaskError: `floor` is below 1, the allocation is unknown, a network has no hidden layer or layers that don't fit
            together, scores are NaN, the sparsity is out of range, or the minimum needs more units than survive.
    """
    if floor < 1:
        raise MaskError(f"A floor of {floor} units would cut the network. Each hidden layer must keep at least 1.")
    if allocation not in ("global", "uniform"):
        raise MaskError(f"Units can't be allocated by {allocation!r}. Use global or uniform.")
    shapes = {path: layer.shape for path, layer in scores.items()}
    for name, layers in by_network(shapes).items():
        if len(layers) == 1:
            network = f"The network {name!r}" if name else "The network"
            raise MaskError(f"{network} has no hidden units to prune. Give it a hidden layer, or prune single weights.")
    ranks = unit_scores(scores)
    if allocation == "uniform":
        ranks = {path: _share_removed(layer) for path, layer in ranks.items()}

    widths = {path: layer.size for path, layer in ranks.items()}
    floors = {path: min(floor, width) for path, width in widths.items()}
    least = _weights_of(shapes, floors)
    keeps = f"each hidden layer keeps at least {floor} of its units, in all {least} weights ({', '.join(scores)})"
    survivors = survivors_above(least, _weights_of(shapes, widths), sparsity, keeps)
    units = {path: np.ones(width, dtype=np.bool_) for path, width in widths.items()}
    for path, unit in _lowest_first(ranks):
        if _weights_of(shapes, widths) <= survivors:
            break
        if widths[path] > floors[path]:
            widths[path] -= 1
            units[path][unit] = False
    return mask_of_units(shapes, units)


def unit_scores(scores: Scores) -> dict[str, RealArray]:
    """Score of each hidden unit: the root mean square of the scores of its incoming and outgoing weights.

    These weights are pruned together (Fang et al. 2023, DepGraph; Li et al. 2017 use the norm of the incoming filter
    only). Within a layer, the ranking is that of their L2 norms. A sum instead of the mean would rank units of
    different layers by their number of weights.

    Returns:
        Path of each layer that makes hidden units -> (outputs,), of the precision of the scores and at least float64.

    Raises:
        MaskError: layers don't fit together, or scores are NaN or negative.
    """
    if any((layer < 0).any() for layer in scores.values()):
        raise MaskError(
            "Signed scores can't rank units, because their mean square loses the sign. "
            "Prune single weights, or use a criterion whose scores are not negative."
        )
    found: dict[str, RealArray] = {}
    dtype = np.result_type(np.float64, *scores.values())
    for path, outgoing in _outgoing({path: layer.shape for path, layer in scores.items()}).items():
        weights = np.concatenate([scores[path].T, scores[outgoing]], axis=1, dtype=dtype)
        if np.isnan(weights).any():
            raise MaskError(f"NaN scores can't be ranked: layer {path!r} or {outgoing!r}.")
        # Relative to the unit's largest, so that squares don't underflow or overflow. A power of two changes no digit.
        exponents = np.frexp(weights.max(axis=1))[1]
        relative = np.ldexp(weights, -exponents[:, None])
        with np.errstate(under="ignore"):
            found[path] = np.ldexp(np.sqrt(np.mean(relative**2, axis=1)), exponents)
    return found


def mask_of_units(shapes: Shapes, units: Units) -> GroupMask:
    """The mask in which a weight survives if both of its ends do. Inputs and outputs of a network always survive."""
    incoming = {outgoing: path for path, outgoing in _outgoing(shapes).items()}
    mask = {}
    for path, (inputs, outputs) in shapes.items():
        before = units[incoming[path]] if path in incoming else np.ones(inputs, dtype=np.bool_)
        after = units[path] if path in units else np.ones(outputs, dtype=np.bool_)
        mask[path] = np.logical_and.outer(before, after)
    return mask


def units_of(mask: GroupMask) -> dict[str, BoolArray]:
    """Hidden units with a surviving weight on either side: path of the layer that makes them -> bool (outputs,)."""
    outgoing = _outgoing({path: layer.shape for path, layer in mask.items()})
    return {path: np.logical_and(mask[path].any(axis=0), mask[after].any(axis=1)) for path, after in outgoing.items()}


def is_structured(mask: GroupMask) -> bool:
    """Whether the mask removes whole hidden units and nothing else. True for a mask that removes nothing."""
    whole = mask_of_units({path: layer.shape for path, layer in mask.items()}, units_of(mask))
    return all(np.array_equal(layer, whole[path]) for path, layer in mask.items())


def _outgoing(shapes: Shapes) -> dict[str, str]:
    """Path of each layer that makes hidden units -> path of the layer that reads them."""
    found = {}
    for layers in by_network(shapes).values():
        for path, after in itertools.pairwise(layers):
            if shapes[path][1] != shapes[after][0]:
                raise MaskError(
                    f"Layer {after!r} has {shapes[after][0]} inputs, but {path!r} before it has {shapes[path][1]}."
                )
            found[path] = after
    return found


def _weights_of(shapes: Shapes, widths: Mapping[str, int]) -> int:
    """Weights of the group if its hidden layers have `widths` (path of the layer that makes them -> units)."""
    inputs = {after: widths[path] for path, after in _outgoing(shapes).items()}
    return sum(inputs.get(path, shape[0]) * widths.get(path, shape[1]) for path, shape in shapes.items())


def _share_removed(scores: RealArray) -> RealArray:
    """Share of the layer that is removed when a unit is removed, minus half a unit: a ranking common to all layers.

    Subtracting half a unit means that at any point all layers have lost the same share, rounded to the nearest unit.
    """
    best_first = np.argsort(-scores, kind="stable")
    shares = np.empty(scores.size)
    shares[best_first] = (scores.size - np.arange(scores.size) - 0.5) / scores.size
    return shares


def _lowest_first(ranks: Mapping[str, RealArray]) -> Iterator[tuple[str, int]]:
    """(path, unit) of all units, lowest rank first; among equal ranks the later layer, then the higher index."""
    units = [(path, unit) for path, layer in ranks.items() for unit in range(layer.size)]
    best_first = np.argsort(-np.concatenate(list(ranks.values())), kind="stable")
    return (units[index] for index in best_first[::-1])
