"""Cautions about a task's verdicts: arms whose runs either learn or fail, and pruned agents that start elsewhere."""

from collections.abc import Container
from itertools import pairwise

from rlottery.analysis.arrays import NORMALISED_ROUNDING, mean_of
from rlottery.analysis.digits import number_formatter
from rlottery.analysis.scores import ArmScores, TaskScores

GAP = 0.5
"""A gap in normalised score between neighbouring runs of one arm that makes its scores bimodal."""

_FEWEST = 3
_MOST_NAMED = 3


def bimodal(scores: TaskScores, margin: float) -> str | None:
    """Which arms have runs that learn as dense agents do and runs that fail, with a gap between the two groups.

    A mean and its spread say nothing about failures that have not occurred yet (docs/statistics.md).

    Args:
        margin: how far below dense a run may be and still count as having learned.
    """
    split = [
        arm.arm
        for arm in scores.arms
        if len(arm.normalised) >= _FEWEST
        and max(arm.normalised.values()) >= 1 - margin
        and max(high - low for low, high in pairwise(sorted(arm.normalised.values()))) >= GAP
    ]
    return f"On {scores.task}, runs of the same arm either learn or fail ({_named(split)})." if split else None


def head_start(scores: TaskScores, pruned: Container[str], margin: float) -> str | None:
    """Whether pruned agents score differently from dense agents before training, by the margin or more.

    The zero of the normalised score is the untrained dense agent, so such a difference counts as gained by training.

    Args:
        pruned: tickets and their random controls.
        margin: in normalised score.
    """
    if scores.gain is None or scores.untrained is None:
        return None
    begun = [arm for arm in scores.arms if arm.arm in pruned and arm.before]
    starts = {arm.arm: mean_of(arm.before.values()) for arm in begun}
    farthest = max(starts.values(), key=lambda start: abs(start - (scores.untrained or 0.0)), default=scores.untrained)
    if abs(difference := (farthest - scores.untrained) / scores.gain) < margin - NORMALISED_ROUNDING:
        return None
    shown = number_formatter([scores.untrained, *starts.values()])
    ends = [arm.arm for arm in begun if _fell(arm, scores.rounding)]
    fell = f" These score lower after training than before: {_named(ends)}." if ends else ""
    return (
        f"On {scores.task}, pruned agents start from different scores than dense agents: before training the mean "
        f"score is {shown(scores.untrained)} for dense agents, and {shown(min(starts.values()))} to "
        f"{shown(max(starts.values()))} for tickets and their random controls. The difference is up to "
        f"{abs(difference):.2f} in normalised score, which counts it as gained by training.{fell}"
    )


def _fell(arm: ArmScores, rounding: float) -> bool:
    both = [arm.scores[seed] - before for seed, before in arm.before.items() if seed in arm.scores]
    return bool(both) and mean_of(both) < -rounding


def _named(arms: list[str]) -> str:
    more = f" and {len(arms) - _MOST_NAMED} more" if len(arms) > _MOST_NAMED else ""
    return f"{', '.join(arms[:_MOST_NAMED])}{more}"
