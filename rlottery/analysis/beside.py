"""Several studies beside each other: in which settings they differ, and every arm on every task that they share."""

import math
import statistics
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlottery.analysis.comparison import ArmResult, Comparison, TaskComparison
from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.runs import Metric
from rlottery.analysis.scores import ArmScores, TaskScores

_OF_TASKS, _OF_STUDIES = ("training", "sac"), ("network", "evaluation", "verdict")
"""Sections of a config that a task may have keys of its own for, and those that all its tasks share."""


@dataclass(frozen=True)
class StudyDifference:
    """One arm on one task, in two studies.

    Seeds of two studies share nothing but their number: the difference is one of independent samples (Welch 1947).

    Attributes:
        metric: the unit of means, difference and bounds.
        one, other: names of the studies; n_one, n_other: runs of each.
        least: runs that it takes of each; the larger of what the two studies ask for.
        difference: other - one; low, high: its 95 % interval; None with too few runs, or no spread.
        p: two-sided; None with too few runs. adjusted: after Holm's correction over all tested rows of the two studies.
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
    least: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None

    @property
    def too_few(self) -> bool:
        """Whether the runs of either study are too few to tell anything from."""
        return min(self.n_one, self.n_other) < self.least


@dataclass(frozen=True)
class Settings:
    """What made a study: its config in plain values, and its arms with the recipes that its runs were made by."""

    config: Mapping[str, Any]
    comparison: Comparison


@dataclass(frozen=True)
class SettingDifference:
    """A setting in which studies differ, where they share a task or an arm.

    Attributes:
        key: as the config writes it: ``training.env_steps``, or ``arms.allocation`` for a key of an arm's recipe.
        of: the arms, or the tasks, that it is of; empty for every task that they share.
        values: study -> its value; None where the recipe leaves the key out. Only studies that have the task or arm.
        where: tasks, each with an arm or with None for all of its arms.
    """

    key: str
    of: tuple[str, ...]
    values: Mapping[str, Any]
    where: tuple[tuple[str, str | None], ...]

    @property
    def trains(self) -> bool:
        """Whether scores depend on it: the verdict's settings are read when a report is made."""
        return not self.key.startswith("verdict.")

    def touches(self, row: StudyDifference) -> bool:
        """Whether the scores of this row were made with two values of it."""
        here = (row.task, None) in self.where or (row.task, row.arm) in self.where
        return self.trains and here and self.values.get(row.one) != self.values.get(row.other)


def study_differences(
    studies: Mapping[str, Sequence[TaskScores]], least_seeds: Mapping[str, int]
) -> tuple[StudyDifference, ...]:
    """The first study against each of the others, in the order of the first one's tasks and arms.

    Args:
        studies: name -> its scores, a task each.
        least_seeds: name -> below how many seeds the study decides nothing. Rows with fewer than either study's
            number are not tested.
    """
    (first, ours), *others = studies.items()
    return tuple(
        row
        for name, theirs in others
        for row in _corrected(_rows(first, ours, name, theirs, max(least_seeds[first], least_seeds[name])))
    )


def setting_differences(studies: Mapping[str, Settings]) -> tuple[SettingDifference, ...]:
    """In which settings of training, networks, evaluation, verdict and arms the studies differ.

    Args:
        studies: name -> what made it; tasks and arms count that the first one shares with another.
    """
    tasks = {name: {task["id"]: task for task in of.config.get("tasks", ())} for name, of in studies.items()}
    first, *others = studies
    shared = [task for task in tasks[first] if any(task in tasks[name] for name in others)]
    found: dict[str, SettingDifference] = {}
    whole = {
        name: _flat({section: of.config.get(section, {}) for section in _OF_STUDIES}) for name, of in studies.items()
    }
    for task in shared:
        of_task = {
            name: _task_settings(of.config, tasks[name][task]) for name, of in studies.items() if task in tasks[name]
        }
        for key, values in (*_unlike(of_task), *_unlike(whole)):
            _note(found, key, task, values, (task, None))
    for task in shared:
        made = {name: _recipes(of.comparison, task) for name, of in studies.items()}
        for arm in made[first]:
            for key, values in _unlike({name: arms[arm] for name, arms in made.items() if arm in arms}):
                _note(found, f"arms.{key}", arm, values, (task, arm))
    told = (replace(one, of=()) if one.of == tuple(shared) else one for one in found.values())
    order = (*_OF_TASKS, *_OF_STUDIES, "tasks", "arms")
    return tuple(sorted(told, key=lambda one: order.index(one.key.partition(".")[0])))


def _task_settings(config: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> value, the task's own over the study's."""
    told = _flat({section: {**config.get(section, {}), **task.get(section, {})} for section in _OF_TASKS})
    return told | {f"tasks.kwargs.{key}": value for key, value in task.get("kwargs", {}).items()}


def _flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


def _recipes(comparison: Comparison, task: str) -> dict[str, dict[str, Any]]:
    """Arm -> key of its recipe -> value, of the arms that have a score."""
    found: TaskComparison | None = next((one for one in comparison.tasks if one.task == task), None)
    return {arm.name: _recipe(arm) for arm in (found.arms if found else ()) if arm.scores}


def _recipe(arm: ArmResult) -> dict[str, Any]:
    of = arm.recipe.get("of") or {}
    told = {key: value for key, value in arm.recipe.items() if key != "of"}
    told |= {f"of.{key}": value for key, value in of.items()}
    # The sparsity that was reached: which one was asked for, other widths reach only about.
    reached = {group: round(share, 3) for group, share in (arm.sparsity or {}).items()}
    return {"criterion": arm.criterion, "sparsity": reached or None, **told}


def _unlike(of: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Each key that has two values or more, with study -> value."""
    for key in dict.fromkeys(key for settings in of.values() for key in settings):
        values = {name: settings.get(key) for name, settings in of.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            yield key, values


def _note(
    found: dict[str, SettingDifference], key: str, of: str, values: Mapping[str, Any], where: tuple[str, str | None]
) -> None:
    """Add a difference to what was found, together with the same difference of other tasks or arms."""
    same = f"{key} {values!r}"
    before = found.get(same, SettingDifference(key, (), values, ()))
    names = tuple(dict.fromkeys([*before.of, of]))
    found[same] = replace(before, of=names, where=(*before.where, where))


def _rows(
    one: str, ours: Sequence[TaskScores], other: str, theirs: Sequence[TaskScores], least: int
) -> list[StudyDifference]:
    by_task = {task.task: task for task in theirs}
    return [
        _difference(task, one, arm, other, beside, least)
        for task in ours
        if task.task in by_task and by_task[task.task].metric == task.metric
        for arm in task.arms
        if (beside := by_task[task.task].arm(arm.arm)) is not None
    ]


def _difference(
    task: TaskScores, one: str, ours: ArmScores, other: str, theirs: ArmScores, least: int
) -> StudyDifference:
    # Equal scores are means whose last bits may differ.
    a, b = ([float(f"{score:.9g}") for score in of.scores.values()] for of in (ours, theirs))
    low, high, p = (None, None, None) if min(len(a), len(b)) < least else _welch(a, b)
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
        least=least,
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

    with warnings.catch_warnings():
        # SciPy warns of a precision that is lost where one study's scores are all equal; their variance is 0.
        warnings.simplefilter("ignore", RuntimeWarning)
        test = stats.ttest_ind(b, a, equal_var=False)
    interval = test.confidence_interval(0.95)
    return float(interval.low), float(interval.high), float(test.pvalue)


def _corrected(rows: Sequence[StudyDifference]) -> list[StudyDifference]:
    tested = [index for index, row in enumerate(rows) if row.p is not None]
    adjusted = dict(zip(tested, holm([rows[index].p or 0.0 for index in tested]), strict=True))
    return [replace(row, adjusted=adjusted.get(index)) for index, row in enumerate(rows)]
