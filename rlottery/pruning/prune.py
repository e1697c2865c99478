"""From scores to a mask: allocate, select, and check that input and output are still connected."""

from collections.abc import Sequence
from typing import Literal

from rlottery.errors import MaskError, naming
from rlottery.pruning.allocation import allocate_erk, allocate_given, allocate_global, allocate_uniform
from rlottery.pruning.masks import GroupMask, check_connected, select
from rlottery.pruning.ranking import Scores
from rlottery.pruning.structured import prune_units

Rule = Literal["global", "uniform", "erk"]


def prune(
    scores: Scores,
    sparsity: float | Sequence[float],
    *,
    allocation: Rule = "global",
    floor: int = 1,
    structure: Literal["weights", "units"] = "weights",
    within: GroupMask | None = None,
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
        group: the group's name, for messages.

    Raises:
        MaskError: from any of the steps. The message starts with the group.
    """
    with naming(group):
        if not isinstance(sparsity, float | int):
            counts = allocate_given({path: layer.shape for path, layer in scores.items()}, sparsity, floor)
            mask = select(scores, counts, within)
        elif structure == "weights":
            mask = select(scores, allocate(allocation, scores, sparsity, floor, within), within)
        elif allocation == "erk" or within is not None:
            raise MaskError("Whole units are pruned at once, with allocation global or uniform.")
        else:
            mask = prune_units(scores, sparsity, floor, allocation)
        check_connected(mask)
    return mask


def allocate(
    rule: Rule, scores: Scores, sparsity: float, floor: int = 1, within: GroupMask | None = None
) -> dict[str, int]:
    """Survivors per layer by a rule. Only "global" reads the scores; the others need the shapes."""
    if rule == "global":
        return allocate_global(scores, sparsity, floor, within)
    by_shape = {"uniform": allocate_uniform, "erk": allocate_erk}[rule]
    return by_shape({path: layer.shape for path, layer in scores.items()}, sparsity, floor, within)
