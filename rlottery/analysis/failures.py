"""Runs that fail, counted: exact statements about failure rates, which means of few runs can't make."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.hypothesis_tests import fails_more_often, holm, rate_at_most
from rlottery.analysis.scores import ArmScores, TaskScores
from rlottery.analysis.verdict import QUESTIONS, FailedRuns, Failures, NoFailureSeen, Question

FAILED_BELOW = 0.5
"""A run with a lower normalised score failed: it ended closer to untrained policies than to dense agents."""

MOST_SEEDS = 1000
"""The largest number of seeds that is considered for excluding failures."""


def failures_of(ticket: ArmScores, dense: ArmScores, control: ArmScores | None, level: float) -> Failures | None:
    """The failures of a ticket and of the arms that it is compared with; None without normalised scores."""
    ours, of_dense = failed_runs(ticket), failed_runs(dense)
    of_control = None if control is None else failed_runs(control)
    if ours is None or of_dense is None:
        return None
    others: dict[Question, FailedRuns] = {"dense": of_dense}
    if of_control is not None:
        others["random"] = of_control
    return Failures(
        ticket=ours,
        dense=of_dense,
        control=of_control,
        rate_at_most=rate_at_most(ours.failed, ours.runs, level),
        p={
            question: fails_more_often(ours.failed, ours.runs, other.failed, other.runs)
            for question, other in others.items()
        },
    )


def failed_runs(arm: ArmScores) -> FailedRuns | None:
    """How many runs of an arm failed; None without normalised scores."""
    scores = arm.normalised.values()
    return FailedRuns(sum(score < FAILED_BELOW for score in scores), len(scores)) if scores else None


def corrected_failures(of: Sequence[Failures | None]) -> list[Failures | None]:
    """The same with p-values after Holm's correction, for each question."""
    adjusted = {question: holm([None if one is None else one.p.get(question) for one in of]) for question in QUESTIONS}
    return [
        None
        if one is None
        else replace(one, adjusted={question: p for question in one.p if (p := adjusted[question][index]) is not None})
        for index, one in enumerate(of)
    ]


def failures_occur(scores: TaskScores) -> bool:
    """Whether single runs of a task may fail: some of an arm did and others didn't, or each either succeeds or not.

    An arm whose runs all fail is a bad arm, and says nothing about the failures of others.
    """
    found = [failed for arm in scores.arms if (failed := failed_runs(arm)) is not None]
    return scores.metric == "success" or any(0 < one.failed < one.runs for one in found)


@dataclass(frozen=True)
class AtRisk:
    """A ticket on one task, as far as failures that it hasn't had yet could change its mean.

    Attributes:
        score: the mean of its normalised scores, by the measure that is compared.
        runs: how many there are.
        may_fail: it had no failure, on a task where failures occur.
    """

    score: float
    runs: int
    may_fail: bool


def no_failure_seen(of: Sequence[AtRisk], difference: float, margin: float, level: float) -> NoFailureSeen | None:
    """Whether a positive answer rests on no failure seen.

    It does if tickets that fail as often as these runs don't exclude would be below the margin. A failed run counts
    with the normalised score of untrained policies, 0.

    Args:
        of: one per task that the answer rests on.
        difference: the mean over tasks of the normalised difference that the answer is about.
        level: of the exact bound.
    """

    def falls_below(runs: Callable[[AtRisk], int]) -> bool:
        lost = sum(one.score * rate_at_most(0, runs(one), level) for one in of if one.may_fail) / len(of)
        return difference - lost < -margin

    if not any(one.may_fail for one in of) or not falls_below(lambda one: one.runs):
        return None
    fewest = min(one.runs for one in of if one.may_fail)
    low, high = fewest, MOST_SEEDS
    if falls_below(lambda one: max(one.runs, high)):
        return NoFailureSeen(rate_at_most(0, fewest, level), None)
    while high - low > 1:
        middle = (low + high) // 2
        below = falls_below(lambda one, seeds=middle: max(one.runs, seeds))  # type: ignore[misc]
        low, high = (middle, high) if below else (low, middle)
    return NoFailureSeen(rate_at_most(0, fewest, level), high)
