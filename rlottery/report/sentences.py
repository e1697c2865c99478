"""What a study shows, in plain sentences that claim no more than its verdicts do. For pages, Markdown and terminals."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from rlottery.analysis.verdict import (
    ArmVerdict,
    Decision,
    MethodContrast,
    MethodTrend,
    PooledVerdict,
    TaskVerdict,
    Verdicts,
)
from rlottery.report.contents import Contents
from rlottery.report.tables import MINUS
from rlottery.report.words import count, listed

QUESTION = "Is gradient better than magnitude, and more so at high sparsity?"
BOOTSTRAP = "95 % bootstrap interval"

DECISIONS: tuple[Decision, ...] = ("winning", "sparse, not special", "losing", "undecided")
MOST_NAMED = 4
"""Arms that a sentence names; of more it tells how many."""


def level_of(contents: Contents) -> float:
    """The level of the verdict's one-sided tests; 0.05 where the settings don't say."""
    return float(_rule(contents, "level", 0.05))


def least_seeds_of(contents: Contents) -> int:
    """Below how many seeds nothing is decided; 5 where the settings don't say."""
    return int(_rule(contents, "least_seeds", 5))


def margin_of(contents: Contents) -> float:
    """What a ticket may fall short of dense by and still keep up, as a share; 0.1 where the settings don't say."""
    return float(_rule(contents, "margin", 0.1))


def _rule(contents: Contents, key: str, default: float) -> float:
    verdict: Mapping[str, float] = contents.config.get("verdict") or {}
    return verdict.get(key, default)


def interval_words(level: float) -> str:
    """What both one-sided bounds make together: ``90 % interval`` at a level of 5 %."""
    return f"{100 * (1 - 2 * level):.4g} % interval"


def headline(verdicts: Verdicts, level: float = 0.05) -> list[str]:
    """The verdict in one to four sentences: over tasks if it was pooled, else over the verdicts of single tasks."""
    learned = [task for task in verdicts.tasks if task.state == "learned"]
    if not verdicts.tasks:
        return ["Nothing is decided: no run is there to judge yet."]
    if not learned:
        return ["Nothing is decided.", *_why_not(verdicts.tasks)]
    pooled = [arm for arm in verdicts.pooled if arm.decision is not None]
    single = [arm for task in learned for arm in task.arms if arm.decision is not None]
    if pooled:
        said = _pooled_sentences(pooled, level)
    elif single:
        said = _single_sentences(single)
    else:
        return ["Nothing is decided: no ticket has been trained on enough seeds.", *_why_not(verdicts.tasks)]
    said += [*_interim(verdicts), *_open_sentences(single), *_why_not(verdicts.tasks), *_added(verdicts)]
    decisions = [arm.decision for arm in pooled] + [arm.decision for arm in single]
    positive = any(decision in ("winning", "sparse, not special") for decision in decisions)
    return said + _cautions(learned, positive=positive)


def few_failures(n: int) -> str:
    """What few seeds without a failure prove where agents learn or don't."""
    return (
        f"That {n} of {n} seeds did well is little proof there: of tickets that fail one time in ten, "
        f"{100 * 0.9**n:.0f} % of studies with {n} seeds see no failure. Winning, and sparse but not special, then say "
        "that no more failures were seen than dense agents had."
    )


def answer(verdicts: Verdicts, level: float, least_seeds: int) -> list[str]:
    """Whether gradient is better than magnitude, and more so at high sparsity: the answer, then its numbers.

    Scores answer, over tasks where they were pooled; what single tasks show, and areas under the curve, is told beside.
    Intervals are of one comparison each; p-values are corrected for all of a line's kind.

    Args:
        least_seeds: with fewer differences, no comparison is said to show anything.
    """
    contrasts, trends, areas = _answering(verdicts)
    if not contrasts:
        return [
            "Not asked: no magnitude ticket and gradient ticket share a sparsity on a task that dense agents learned."
        ]
    lines = [
        _better(contrasts, level, least_seeds),
        *(_contrast_line(contrast, level, least_seeds) for contrast in contrasts),
    ]
    lines += [_trend_line(trend, level, least_seeds) for trend in trends]
    if not trends:
        lines.append("Whether the difference grows with sparsity takes pairs at two or more sparsities.")
    if single := _on_single_tasks(verdicts, contrasts, level, least_seeds):
        lines.append(single)
    if areas:
        outcome = _better(areas, level, least_seeds)
        lines.append(
            f"By the area under the curve, which tells how early agents learn: {outcome[:1].lower()}{outcome[1:]}"
        )
    return lines


def missing_line(contents: Contents) -> str | None:
    """How much is missing, failed or can't be read; None where nothing is."""
    number = len(contents.missing)
    if not number:
        return None
    return f"{count(number, 'thing')} {'is' if number == 1 else 'are'} missing from this report, or went wrong."


def decision_counts(decisions: Iterable[Decision | None]) -> dict[Decision, int]:
    """Decision -> how many, in the order of `DECISIONS`; those that don't occur are left out."""
    counted = Counter(decision for decision in decisions if decision is not None)
    return {decision: counted[decision] for decision in DECISIONS if counted[decision]}


def share_words(share: float, low: float | None, high: float | None, level: float) -> str:
    """A difference with its interval, as a share of what dense agents gained."""
    interval = "no interval" if low is None or high is None else f"{_signed(low)} to {_signed(high)}"
    named = "" if low is None or high is None else f"{interval_words(level)} "
    return f"{_signed(share)} ({named}{interval})"


def sparsity_words(sparsity: float) -> str:
    """``95 %``."""
    return f"{100 * sparsity:.4g} %"


def _pooled_sentences(pooled: Sequence[PooledVerdict], level: float) -> list[str]:
    numbers = sorted({len(arm.tasks) for arm in pooled})
    over = f"over {count(numbers[0], 'task')}" if len(numbers) == 1 else f"over {numbers[0]} to {numbers[-1]} tasks"
    by = {decision: [arm for arm in pooled if arm.decision == decision] for decision in DECISIONS}
    said = []
    if by["winning"]:
        said.append(_winners(by["winning"], f"{count(len(pooled), 'kind')} of ticket", over, level))
    else:
        said.append(
            f"No ticket is shown to win: of {count(len(pooled), 'kind')}, {over}, none is shown both to keep up with "
            "dense agents and to beat random masks."
        )
    parts = []
    if alike := by["sparse, not special"]:
        keep = "keeps" if len(alike) == 1 else "keep"
        parts.append(f"{_named(arm.arm for arm in alike)} {keep} up with dense agents, but so do random masks")
    if losing := by["losing"]:
        verb = "falls" if len(losing) == 1 else "fall"
        parts.append(f"{_named(arm.arm for arm in losing)} {verb} short of dense agents")
    if undecided := by["undecided"]:
        parts.append(f"{_named(arm.arm for arm in undecided)} {'is' if len(undecided) == 1 else 'are'} undecided")
    if parts:
        said.append(f"{_capital('; '.join(parts))}.")
    below = [
        f"{arm.arm} ({_signed(share)})"
        for arm in pooled
        if arm.over_control
        and (high := arm.over_control[2]) is not None
        and high < 0
        and (share := arm.over_control[0])
    ]
    if below:
        said.append(f"Below random masks, by {interval_words(level)}s that are not corrected: {listed(below)}.")
    return said


def _winners(winning: Sequence[PooledVerdict], of: str, over: str, level: float) -> str:
    told = [_with_shares(arm, level) for arm in winning[:MOST_NAMED]]
    if len(winning) == 1:
        return (
            f"One of {of} wins {over}: {told[0]} is not worse than dense agents and better than a random mask with the "
            "same layer counts."
        )
    rest = len(winning) - len(told)
    more = f"; and {rest} more" if rest else ""
    return (
        f"{len(winning)} of {of} win {over}, not worse than dense agents and better than random masks with the same "
        f"layer counts: {'; '.join(told)}{more}."
    )


def _single_sentences(single: Sequence[ArmVerdict]) -> list[str]:
    counts = decision_counts(arm.decision for arm in single)
    told = listed(f"{number} {decision}" for decision, number in counts.items())
    first = (
        "Tickets win on single tasks."
        if counts.get("winning")
        else "No ticket is shown to be better than a random mask with the same layer counts."
    )
    return [first, f"Of {count(len(single), 'verdict')} on single tasks: {told}."]


def _open_sentences(single: Sequence[ArmVerdict]) -> list[str]:
    undecided = [arm for arm in single if arm.decision == "undecided"]
    if not undecided:
        return []
    known = sorted(arm.further_seeds for arm in undecided if arm.further_seeds is not None)
    are = "is" if len(undecided) == 1 else "are"
    said = f"On single tasks, {len(undecided)} of {count(len(single), 'verdict')} {are} undecided"
    if not known:
        return [f"{said}, and as it looks now no number of seeds up to 100 would likely decide them."]
    seeds = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
    would = f"{seeds} further {'seed' if known[-1] == 1 else 'seeds'} would likely (80 %) decide "
    if len(known) == len(undecided):
        return [f"{said}; as it looks now, {would}{'it' if len(known) == 1 else 'them'}."]
    return [f"{said}; as it looks now, {would}{len(known)} of them, and no number up to 100 the others."]


def _why_not(tasks: Sequence[TaskVerdict]) -> list[str]:
    return [f"{task.task}: {task.why.rstrip('.')}." for task in tasks if task.state != "learned"]


def _cautions(learned: Sequence[TaskVerdict], *, positive: bool) -> list[str]:
    """What to bear in mind, in short; the notes that stand at the verdicts have the numbers."""
    said = []
    tied = {task.task: [arm.arm for arm in task.arms if arm.decision and arm.measure == "area"] for task in learned}
    for task, arms in tied.items():
        if arms:
            said.append(
                f"On {task} the scores of {_named(arms)} are tied with those of dense agents at the ceiling: there the "
                "area under the curve decides, which tells how early agents learn."
            )
    if positive and (split := [task.task for task in learned if task.two_levels is not None]):
        said.append(
            f"On {listed(split)} some runs end far below others of their arm: there few seeds without a failure prove "
            "little."
        )
    if ahead := [task.task for task in learned if task.head_start is not None]:
        said.append(
            f"On {listed(ahead)} pruned agents score otherwise than dense ones before any training, and shares of "
            "dense count that as gained."
        )
    return said


def _interim(verdicts: Verdicts) -> list[str]:
    """That seeds are still to come: what is decided now was not to be looked at yet."""
    asked = len(verdicts.seeds)
    short = [task for task in verdicts.tasks if task.state == "learned" and len(task.seeds) < asked]
    if not short:
        return []
    have = ", ".join(f"{len(task.seeds)} on {task.task}" for task in short)
    return [f"This is an interim result: of {asked} seeds that the study asks for, dense agents are done with {have}."]


def _added(verdicts: Verdicts) -> list[str]:
    if not verdicts.seeds_added:
        return []
    times = "once" if verdicts.seeds_added == 1 else f"{verdicts.seeds_added} times"
    return [
        f"Seeds were added {times} after the first run. Looking at results before adding more makes false "
        "discoveries likelier than the level says."
    ]


def _with_shares(arm: PooledVerdict, level: float) -> str:
    told = []
    if arm.share is not None:
        told.append(f"{share_words(arm.share, arm.low, arm.high, level)} against dense")
    if arm.over_control is not None:
        told.append(f"{share_words(*arm.over_control, level)} against random")
    return f"{arm.arm} ({'; '.join(told)})" if told else arm.arm


def _answering(verdicts: Verdicts) -> tuple[list[MethodContrast], list[MethodTrend], list[MethodContrast]]:
    """The contrasts that answer, their trends, and the same contrasts by area where scores answer.

    Over all tasks where they were pooled, else those of single tasks; by area where there are no scores.
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
        return f"Not decided: no comparison rests on {count(least_seeds, 'seed')} of every task."
    shown = [contrast for contrast in contrasts if _is_shown(contrast, level, least_seeds)]
    ahead, behind = [c for c in shown if c.share > 0], [c for c in shown if c.share < 0]
    if not ahead and not behind:
        if len(tested) == 1:
            return "Not shown: the one comparison shows no difference between them."
        return f"Not shown: none of {len(tested)} comparisons shows a difference between them."
    parts = []
    if ahead:
        parts.append(f"gradient is shown to be better at {_where(ahead)}")
    if behind:
        parts.append(f"magnitude is shown to be better at {_where(behind)}")
    rest = len(contrasts) - len(shown)
    other = "comparison" if rest == 1 else f"{rest} comparisons"
    tail = f"; in the other {other} no difference is shown" if rest else ""
    return f"{_capital(' and '.join(parts))}{tail}."


def _on_single_tasks(
    verdicts: Verdicts, chosen: Sequence[MethodContrast], level: float, least_seeds: int
) -> str | None:
    """What scores show on single tasks, where the answer is about all of them."""
    if chosen[0].task is not None:
        return None
    single = [row for row in verdicts.methods if row.task is not None and row.measure == chosen[0].measure]
    shown = [row for row in single if _is_shown(row, level, least_seeds)]
    if not shown:
        return None
    said = [
        f"{row.gradient} {MINUS} {row.magnitude} = {_signed(row.share)} on {row.task} ({p_words(row.adjusted or 0.0)})"
        for row in shown
    ]
    return f"Shown on single tasks, corrected within each: {'; '.join(said)}."


def _where(contrasts: Sequence[MethodContrast]) -> str:
    return listed(
        dict.fromkeys(sparsity_words(c.sparsity) + (f" on {c.task}" if c.task is not None else "") for c in contrasts)
    )


def _contrast_line(contrast: MethodContrast, level: float, least_seeds: int) -> str:
    where = f"{contrast.task}, " if contrast.task is not None else ""
    return (
        f"{where}{sparsity_words(contrast.sparsity)} pruned: {contrast.gradient} {MINUS} {contrast.magnitude} = "
        f"{share_words(contrast.share, contrast.low, contrast.high, level)} of what dense agents gained"
        f"{_by(contrast.measure)}; n = {contrast.n}, {_tested(contrast, least_seeds)}."
    )


def _trend_line(trend: MethodTrend, level: float, least_seeds: int) -> str:
    where = f"On {trend.task}, " if trend.task is not None else ""
    shown = _is_shown(trend, level, least_seeds)
    if shown and trend.change > 0:
        said = f"{trend.criterion}'s advantage over magnitude grows with sparsity"
    elif shown and trend.change < 0:
        said = f"{trend.criterion}'s advantage over magnitude shrinks with sparsity"
    else:
        said = f"that {trend.criterion}'s advantage over magnitude grows with sparsity is not shown"
    tested = _tested(trend, least_seeds, corrected=trend.adjusted != trend.p)
    change = share_words(trend.change, trend.low, trend.high, level)
    span = f"from {sparsity_words(trend.lowest)} to {sparsity_words(trend.highest)}"
    gained = f"of what dense agents gained{_by(trend.measure)}"
    return f"{_capital(where + said)}: {span} the difference changes by {change} {gained}; n = {trend.n}, {tested}."


def _is_shown(row: MethodContrast | MethodTrend, level: float, least_seeds: int) -> bool:
    return row.adjusted is not None and row.adjusted <= level and row.fewest >= least_seeds


def _tested(row: MethodContrast | MethodTrend, least_seeds: int, *, corrected: bool = True) -> str:
    if row.fewest < least_seeds:
        return f"too few for a test, which takes {least_seeds} of every task"
    if row.adjusted is None:
        return "no test"
    return f"Holm-corrected {p_words(row.adjusted)}" if corrected else p_words(row.adjusted)


def _by(measure: str) -> str:
    return " (area under the curve)" if measure == "area" else ""


def p_words(p: float) -> str:
    """``p = 0.04``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def _signed(value: float) -> str:
    rounded = round(value, 2) + 0.0
    return f"{rounded:+.2f}".replace("-", MINUS) if rounded else "0.00"


def _named(names: Iterable[str]) -> str:
    known = list(names)
    return listed(known) if len(known) <= MOST_NAMED else f"{len(known)} kinds ({', '.join(known)})"


def _capital(text: str) -> str:
    # Names of arms stay as they are written.
    return text if any(letter.isdigit() for letter in text.split(" ")[0]) else text[:1].upper() + text[1:]
