"""The answer to whether gradient is better than magnitude, and more so at high sparsity."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

from rlottery.analysis.digits import MINUS
from rlottery.analysis.kinds import GRADIENT_CRITERIA
from rlottery.analysis.verdict import ContrastResult, MethodContrast, MethodTrend, Verdicts
from rlottery.report.contents import Contents
from rlottery.report.differences_in_words import difference_text, signed
from rlottery.report.layer_counts import layer_count_lines
from rlottery.report.wording import (
    FEW,
    capitalised,
    holm_text,
    joined,
    p_text,
    plural,
    sparsity_text,
)

QUESTION = "Is gradient better than magnitude, and more so at high sparsity?"
QUESTION_AT_ONE_SPARSITY = "Is gradient better than magnitude?"
OPTION = "--pruning-method"
"""What a line that is meant to be typed begins with."""
NO_PAIR = (
    "There is nothing to compare: no magnitude ticket and gradient ticket have finished with the same sparsity on a "
    "task that the dense agents learned."
)


def answer_or_advice(contents: Contents) -> list[str]:
    """The answer; without pairs to compare, why there is none or how to get it.

    Empty for a study that lists its arms, and has no magnitude or no gradient tickets among them: it asks other
    questions.
    """
    if contents.verdicts.methods:
        told = answer(contents.verdicts, contents.rules.level, contents.rules.least_seeds)
        return [*told, *layer_count_lines(contents)]
    criteria = {task.representative(arm).criterion for task in contents.scores for arm in task.runs}
    both = "magnitude" in criteria and not criteria.isdisjoint(GRADIENT_CRITERIA)
    for task in contents.scores:
        known = {task.representative(arm.arm).criterion for arm in task.arms}
        if task.gain is None and "magnitude" in known and known.intersection(GRADIENT_CRITERIA):
            return [f"The methods can't be compared on {task.task}: {task.why_no_scale()}."]
    if both or contents.lists_arms:
        return [NO_PAIR] if both else []
    methods = {task.representative(arm).method for task in contents.scores for arm in task.runs}
    lacking = "magnitude" if "gradient" in methods and "magnitude" not in methods else "gradient"
    advice = "To compare them, train tickets of both methods at the same sparsity: run the same command with"
    return [advice, f"{OPTION} {lacking}"]


def compares_methods(contents: Contents) -> bool:
    """Whether the study has tickets of both methods, so that the question is worth a section of the page."""
    criteria = {task.representative(arm).criterion for task in contents.scores for arm in task.runs}
    return bool(contents.verdicts.methods) or ("magnitude" in criteria and not criteria.isdisjoint(GRADIENT_CRITERIA))


def question(verdicts: Verdicts) -> str:
    """The question that a study can answer: with a single sparsity, nothing is asked about the others."""
    return QUESTION if verdicts.trends else QUESTION_AT_ONE_SPARSITY


class MethodClaim(NamedTuple):
    """What a study says first of the two methods.

    Attributes:
        short: the answer in one sentence; full: with its numbers.
        rows: the comparisons that it rests on. shown: those of them that show a difference.
    """

    short: str
    full: str
    rows: tuple[MethodContrast, ...]
    shown: tuple[MethodContrast, ...]

    @property
    def row(self) -> MethodContrast | None:
        """The only comparison; None where there are several."""
        return self.rows[0] if len(self.rows) == 1 else None


def method_claim(contents: Contents) -> MethodClaim | None:
    """The answer by scores; None without a test.

    A config that lists its arms may register contrasts, and then asks its own questions: the answer is that of the
    contrasts which compare a gradient ticket with the magnitude ticket of the same recipe, and None without any.
    """
    rules, (rows, _, _), contrasts = contents.rules, _answering(contents.verdicts), contents.verdicts.contrasts
    if contents.lists_arms and any(contrast.origin == "registered" for contrast in contrasts):
        rows = list(_registered(rows, contrasts))
    shown = tuple(row for row in rows if _is_shown(row, rules.level, rules.least_seeds))
    tested = any(row.adjusted is not None and row.fewest >= rules.least_seeds for row in rows)
    if not tested or rows[0].measure != "score":
        return None
    if len(rows) > 1:
        sentence = _better(rows, rules.level, rules.least_seeds)
        if rows[0].task is None:
            sentence = f"Over {plural(len(rows[0].tasks), 'task')}, {sentence[:1].lower()}{sentence[1:]}"
        numbers = "".join(f" {_numbers(row, contents)}" for row in shown[:FEW])
        return MethodClaim(sentence, contents.wording.once(f"{sentence}{numbers}"), tuple(rows), shown)
    (row,) = rows
    where = f"On {row.task}, " if row.task is not None else f"Over {plural(len(row.tasks), 'task')}, "
    of = row.as_difference, row.task, row.measure
    if not shown:
        claim = (
            f"{where}whether gradient tickets ({row.gradient}) and magnitude tickets ({row.magnitude}) differ is open"
        )
        numbers = f"{contents.wording.signed(of)}{holm_text(row.adjusted)}"
        return MethodClaim(f"{claim}.", f"{claim} ({numbers}).", (row,), ())
    both = f"gradient tickets ({row.gradient})", f"magnitude tickets ({row.magnitude})"
    better, worse = both[:: 1 if row.difference > 0 else -1]
    claim = f"{where}{better} are better than {worse}"
    return MethodClaim(f"{claim}.", f"{claim} {contents.wording.by(of)}{holm_text(row.adjusted)}.", (row,), shown)


def _registered(rows: Iterable[MethodContrast], contrasts: Iterable[ContrastResult]) -> Iterator[MethodContrast]:
    """The rows that a registered contrast compares as well, with the p-value that the contrast has."""
    known = {
        (frozenset([*of.plus, *of.minus]), of.task, of.measure): of for of in contrasts if of.origin == "registered"
    }
    for row in rows:
        contrast = known.get((frozenset([row.gradient, row.magnitude]), row.task, row.measure))
        if contrast is not None:
            yield replace(row, adjusted=contrast.adjusted)


def _numbers(row: MethodContrast, contents: Contents) -> str:
    """``taylor-90 - magnitude-90: +0.76 [90 % interval +0.60 to +0.94] in normalised score, ... p = 0.001.``"""
    of = row.as_difference, row.task, row.measure
    where = f" on {row.task}" if row.task is not None else ""
    signed_numbers = contents.wording.signed(of)
    return f"{row.gradient} {MINUS} {row.magnitude}{where}: {signed_numbers}{holm_text(row.adjusted)}."


def answer(verdicts: Verdicts, level: float, least_seeds: int) -> list[str]:
    """The answer, then its numbers.

    It is based on scores, over all tasks if they were pooled. Results on single tasks, and areas under the learning
    curve, follow. Each interval is for one comparison; p-values are corrected over all comparisons of a kind.
    Comparisons with fewer seeds than `least_seeds` are not tested.
    """
    contrasts, trends, areas = _answering(verdicts)
    if not contrasts:
        return [NO_PAIR]
    spans = [_span(trend) for trend in trends]
    lines = [
        _better(contrasts, level, least_seeds),
        *(_contrast_line(contrast, level, least_seeds) for contrast in contrasts),
        *(_trend_line(trend, level, least_seeds, named=spans.count(_span(trend)) > 1) for trend in trends),
    ]
    if not trends:
        lines.append("To see whether the difference grows with sparsity, compare them at two or more sparsities.")
    if single := _on_single_tasks(verdicts, contrasts, level, least_seeds):
        lines.append(single)
    if areas:
        outcome = _better(areas, level, least_seeds)
        lines.append(
            f"By the area under the learning curve, which shows how early agents learn: {outcome[:1].lower()}"
            f"{outcome[1:]}"
        )
    return lines


def _answering(verdicts: Verdicts) -> tuple[list[MethodContrast], list[MethodTrend], list[MethodContrast]]:
    """The contrasts that answer and their trends; and if these are of scores, the contrasts of areas.

    Over all tasks if they were pooled, else on single tasks; by area if there are no scores.
    """

    def by(measure: str) -> list[MethodContrast]:
        found = [contrast for contrast in verdicts.methods if contrast.measure == measure]
        return [contrast for contrast in found if contrast.task is None] or found

    scores, areas = by("score"), by("area")
    chosen = scores or areas
    trends = [
        trend
        for trend in verdicts.trends
        if chosen and trend.measure == chosen[0].measure and (trend.task is None) == (chosen[0].task is None)
    ]
    return chosen, trends, areas if scores else []


def _better(contrasts: Sequence[MethodContrast], level: float, least_seeds: int) -> str:
    tested = [contrast for contrast in contrasts if contrast.adjusted is not None and contrast.fewest >= least_seeds]
    if not tested:
        return f"Not decided: no comparison has {plural(least_seeds, 'seed')} on every task."
    shown = [contrast for contrast in contrasts if _is_shown(contrast, level, least_seeds)]
    ahead, behind = [c for c in shown if c.difference > 0], [c for c in shown if c.difference < 0]
    if not ahead and not behind:
        none = "No difference between gradient and magnitude is shown"
        return f"{none}." if len(tested) == 1 else f"{none} in any of {len(tested)} comparisons."
    parts = []
    if ahead:
        parts.append(f"gradient is shown to be better than magnitude at {_where(ahead, contrasts)}")
    if behind:
        than = "" if ahead else " than gradient"
        parts.append(f"magnitude is shown to be better{than} at {_where(behind, contrasts)}")
    rest = len(contrasts) - len(shown)
    other = "comparison" if rest == 1 else f"{rest} comparisons"
    tail = f"; in the other {other} no difference is shown" if rest else ""
    return f"{capitalised(' and '.join(parts))}{tail}."


def _on_single_tasks(
    verdicts: Verdicts, chosen: Sequence[MethodContrast], level: float, least_seeds: int
) -> str | None:
    """What is shown on single tasks, if the answer is about all of them."""
    if chosen[0].task is not None:
        return None
    single = [row for row in verdicts.methods if row.task is not None and row.measure == chosen[0].measure]
    shown = [
        f"{row.gradient} {MINUS} {row.magnitude} = {signed(row.difference)} on {row.task} "
        f"({p_text(row.adjusted or 0.0)})"
        for row in single
        if _is_shown(row, level, least_seeds)
    ]
    return f"Shown on single tasks, Holm-corrected within each: {'; '.join(shown)}." if shown else None


def _where(shown: Sequence[MethodContrast], among: Sequence[MethodContrast]) -> str:
    """The sparsities and tasks of the comparisons shown; also the arms of those that would read as another one."""
    places = [_place(contrast) for contrast in among]
    return joined(
        _place(contrast) + (f" ({contrast.gradient})" if places.count(_place(contrast)) > 1 else "")
        for contrast in shown
    )


def _place(contrast: MethodContrast) -> str:
    return sparsity_text(contrast.sparsity) + (f" on {contrast.task}" if contrast.task is not None else "")


def _contrast_line(contrast: MethodContrast, level: float, least_seeds: int) -> str:
    where = f"On {contrast.task}, at" if contrast.task is not None else "At"
    return (
        f"{where} {sparsity_text(contrast.sparsity)} sparsity: {contrast.gradient} {MINUS} {contrast.magnitude} = "
        f"{difference_text(contrast.difference, contrast.low, contrast.high, level)} in normalised "
        f"{_measured(contrast.measure)}; n = {contrast.n}, {_tested(contrast, least_seeds)}."
    )


def _span(trend: MethodTrend) -> tuple[str | None, str, str, str]:
    return trend.task, trend.criterion, sparsity_text(trend.lowest), sparsity_text(trend.highest)


def _trend_line(trend: MethodTrend, level: float, least_seeds: int, *, named: bool) -> str:
    """`named`: with its arms, where another trend has the same criterion and sparsities."""
    where = f"on {trend.task}, " if trend.task is not None else ""
    shown = _is_shown(trend, level, least_seeds)
    if shown and trend.change > 0:
        outcome = f"the advantage of {trend.criterion} over magnitude grows with sparsity"
    elif shown and trend.change < 0:
        outcome = f"the advantage of {trend.criterion} over magnitude shrinks with sparsity"
    else:
        outcome = f"it is not shown that the advantage of {trend.criterion} over magnitude grows with sparsity"
    tested = _tested(trend, least_seeds, corrected=trend.adjusted != trend.p)
    change = difference_text(trend.change, trend.low, trend.high, level)
    *_, lowest, highest = _span(trend)
    low_arm, high_arm = (f" ({arm})" if named or lowest == highest else "" for arm in trend.arms)
    span = f"from {lowest}{low_arm} to {highest}{high_arm}"
    unit = f"in normalised {_measured(trend.measure)}"
    sentence = f"{where}{outcome}"
    return f"{sentence[:1].upper()}{sentence[1:]}: {span} it changes by {change} {unit}; n = {trend.n}, {tested}."


def _is_shown(row: MethodContrast | MethodTrend, level: float, least_seeds: int) -> bool:
    return row.adjusted is not None and row.adjusted <= level and row.fewest >= least_seeds


def _tested(row: MethodContrast | MethodTrend, least_seeds: int, *, corrected: bool = True) -> str:
    if row.fewest < least_seeds:
        return f"too few for a test, which needs {least_seeds} on every task"
    if row.adjusted is None:
        return "no test"
    return f"two-sided, Holm-corrected {p_text(row.adjusted)}" if corrected else f"two-sided {p_text(row.adjusted)}"


def _measured(measure: str) -> str:
    return "area under the curve" if measure == "area" else "score"
