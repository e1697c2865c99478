"""Tasks whose runs end at two levels, learned or not: there few seeds that all did well prove little."""

from collections.abc import Iterable
from itertools import pairwise

from rlottery.analysis.scores import TaskScores

GAP = 0.5
"""Shares of dense between two neighbouring runs of an arm that make two levels of them."""

_FEWEST = 3
_MOST_NAMED = 3


def caution_of(scores: TaskScores) -> str | None:
    """What to bear in mind where some arm's runs leave a gap between those that learned and those that didn't.

    A mean's spread tells nothing of failures that have not come up yet (docs/statistics.md): with n seeds, an agent
    that fails one time in ten shows no failure with a chance of 0.9^n.
    """
    split = [arm.arm for arm in scores.arms if len(arm.shares) >= _FEWEST and _gap(arm.shares.values()) >= GAP]
    if not split:
        return None
    n = max(len(arm.shares) for arm in scores.arms)
    more = f" and {len(split) - _MOST_NAMED} more" if len(split) > _MOST_NAMED else ""
    return (
        f"On {scores.task} runs of one arm end at two levels, learned or not ({', '.join(split[:_MOST_NAMED])}{more}). "
        f"That {n} of {n} seeds did well is little proof there: of tickets that fail one time in ten, "
        f"{100 * 0.9**n:.0f} % of studies with {n} seeds see no failure. Winning, and sparse but not special, then say "
        "that no more failures were seen than dense agents had."
    )


def _gap(shares: Iterable[float]) -> float:
    return max(high - low for low, high in pairwise(sorted(shares)))
