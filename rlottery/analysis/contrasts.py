"""Contrasts of arms, on each task and over tasks: those that the config registers, and defaults."""

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.default_contrasts import against_dense, default_contrasts
from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.kinds import made_alike
from rlottery.analysis.linear_forms import (
    LinearForm,
    bounds,
    linear_form,
    mean_difference,
    measured,
    two_sided,
    welch_test,
)
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.verdict import ContrastOrigin, ContrastResult, Outcome
from rlottery.config import RegisteredContrast, Verdict
from rlottery.storage.paths import DENSE


@dataclass(frozen=True)
class _Row:
    """A contrast on one task; without a form if an arm has no runs there."""

    result: ContrastResult
    form: LinearForm | None


def evaluate_contrasts(
    tasks: Sequence[TaskScores], registered: Sequence[RegisteredContrast], rules: Verdict
) -> tuple[ContrastResult, ...]:
    """Test contrasts on every task and, if several tasks have their arms and a scale, over tasks.

    Args:
        registered: those of the config, tested on every task. Without any, default contrasts compare the arms with each
            other. In both cases, random masks and dynamic arms are compared with dense. Defaults are tested on the
            tasks that have their arms.

    Returns:
        For every contrast the tasks, then the pool. Holm's correction is over all contrasts of the same origin and
        tasks; over tasks, over the contrasts.
    """
    chosen: dict[tuple[ContrastOrigin, RegisteredContrast], list[TaskScores]] = {}
    for contrast in registered:
        chosen["registered", contrast] = list(tasks)
    compared = {frozenset(contrast.arms) for contrast in registered if contrast.measure == "score"}
    for task in tasks:
        for origin, contrast in (*(() if registered else default_contrasts(task)), *against_dense(task)):
            if frozenset(contrast.arms) not in compared:
                chosen.setdefault((origin, contrast), []).append(task)
    rows = [[_on_task(origin, contrast, task, rules) for task in where] for (origin, contrast), where in chosen.items()]
    pools = [
        _over_tasks(origin, contrast, of, tasks, rules)
        for (origin, contrast), of in zip(chosen, rows, strict=True)
        if len(tasks) > 1
    ]
    single = iter(_decided([row.result for of in rows for row in of], rules.level))
    pooled = iter(_decided([pool for pool in pools if pool is not None], rules.level))
    found: list[ContrastResult] = []
    for place, of in enumerate(rows):
        found += [next(single) for _ in of]
        if pools and pools[place] is not None:
            found.append(next(pooled))
    return tuple(sorted(found, key=lambda result: _ORDER.index(result.origin)))


_ORDER: tuple[ContrastOrigin, ...] = (
    "registered",
    "ticket against control",
    "random against random",
    "dynamic against static",
    "RigL against SET",
    "against dense",
)


def _on_task(origin: ContrastOrigin, contrast: RegisteredContrast, task: TaskScores, rules: Verdict) -> _Row:
    scores = task.by(contrast.measure)
    form = linear_form(contrast.plus, contrast.minus, scores, task.scale(contrast.measure), task.resolution)
    result = ContrastResult(
        text=str(contrast),
        origin=origin,
        two_sided=contrast.two_sided,
        task=task.task,
        measure=contrast.measure,
        plus=contrast.plus,
        minus=contrast.minus,
        runs={arm: len(scores.get(arm, ())) for arm in contrast.arms},
        why=_lacking(contrast, task, scores, rules),
        tasks=(task.task,),
    )
    if form is None:
        return _Row(replace(result, tasks=()), None)
    result = replace(result, **vars(measured(form, rules.level)), p=_p_value([form], contrast))
    return _Row(result, form)


def _lacking(
    contrast: RegisteredContrast, task: TaskScores, scores: Mapping[str, Collection[float]], rules: Verdict
) -> str | None:
    """Why a contrast is not tested on a task; None if it is."""
    for arm in contrast.arms:
        found = len(scores.get(arm, ()))
        if arm not in task.runs:
            return f"{arm} has no finished run"
        if not found and contrast.measure == "area" and task.arm(arm) is not None:
            return f"{arm} has no learning curve from step 0"
        if found < rules.least_seeds:
            return f"{arm} has {found} of {rules.least_seeds} seeds that are needed"
    return None


def _over_tasks(
    origin: ContrastOrigin,
    contrast: RegisteredContrast,
    rows: Sequence[_Row],
    tasks: Sequence[TaskScores],
    rules: Verdict,
) -> ContrastResult | None:
    """The mean over tasks of the normalised differences; None with fewer than two tasks."""
    alike = {arm: {task.task for task in made_alike(tasks, arm)} for arm in contrast.arms}
    used: dict[str, _Row] = {}
    by_name = {task.task: task for task in tasks}
    left_out = {task.task: "it doesn't have these arms" for task in tasks}
    for row in rows:
        task = str(row.result.task)
        others = [arm for arm, same in alike.items() if task not in same]
        if row.result.why is not None:
            left_out[task] = row.result.why
        elif others:
            left_out[task] = f"{others[0]} has another recipe there"
        elif row.form is None or row.form.gain is None:
            left_out[task] = by_name[task].why_not_pooled(contrast.measure)
        elif row.form.fewest < rules.least_seeds:
            left_out[task] = f"{DENSE} has {row.form.fewest} of {rules.least_seeds} seeds that are needed"
        else:
            del left_out[task]
            used[task] = row
    forms = {task: row.form for task, row in used.items() if row.form is not None}
    if len(forms) < 2:
        return None
    of = list(forms.values())
    low, high = bounds(of, rules.level)
    rest = {task: [form for name, form in forms.items() if name != task] for task in forms}
    return replace(
        rows[0].result,
        task=None,
        runs={arm: sum(form.runs[arm] for form in of) for arm in contrast.arms},
        difference=mean_difference(of),
        low=low,
        high=high,
        raw_difference=None,
        raw_low=None,
        raw_high=None,
        p=_p_value(of, contrast),
        why=None,
        tasks=tuple(forms),
        left_out=left_out,
        median=statistics.median(form.difference or 0.0 for form in of),
        without={task: (mean_difference(others), *bounds(others, rules.level)) for task, others in rest.items()},
    )


def _p_value(of: Sequence[LinearForm], contrast: RegisteredContrast) -> float | None:
    test = welch_test(of)
    if test is None:
        return None
    return two_sided(test) if contrast.two_sided else test.p_above


def _decided(of: Sequence[ContrastResult], level: float) -> list[ContrastResult]:
    """The same with outcomes, after Holm's correction over the tested ones of each origin."""
    found = list(of)
    for origin in _ORDER:
        places = [place for place, one in enumerate(of) if one.origin == origin and one.why is None]
        for place, adjusted in zip(places, holm([of[place].p for place in places]), strict=True):
            if adjusted is None:
                continue
            one = of[place]
            above = (one.difference if one.raw_difference is None else one.raw_difference) or 0.0
            outcome: Outcome = "open"
            if adjusted <= level:
                outcome = "plus" if above > 0 or not one.two_sided else "minus"
            found[place] = replace(one, adjusted=adjusted, outcome=outcome)
    return found
