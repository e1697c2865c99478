"""Several studies beside each other: every arm that they share, on every task that they share."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.runs import Metric
from rlottery.analysis.scores import ArmScores, TaskScores


@dataclass(frozen=True)
class StudyDifference:
    """One arm on one task, in two studies.

    Seeds of two studies share nothing but their number: the difference is one of independent samples (Welch 1947).

    Attributes:
        metric: the unit of means, difference and bounds.
        one, other: names of the studies; n_one, n_other: runs of each.
        difference: other - one; low, high: its 95 % interval; None with a single run on either side, or no spread.
        p: two-sided; adjusted: after Holm's correction over all rows of the two studies.
    """

    task: str
    arm: str
    metric: Metric
    one: str
    other: str
    mean_one: float
    mean_other: float
    n_one: int
    n_other: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None


def study_differences(studies: Mapping[str, Sequence[TaskScores]]) -> tuple[StudyDifference, ...]:
    """The first study against each of the others, in the order of the first one's tasks and arms.

    Args:
        studies: name -> its scores, a task each.
    """
    (first, ours), *others = studies.items()
    return tuple(row for name, theirs in others for row in _corrected(_rows(first, ours, name, theirs)))


def _rows(one: str, ours: Sequence[TaskScores], other: str, theirs: Sequence[TaskScores]) -> list[StudyDifference]:
    by_task = {task.task: task for task in theirs}
    return [
        _difference(task, one, arm, other, beside)
        for task in ours
        if task.task in by_task and by_task[task.task].metric == task.metric
        for arm in task.arms
        if (beside := by_task[task.task].arm(arm.arm)) is not None
    ]


def _difference(task: TaskScores, one: str, ours: ArmScores, other: str, theirs: ArmScores) -> StudyDifference:
    # Equal scores are means whose last bits may differ.
    a, b = ([float(f"{score:.9g}") for score in of.scores.values()] for of in (ours, theirs))
    low, high, p = _welch(a, b)
    return StudyDifference(
        task=task.task,
        arm=ours.arm,
        metric=task.metric,
        one=one,
        other=other,
        mean_one=statistics.fmean(a),
        mean_other=statistics.fmean(b),
        n_one=len(a),
        n_other=len(b),
        difference=statistics.fmean(b) - statistics.fmean(a),
        low=low,
        high=high,
        p=p,
        adjusted=None,
    )


def _welch(a: Sequence[float], b: Sequence[float]) -> tuple[float | None, float | None, float | None]:
    """The 95 % interval of mean(b) - mean(a), and the two-sided p-value."""
    if min(len(a), len(b)) < 2:
        return None, None, None
    if statistics.pvariance(a) == statistics.pvariance(b) == 0:
        # Without spread there is no t: by permutation, the two orders that separate them all.
        return None, None, 1.0 if a[0] == b[0] else 2 / math.comb(len(a) + len(b), len(a))
    from scipy import stats

    test = stats.ttest_ind(b, a, equal_var=False)
    interval = test.confidence_interval(0.95)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _corrected(rows: Sequence[StudyDifference]) -> list[StudyDifference]:
    tested = [index for index, row in enumerate(rows) if row.p is not None]
    adjusted = dict(zip(tested, holm([rows[index].p or 0.0 for index in tested]), strict=True))
    return [replace(row, adjusted=adjusted.get(index)) for index, row in enumerate(rows)]
