"""What to bear in mind beside a task's verdicts: runs at two levels, and arms that begin elsewhere than dense."""

import statistics
from collections.abc import Container, Iterable
from itertools import pairwise

from rlottery.analysis.scores import ArmScores, TaskScores

GAP = 0.5
"""Shares of dense between two neighbouring runs of an arm that make two levels of them."""

_FEWEST = 3
_MOST_NAMED = 3


def two_levels(scores: TaskScores, margin: float) -> str | None:
    """Which arms' runs leave a gap between those that learned as dense agents do and those that didn't.

    A mean's spread tells nothing of failures that have not come up yet (docs/statistics.md).

    Args:
        margin: below dense, as a share, that a run has still learned with.
    """
    split = [
        arm.arm
        for arm in scores.arms
        if len(arm.normalised) >= _FEWEST
        and max(arm.normalised.values()) >= 1 - margin
        and _gap(arm.normalised.values()) >= GAP
    ]
    return f"On {scores.task} runs of one arm end at two levels, learned or not ({_named(split)})." if split else None


def head_start(scores: TaskScores, pruned: Container[str], margin: float) -> str | None:
    """That pruned agents score otherwise than dense ones before any training, by the margin or more.

    Shares of dense have their zero at untrained dense agents, so they count such a start as gained.

    Args:
        pruned: tickets, and their random controls.
        margin: as a share of what the dense agents gained.
    """
    if scores.gain is None or scores.untrained is None:
        return None
    begun = [arm for arm in scores.arms if arm.arm in pruned and arm.before]
    starts = {arm.arm: statistics.fmean(arm.before.values()) for arm in begun}
    farthest = max(starts.values(), key=lambda start: abs(start - (scores.untrained or 0.0)), default=scores.untrained)
    if abs(share := (farthest - scores.untrained) / scores.gain) < margin:
        return None
    ends = [arm.arm for arm in begun if _fell(arm)]
    fell = f" Worse after training than before: {_named(ends)}." if ends else ""
    return (
        f"On {scores.task} pruned agents begin elsewhere than dense ones: before training dense agents score "
        f"{_number(scores.untrained)} on average, tickets and their random controls {_number(min(starts.values()))} to "
        f"{_number(max(starts.values()))}. That differs by up to {abs(share):.2f} of what the dense agents gained, and "
        f"shares of dense count it as gained.{fell}"
    )


def _number(score: float) -> str:
    return f"{score:.3g}".replace("-", "\N{MINUS SIGN}")


def _fell(arm: ArmScores) -> bool:
    both = [seed for seed in arm.before if seed in arm.scores]
    return bool(both) and sum(arm.scores[seed] - arm.before[seed] for seed in both) < 0


def _gap(shares: Iterable[float]) -> float:
    return max(high - low for low, high in pairwise(sorted(shares)))


def _named(arms: list[str]) -> str:
    more = f" and {len(arms) - _MOST_NAMED} more" if len(arms) > _MOST_NAMED else ""
    return f"{', '.join(arms[:_MOST_NAMED])}{more}"
