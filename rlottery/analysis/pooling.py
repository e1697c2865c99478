"""The verdict on each kind of ticket over tasks, from the mean over tasks of its normalised differences."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rlottery.analysis.answers import Asked
from rlottery.analysis.decisions import answer_of, corrected, detected_from, is_small, p_values, reason
from rlottery.analysis.failures import no_failure_seen
from rlottery.analysis.linear_forms import LinearForm, bounds, mean_difference
from rlottery.analysis.power import detectable
from rlottery.analysis.verdict import (
    POSITIVE,
    Claim,
    Comparison,
    LeftOut,
    PooledAnswer,
    Question,
)
from rlottery.config import Verdict

_NOWHERE = "there is no task on which it could be judged"


def pool(
    question: Question,
    of_arms: Mapping[str, Mapping[str, Asked]],
    alike: Mapping[str, Sequence[str]],
    tasks: Sequence[str],
    rules: Verdict,
) -> dict[str, PooledAnswer]:
    """Arm -> the answer to a question over the tasks on which it can be asked, and there is a scale.

    Tasks have equal weights, and are fixed. Holm's correction is over the arms.

    Args:
        of_arms: arm -> task -> the question there.
        alike: arm -> the tasks on which it has the same recipe.
        tasks: all tasks of the study.
    """
    used = {arm: _used(of_task, alike[arm]) for arm, of_task in of_arms.items()}
    forms = {arm: {task: one.form for task, one in of.items() if one.form is not None} for arm, of in used.items()}
    p = {arm: p_values(question, list(of.values()), rules.margin) if of else {} for arm, of in forms.items()}
    family = sum(map(bool, p.values()))
    found = {}
    for arm, adjusted in zip(p, corrected(question, list(p.values())), strict=True):
        left_out = _left_out(of_arms[arm], used[arm], alike[arm], tasks)
        if not p[arm]:
            found[arm] = PooledAnswer(question=question, why=_NOWHERE, measure=None, left_out=left_out)
            continue
        word, of_tasks = answer_of(question, adjusted, rules.level), list(forms[arm].values())
        over = "1 task" if len(of_tasks) == 1 else f"{len(of_tasks)} tasks"
        measures = {task: one.answer.measure for task, one in used[arm].items()}
        found[arm] = PooledAnswer(
            question=question,
            answer=word,
            why=f"over {over}: {reason(question, word, p[arm], adjusted, None, rules)}",
            measure=next(iter(measures.values())) if len(set(measures.values())) == 1 else None,
            comparison=_comparison(used[arm], of_tasks, p[arm], rules.level),
            adjusted=adjusted,
            small=is_small(word, adjusted, rules.level),
            detectable=detectable(of_tasks, detected_from(question, rules.margin), rules.level / family),
            tasks=tuple(forms[arm]),
            left_out=left_out,
            measures={task: measure for task, measure in measures.items() if measure is not None},
            median=statistics.median(form.difference or 0.0 for form in of_tasks),
            without=_without(question, arm, forms[arm], p, rules),
        )
        if word in POSITIVE:
            at_risk = [one.at_risk for one in used[arm].values() if one.at_risk is not None]
            seen = no_failure_seen(at_risk, mean_difference(of_tasks), rules.margin, rules.level)
            found[arm] = replace(found[arm], no_failure=seen)
    return found


def _used(of_task: Mapping[str, Asked], alike: Sequence[str]) -> dict[str, Asked]:
    """Task -> the question, for the tasks that can be pooled."""
    return {
        task: one
        for task, one in of_task.items()
        if task in alike and one.p and one.form is not None and one.form.gain is not None and _has_scale(one)
    }


def _has_scale(one: Asked) -> bool:
    """Whether claims about the margin count."""
    return one.answer.question == "dense" or "equivalent" in (one.p or {})


def _left_out(
    of_task: Mapping[str, Asked], used: Mapping[str, Asked], alike: Sequence[str], tasks: Sequence[str]
) -> dict[str, str]:
    """Task -> why it is not in the pool."""
    found = {}
    for task in tasks:
        if task in used:
            continue
        if task not in of_task:
            found[task] = "it has no finished run there"
        elif task not in alike:
            found[task] = f"it has another recipe there than on {alike[0]}"
        else:
            found[task] = of_task[task].not_pooled if of_task[task].p else of_task[task].answer.why
    return found


def _comparison(
    used: Mapping[str, Asked], of: Sequence[LinearForm], p: Mapping[Claim, float], level: float
) -> Comparison:
    each = [one.answer.comparison for one in used.values() if one.answer.comparison is not None]
    low, high = bounds(of, level)
    return Comparison(
        against=each[0].against,
        n=sum(one.n for one in each),
        n_other=sum(one.n_other for one in each),
        difference=mean_difference(of),
        low=low,
        high=high,
        p=p,
    )


def _without(
    question: Question,
    arm: str,
    forms: Mapping[str, LinearForm],
    p: Mapping[str, Mapping[Claim, float]],
    rules: Verdict,
) -> dict[str, LeftOut]:
    """Task -> the answer without it, next to the same answers about other arms."""
    if len(forms) < 2:
        return {}
    found = {}
    place = list(p).index(arm)
    for task in forms:
        rest = [form for name, form in forms.items() if name != task]
        changed = {**p, arm: p_values(question, rest, rules.margin)}
        adjusted = corrected(question, list(changed.values()))[place]
        low, high = bounds(rest, rules.level)
        found[task] = LeftOut(mean_difference(rest), low, high, answer_of(question, adjusted, rules.level))
    return found
