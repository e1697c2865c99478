"""Whether gradient is better than magnitude, and more so at high sparsity.

Only tickets that differ in nothing but the criterion are compared. Pairs of several tasks are pooled if they are the
same two arms, by name, recipe and requested sparsity of each group: never by a mean over the groups.
"""

import json
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, TypeVar

from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.kinds import GRADIENT_CRITERIA, kind_of
from rlottery.analysis.linear_forms import (
    LinearForm,
    bounds,
    linear_form,
    mean_difference,
    raw_bounds,
    two_sided,
    welch_test,
)
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.splits import NOISE, REACHED, Split, kinds_of_split, same_split
from rlottery.analysis.verdict import Measure, MethodContrast, MethodTrend
from rlottery.config import Verdict

MEASURES: tuple[Measure, ...] = ("score", "area")
MethodRow = TypeVar("MethodRow", MethodContrast, MethodTrend)

_GRADIENT_ONLY = ("batches", "batch_size", "estimator")
"""Keys of a recipe that magnitude does not use."""


@dataclass(frozen=True)
class _Match:
    """A gradient arm with the matching magnitude arm, on one task and by one measure.

    Attributes:
        of: the scores of the task.
        recipe: everything else that the gradient arm was made with, as JSON.
    """

    task: str
    measure: Measure
    criterion: str
    split: Split
    magnitude: str
    gradient: str
    recipe: str
    of: TaskScores

    @cached_property
    def form(self) -> LinearForm | None:
        """Gradient - magnitude; None without runs of both."""
        return self.difference([self.gradient], [self.magnitude])

    def difference(self, plus: Sequence[str], minus: Sequence[str]) -> LinearForm | None:
        """A difference between arms of the task; None without runs of each."""
        of, measure = self.of, self.measure
        return linear_form(plus, minus, of.by(measure), of.scale(measure), of.resolution)

    @property
    def kind(self) -> tuple[str, str]:
        """What pairs at several sparsities have in common."""
        return self.criterion, self.recipe

    def is_of(self, other: "_Match") -> bool:
        """Whether the two are the same arms, each on its task."""
        arms = (*self.kind, self.magnitude, self.gradient) == (*other.kind, other.magnitude, other.gradient)
        return arms and same_split(self.split, other.split, REACHED)


def compare_methods(
    tasks: Sequence[TaskScores], rules: Verdict
) -> tuple[tuple[MethodContrast, ...], tuple[MethodTrend, ...]]:
    """Compare gradient arms with the magnitude arm of the same sparsity and recipe, on every task that was learned.

    By scores and by areas under the curve; single tasks first, then the mean over tasks.
    """
    contrasts: list[MethodContrast] = []
    trends: list[MethodTrend] = []
    for measure in MEASURES:
        matches = [match for task in tasks if task.gain is not None for match in _matches(task, measure)]
        found: list[MethodTrend] = []
        for name in [*dict.fromkeys(match.task for match in matches), None]:
            of_task = [match for match in matches if name in (None, match.task)]
            if name is None and len({match.task for match in matches}) < 2:
                continue
            rows = _rows(of_task)
            contrasts += _corrected([_contrast(name, row, rules) for row in rows])
            found += _trends(name, rows, rules)
        trends += _corrected([trend for trend in found if trend.task is not None])
        trends += _corrected([trend for trend in found if trend.task is None])
    return tuple(contrasts), tuple(trends)


def _rows(matches: Iterable[_Match]) -> list[list[_Match]]:
    """The matches of the same arms together, by criterion, recipe and sparsity."""
    rows: list[list[_Match]] = []
    for match in matches:
        row = next((row for row in rows if match.is_of(row[0])), None)
        if row is None:
            rows.append([match])
        else:
            row.append(match)
    return sorted(rows, key=lambda row: (*row[0].kind, *row[0].split.values(), row[0].magnitude, row[0].gradient))


def _match_of(gradient: Run, arms: Iterable[Run], task: TaskScores) -> Run | None:
    """The magnitude arm, of one run of each arm, that differs from this gradient ticket only in the criterion."""
    if kind_of(gradient) != "ticket" or gradient.criterion not in GRADIENT_CRITERIA:
        return None
    for other in arms:
        # The method "gradient" with the criterion magnitude gives the same masks: the method "magnitude" is used.
        if kind_of(other) == "ticket" and other.criterion == "magnitude" and other.method != "gradient":
            alike = _rest(other) == _rest(gradient) and other.start == gradient.start
            if alike and same_split(task.split(other.arm), task.split(gradient.arm)):
                return other
    return None


def _matches(task: TaskScores, measure: Measure) -> list[_Match]:
    found = []
    arms = [task.representative(name) for name in task.runs]
    for gradient in arms:
        magnitude = _match_of(gradient, arms, task)
        if magnitude is None:
            continue
        recipe = json.dumps([dict(gradient.recipe), dict(gradient.start)], sort_keys=True)
        made = (str(gradient.criterion), task.split(gradient.arm), magnitude.arm, gradient.arm, recipe)
        match = _Match(task.task, measure, *made, task)
        if match.form is not None and match.form.gain is not None:
            found.append(match)
    return found


def _rest(run: Run) -> dict[str, object]:
    return {key: value for key, value in run.recipe.items() if key not in _GRADIENT_ONLY}


def _contrast(task: str | None, group: Sequence[_Match], rules: Verdict) -> MethodContrast:
    first, of = group[0], [match.form for match in group if match.form is not None]
    raw_low, raw_high = (None, None) if task is None else raw_bounds(of[0], rules.level)
    return MethodContrast(
        task=task,
        measure=first.measure,
        sparsity=first.split,
        magnitude=first.magnitude,
        gradient=first.gradient,
        difference=mean_difference(of),
        tasks=tuple(match.task for match in group),
        raw_difference=None if task is None else of[0].raw,
        raw_low=raw_low,
        raw_high=raw_high,
        **_tested(of, rules.level),
    )


def _tested(of: Sequence[LinearForm], level: float) -> dict[str, Any]:
    """The fields that contrasts and trends share: interval and two-sided p of the pooled difference, and its runs."""
    low, high = bounds(of, level)
    runs, test = [form.fewest for form in of], welch_test(of)
    p = None if test is None else two_sided(test)
    return {"low": low, "high": high, "p": p, "adjusted": None, "n": sum(runs), "fewest": min(runs)}


def _corrected(rows: Sequence[MethodRow]) -> list[MethodRow]:
    adjusted = holm([row.p for row in rows])
    return [replace(row, adjusted=value) for row, value in zip(rows, adjusted, strict=True)]


def _trends(task: str | None, rows: Sequence[Sequence[_Match]], rules: Verdict) -> list[MethodTrend]:
    """From the lowest to the highest sparsity, for the rows that differ in nothing else and can be ordered."""
    chains: dict[tuple[Hashable, ...], dict[float, Sequence[_Match]]] = {}
    for row in rows:
        for kind, place in kinds_of_split(row[0].split).items():
            chains.setdefault((*row[0].kind, kind), {}).setdefault(place, row)
    found = []
    for chain in chains.values():
        low, high = chain[min(chain)], chain[max(chain)]
        if max(chain) - min(chain) <= NOISE:
            continue
        at_lowest = {match.task: match for match in low}
        changes = [
            change
            for match in high
            if match.task in at_lowest and (change := _change(match, at_lowest[match.task])) is not None
        ]
        if not changes:
            continue
        found.append(
            MethodTrend(
                task=task,
                measure=high[0].measure,
                criterion=high[0].criterion,
                lowest=low[0].split,
                highest=high[0].split,
                arms=(low[0].gradient, high[0].gradient),
                change=mean_difference(changes),
                **_tested(changes, rules.level),
            )
        )
    return found


def _change(high: _Match, low: _Match) -> LinearForm | None:
    """The difference at the higher sparsity minus that at the lower."""
    return high.difference([high.gradient, low.magnitude], [high.magnitude, low.gradient])
