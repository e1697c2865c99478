"""Is gradient better than magnitude, and more so at high sparsity? Of tickets that differ in their criterion alone."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np

from rlottery.analysis.contrasts import Paired, paired, pooled_bounds, pooled_share, pooled_test
from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.judging import TaskToJudge
from rlottery.analysis.kinds import GRADIENT_CRITERIA, kind_of
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.verdict import Measure, MethodContrast, MethodTrend
from rlottery.config import Verdict
from rlottery.storage.paths import DENSE

MEASURES: tuple[Measure, ...] = ("score", "area")
Row = TypeVar("Row", MethodContrast, MethodTrend)

_OF_THE_DATA = ("batches", "batch_size", "estimator")
"""Keys of a recipe that magnitude doesn't read."""


@dataclass(frozen=True)
class _Match:
    """A gradient arm and the magnitude arm beside it, on one task, by one measure."""

    task: str
    measure: Measure
    criterion: str
    sparsity: float
    magnitude: str
    gradient: str
    recipe: str
    paired: Paired

    @property
    def kind(self) -> tuple[str, str]:
        """What pairs of several sparsities have in common: the criterion, and all else that the two arms share."""
        return self.criterion, self.recipe

    @property
    def row(self) -> tuple[str, str, float]:
        """What pairs of several tasks have in common."""
        return *self.kind, self.sparsity


def compare_methods(
    tasks: Sequence[TaskToJudge], rules: Verdict
) -> tuple[tuple[MethodContrast, ...], tuple[MethodTrend, ...]]:
    """Every gradient arm against the magnitude arm of the same sparsity and recipe, on each task that was learned.

    By scores and by areas under the curve; tasks first, then the mean over tasks.
    """
    contrasts: list[MethodContrast] = []
    trends: list[MethodTrend] = []
    for measure in MEASURES:
        matches = [match for task in tasks if task.scores.gain is not None for match in _matches(task, measure)]
        found: list[MethodTrend] = []
        for name in [*dict.fromkeys(match.task for match in matches), None]:
            of_task = [match for match in matches if name in (None, match.task)]
            if name is None and len({match.task for match in matches}) < 2:
                continue
            rows = {row: [m for m in of_task if m.row == row] for row in sorted({match.row for match in of_task})}
            contrasts += _corrected([_contrast(name, group, rules) for group in rows.values()])
            found += _trends(name, rows, rules)
        trends += _corrected([trend for trend in found if trend.task is not None])
        trends += _corrected([trend for trend in found if trend.task is None])
    return tuple(contrasts), tuple(trends)


def match_of(gradient: Run, by_arm: Mapping[str, Sequence[Run]]) -> Run | None:
    """A run of the magnitude arm that differs from this gradient ticket's in the criterion alone; None without one."""
    if kind_of(gradient) != "ticket" or gradient.criterion not in GRADIENT_CRITERIA:
        return None
    for runs in by_arm.values():
        other = runs[0]
        # The criterion magnitude under the guide's method gradient gives magnitude's masks: the first one stands.
        if kind_of(other) == "ticket" and other.criterion == "magnitude" and other.method != "gradient":
            alike = _rest(other) == _rest(gradient) and _sparsity(other) == _sparsity(gradient)
            if alike and other.start == gradient.start:
                return other
    return None


def _matches(task: TaskToJudge, measure: Measure) -> list[_Match]:
    found = []
    dense = task.scores.arm(DENSE)
    for runs in task.runs.values():
        gradient = runs[0]
        magnitude = match_of(gradient, task.runs)
        if magnitude is None or dense is None:
            continue
        ours, theirs, tops = (_values(task.scores, name, measure) for name in (gradient.arm, magnitude.arm, DENSE))
        both = paired(magnitude.arm, ours, theirs, tops, task.scores.zero)
        if both is not None:
            names = magnitude.arm, gradient.arm
            share = sum(_sparsity(gradient)) / max(len(_sparsity(gradient)), 1)
            alike = json.dumps([_rest(gradient), dict(gradient.start)], sort_keys=True)
            found.append(_Match(task.scores.task, measure, str(gradient.criterion), share, *names, alike, both))
    return found


def _values(scores: TaskScores, name: str, measure: Measure) -> Mapping[int, float]:
    arm = scores.arm(name)
    return {} if arm is None else arm.areas if measure == "area" else arm.scores


def _rest(run: Run) -> dict[str, object]:
    return {key: value for key, value in run.recipe.items() if key not in _OF_THE_DATA}


def _sparsity(run: Run) -> tuple[float, ...]:
    # Groups reach what was asked for to within a weight.
    return tuple(round(share, 3) for _, share in sorted((run.sparsity or {}).items()))


def _contrast(task: str | None, group: Sequence[_Match], rules: Verdict) -> MethodContrast:
    first, of = group[0], [match.paired for match in group]
    low, high, p = _tested(of, rules.level)
    return MethodContrast(
        task=task,
        measure=first.measure,
        sparsity=first.sparsity,
        magnitude=first.magnitude,
        gradient=first.gradient,
        share=pooled_share(of),
        low=low,
        high=high,
        p=p,
        adjusted=None,
        n=sum(len(match.paired.seeds) for match in group),
        fewest=min(len(match.paired.seeds) for match in group),
        tasks=tuple(match.task for match in group),
    )


def _tested(of: Sequence[Paired], level: float) -> tuple[float | None, float | None, float | None]:
    """The interval of the pooled share, and the two-sided p of "it is 0"; None where a task has a single seed."""
    if any(len(task.seeds) < 2 for task in of):
        return None, None, None
    test = pooled_test(of, 0.0)
    return *pooled_bounds(of, level), min(1.0, 2 * min(test.p_above, test.p_below))


def _corrected(rows: Sequence[Row]) -> list[Row]:
    known = [row for row in rows if row.p is not None]
    adjusted = dict(zip(map(id, known), holm([row.p for row in known if row.p is not None]), strict=True))
    return [replace(row, adjusted=adjusted.get(id(row))) for row in rows]


def _trends(
    task: str | None, rows: Mapping[tuple[str, str, float], Sequence[_Match]], rules: Verdict
) -> list[MethodTrend]:
    found = []
    for kind in dict.fromkeys((criterion, recipe) for criterion, recipe, _ in rows):
        sparsities = [sparsity for *of, sparsity in rows if tuple(of) == kind]
        lowest, highest = min(sparsities), max(sparsities)
        if lowest == highest:
            continue
        at_lowest = {match.task: match.paired for match in rows[*kind, lowest]}
        changes = [
            change
            for match in rows[*kind, highest]
            if match.task in at_lowest and (change := _change(match.paired, at_lowest[match.task])) is not None
        ]
        if not changes:
            continue
        low, high, p = _tested(changes, rules.level)
        found.append(
            MethodTrend(
                task=task,
                measure=rows[*kind, highest][0].measure,
                criterion=kind[0],
                lowest=lowest,
                highest=highest,
                change=pooled_share(changes),
                low=low,
                high=high,
                p=p,
                adjusted=None,
                n=sum(len(change.seeds) for change in changes),
                fewest=min(len(change.seeds) for change in changes),
            )
        )
    return found


def _change(high: Paired, low: Paired) -> Paired | None:
    """The difference at high sparsity minus that at low, for the seeds that both have."""
    at_low = dict(zip(low.seeds, low.differences, strict=True))
    places = [index for index, seed in enumerate(high.seeds) if seed in at_low]
    if not places:
        return None
    seeds = tuple(high.seeds[index] for index in places)
    changes = high.differences[places] - np.array([at_low[seed] for seed in seeds])
    return Paired("lowest sparsity", seeds, changes, high.gains[places])
