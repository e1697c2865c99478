"""The verdict on a study in a few sentences, which claim no more than its verdicts do."""

from collections import Counter
from collections.abc import Iterable, Sequence

from rlottery.analysis.verdict import DECISIONS, ArmVerdict, Decision, PooledVerdict, TaskVerdict, Verdicts
from rlottery.report.contents import Contents
from rlottery.report.wording import capitalised, interval_name, joined, plural, signed

MOST_NAMED = 4
"""How many arms a sentence names; of more it gives the number."""


def headline(verdicts: Verdicts, level: float) -> list[str]:
    """The verdict in sentences, the most important first; last, what makes it less reliable."""
    return [*_verdict_sentences(verdicts, level), *verdicts.deviations]


def _verdict_sentences(verdicts: Verdicts, level: float) -> list[str]:
    """The verdict over tasks if there is one, else over the verdicts on single tasks; then what limits it."""
    learned = [task for task in verdicts.tasks if task.state == "learned"]
    if not verdicts.tasks:
        return ["Nothing is decided yet: there are no runs to judge."]
    if not learned:
        return ["Nothing is decided.", *_not_learned(verdicts.tasks)]
    pooled = [arm for arm in verdicts.pooled if arm.decision is not None]
    single = [arm for task in learned for arm in task.arms if arm.decision is not None]
    if pooled:
        sentences = _pooled_sentences(pooled, level)
    elif single:
        sentences = _single_sentences(single)
    else:
        return ["Nothing is decided: no ticket has been trained with enough seeds.", *_not_learned(verdicts.tasks)]
    sentences += [
        *_interim(verdicts),
        *_power_sentences(single),
        *_not_learned(verdicts.tasks),
        *_seeds_added(verdicts),
    ]
    decisions = {arm.decision for arm in pooled} | {arm.decision for arm in single}
    positive = not decisions.isdisjoint({"winning", "matches dense, no better than random"})
    return sentences + _cautions(learned, positive=positive)


def few_failures(n: int) -> str:
    """How little a few seeds without a failure show, where runs either learn or fail."""
    return (
        f"There, {n} good results in {n} seeds say little about the failure rate: of tickets that fail one time in "
        f"ten, {100 * 0.9**n:.0f} % of studies with {plural(n, 'seed')} see no failure. A positive verdict then only "
        "says that no more failures were seen than dense agents had."
    )


def missing_line(contents: Contents) -> str | None:
    """How many problems there are; None without any."""
    number = len(contents.missing)
    if not number:
        return None
    return f"This report is incomplete: {plural(number, 'thing')} {'is' if number == 1 else 'are'} missing or failed."


def decision_counts(decisions: Iterable[Decision | None]) -> dict[Decision, int]:
    """Decision -> how often it occurs, in the order of `DECISIONS`; those that do not occur are omitted."""
    counted = Counter(decision for decision in decisions if decision is not None)
    return {decision: counted[decision] for decision in DECISIONS if counted[decision]}


def _pooled_sentences(pooled: Sequence[PooledVerdict], level: float) -> list[str]:
    numbers = sorted({len(arm.tasks) for arm in pooled})
    over = f"over {plural(numbers[0], 'task')}" if len(numbers) == 1 else f"over {numbers[0]} to {numbers[-1]} tasks"
    by = {decision: [arm for arm in pooled if arm.decision == decision] for decision in DECISIONS}
    if by["winning"]:
        sentences = [_winners(by["winning"], f"{plural(len(pooled), 'kind')} of ticket", over, level)]
    else:
        sentences = [
            f"No ticket is shown to win: of {plural(len(pooled), 'kind')}, {over}, none is shown to be both "
            "non-inferior to dense agents and better than random masks."
        ]
    parts = []
    if alike := by["matches dense, no better than random"]:
        verb = "matches" if len(alike) == 1 else "match"
        parts.append(f"{_named(arm.arm for arm in alike)} {verb} dense agents, but no better than random masks do")
    if losing := by["losing"]:
        verb = "scores" if len(losing) == 1 else "score"
        parts.append(f"{_named(arm.arm for arm in losing)} {verb} lower than dense agents")
    if undecided := by["undecided"]:
        parts.append(f"{_named(arm.arm for arm in undecided)} {'is' if len(undecided) == 1 else 'are'} undecided")
    if parts:
        sentences.append(f"{capitalised('; '.join(parts))}.")
    below = [
        f"{arm.arm} ({signed(arm.over_control[0])})"
        for arm in pooled
        if arm.over_control and (high := arm.over_control[2]) is not None and high < 0
    ]
    if below:
        sentences.append(f"Below random masks, by uncorrected {interval_name(level)}s: {joined(below)}.")
    return sentences


def _winners(winning: Sequence[PooledVerdict], of: str, over: str, level: float) -> str:
    named = [_with_differences(arm, level) for arm in winning[:MOST_NAMED]]
    if len(winning) == 1:
        return (
            f"One of {of} wins {over}: {named[0]} is non-inferior to dense agents and better than random masks with "
            "the same layer counts."
        )
    rest = len(winning) - len(named)
    more = f"; and {rest} more" if rest else ""
    return (
        f"{len(winning)} of {of} win {over}: they are non-inferior to dense agents and better than random masks with "
        f"the same layer counts. They are {'; '.join(named)}{more}."
    )


def _with_differences(arm: PooledVerdict, level: float) -> str:
    parts = []
    to_dense = None if arm.difference is None else (arm.difference, arm.low, arm.high)
    for what, bounds in (("dense", to_dense), ("random", arm.over_control)):
        if bounds is not None:
            difference, low, high = bounds
            part = f"{signed(difference)} from {what}"
            if low is not None and high is not None:
                part += f", {interval_name(level)} {signed(low)} to {signed(high)}"
            parts.append(part)
    return f"{arm.arm} ({'; '.join(parts)})" if parts else arm.arm


def _single_sentences(single: Sequence[ArmVerdict]) -> list[str]:
    counts = decision_counts(arm.decision for arm in single)
    listed = joined(f'{number} "{decision}"' for decision, number in counts.items())
    first = "No ticket is shown to be better than random masks with the same layer counts."
    if counts.get("winning"):
        first = "Tickets win on single tasks."
    return [first, f"Verdicts on single tasks: {listed}."]


def _power_sentences(single: Sequence[ArmVerdict]) -> list[str]:
    undecided = [arm for arm in single if arm.decision == "undecided"]
    if not undecided:
        return []
    known = sorted(arm.more_seeds for arm in undecided if arm.more_seeds is not None)
    are = "is" if len(undecided) == 1 else "are"
    first = f"On single tasks, {len(undecided)} of {plural(len(single), 'verdict')} {are} undecided."
    if not known:
        return [
            f"{first} At current estimates, no number of more seeds up to 100 would give 80 % power to decide them."
        ]
    seeds = f"{known[0]}" if known[0] == known[-1] else f"{known[0]} to {known[-1]}"
    more = f"At current estimates, {seeds} more {'seed' if known[-1] == 1 else 'seeds'} would give 80 % power to decide"
    if len(known) == len(undecided):
        return [f"{first} {more} {'it' if len(known) == 1 else 'them'}."]
    rest = "the other" if len(undecided) - len(known) == 1 else "the others"
    return [f"{first} {more} {len(known)} of them; for {rest}, no number up to 100 would."]


def _not_learned(tasks: Sequence[TaskVerdict]) -> list[str]:
    return [f"{task.task}: {task.why.rstrip('.')}." for task in tasks if task.state != "learned"]


def _cautions(learned: Sequence[TaskVerdict], *, positive: bool) -> list[str]:
    """The cautions in short; those at the table of verdicts have the numbers."""
    sentences = []
    tied = {task.task: [arm.arm for arm in task.arms if arm.decision and arm.measure == "area"] for task in learned}
    for task, arms in tied.items():
        if arms:
            sentences.append(
                f"On {task}, the scores of {_named(arms)} are tied with those of dense agents at the maximum, so the "
                "area under the learning curve decides: how early agents learn."
            )
    if positive and (split := [task.task for task in learned if task.bimodal is not None]):
        sentences.append(
            f"On {joined(split)}, runs of the same arm either learn or fail, so a few seeds without a failure say "
            "little about the failure rate."
        )
    if ahead := [task.task for task in learned if task.head_start is not None]:
        sentences.append(
            f"On {joined(ahead)}, pruned agents start from different scores than dense agents, and the normalised "
            "score counts that as gained by training."
        )
    return sentences


def _interim(verdicts: Verdicts) -> list[str]:
    asked = len(verdicts.seeds)
    short = [task for task in verdicts.tasks if task.state == "learned" and len(task.seeds) < asked]
    if not short:
        return []
    have = ", ".join(f"{len(task.seeds)} on {task.task}" for task in short)
    return [
        f"This is an interim result: the study asks for {plural(asked, 'seed')}, of which dense agents have finished "
        f"{have}."
    ]


def _seeds_added(verdicts: Verdicts) -> list[str]:
    if not verdicts.seeds_added:
        return []
    times = "once" if verdicts.seeds_added == 1 else f"{verdicts.seeds_added} times"
    return [
        f"Seeds were added {times} after the first run. Adding seeds after looking at results makes false claims more "
        "likely than the level says."
    ]


def _named(names: Iterable[str]) -> str:
    known = list(names)
    return joined(known) if len(known) <= MOST_NAMED else f"{len(known)} kinds ({', '.join(known)})"
