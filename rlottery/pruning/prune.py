"""From scores to a mask: allocate, select, reclaim, and check that input and output are still connected."""

from collections.abc import Callable, Sequence
from typing import Literal, TypeVar

from rlottery.errors import MaskError, naming
from rlottery.pruning.allocation import allocate_erk, allocate_given, allocate_global, allocate_uniform
from rlottery.pruning.masks import GroupMask, by_network, check_connected, select
from rlottery.pruning.ranking import Scores
from rlottery.pruning.reclaim import reclaimed
from rlottery.pruning.structured import prune_units

T = TypeVar("T")

Rule = Literal["global", "uniform", "erk"]
Twins = Literal["separate", "shared"]
"""Whether each network of a group (each twin critic) has a budget of its own under the rule "global"."""

_LESS = "Use a lower sparsity."
_LESS_OR_ERK = "Use a lower sparsity, or allocation: erk, which gives every layer its share."


def prune(
    scores: Scores,
    sparsity: float | Sequence[float],
    *,
    allocation: Rule = "global",
    floor: int = 1,
    structure: Literal["weights", "units"] = "weights",
    within: GroupMask | None = None,
    twins: Twins = "separate",
    reclaim: bool = False,
    group: str = "network",
) -> GroupMask:
    """The mask of one group that keeps the highest scores.

    Args:
        scores: path -> (inputs, outputs), layers in order.
        sparsity: share of all the group's weights to prune, in [0, 1); the count is exact (`survivor_count`) for
            weights. Or a share for each layer of a network, from input to output; twins use the same.
        allocation: how many weights survive in each layer; ignored if `sparsity` has a share for each layer.
        floor: minimum weights per layer; minimum units per hidden layer if `structure` is "units".
        within: the last mask; only its survivors compete.
        twins: with "separate", allocation "global" ranks the weights of each network (each twin critic) apart, and the
            count is that of each network's weights. With "shared", all networks compete for one budget, as in masks of
            earlier versions. The other allocations treat networks of equal shapes alike, to within one weight.
        reclaim: whether survivors on no path are exchanged for the best weights on one (`reclaim.reclaimed`). Layers
            may then keep more or fewer weights than allocated; the networks' numbers of weights stay the same.
        group: the group's name, for messages.

    Raises:
        MaskError: from any of the steps. The message starts with the group.
    """
    with naming(group):
        if not isinstance(sparsity, float | int):
            counts = allocate_given({path: layer.shape for path, layer in scores.items()}, sparsity, floor)
            mask = select(scores, counts, within)
        elif structure == "weights":
            mask = select(scores, allocate(allocation, scores, sparsity, floor, within, twins), within)
        elif allocation == "erk" or within is not None:
            raise MaskError("Whole units are pruned at once, with allocation global or uniform.")
        elif allocation == "global" and twins == "separate":
            mask = _of_each_network(scores, lambda own: prune_units(own, sparsity, floor))
        else:
            mask = prune_units(scores, sparsity, floor, allocation)
        if reclaim:
            mask = reclaimed(scores, mask, within)
        ranked = allocation == "global" and structure == "weights" and isinstance(sparsity, float | int)
        check_connected(mask, _LESS_OR_ERK if ranked else _LESS)
    return mask


def allocate(
    rule: Rule,
    scores: Scores,
    sparsity: float,
    floor: int = 1,
    within: GroupMask | None = None,
    twins: Twins = "separate",
) -> dict[str, int]:
    """Survivors per layer by a rule. Only "global" reads the scores; the others need the shapes.

    Args:
        twins: as for `prune`.
    """
    if rule == "global" and twins == "separate":

        def of_network(own: Scores) -> dict[str, int]:
            return allocate_global(own, sparsity, floor, None if within is None else _part(within, own))

        return _of_each_network(scores, of_network)
    if rule == "global":
        return allocate_global(scores, sparsity, floor, within)
    by_shape = {"uniform": allocate_uniform, "erk": allocate_erk}[rule]
    return by_shape({path: layer.shape for path, layer in scores.items()}, sparsity, floor, within)


def _of_each_network(scores: Scores, make: Callable[[Scores], dict[str, T]]) -> dict[str, T]:
    """What `make` returns for the layers of each network, joined, in the order of `scores`."""
    # Without any layer there is no network; `make` says so.
    made = [make(own) for own in by_network(scores).values() or [{}]]
    joined = {path: of_layer for of_network in made for path, of_layer in of_network.items()}
    return {path: joined[path] for path in scores}


def _part(within: GroupMask, own: Scores) -> GroupMask:
    """The layers of one network; all of them, if some are missing, so that the message lists what the mask has."""
    return {path: within[path] for path in own} if own.keys() <= within.keys() else within
