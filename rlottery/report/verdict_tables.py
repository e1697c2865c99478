"""The tables of verdicts: at a glance, on each task, and over tasks. Both answers are in each."""

import statistics
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from rlottery.analysis.digits import Digits
from rlottery.analysis.splits import Split, is_uniform
from rlottery.analysis.verdict import QUESTIONS, Answer, ArmVerdict, Claim, PooledAnswer, PooledVerdict, Question
from rlottery.report.answers_in_words import WINNING, Chip, chip
from rlottery.report.arm_styles import Look
from rlottery.report.contents import Contents
from rlottery.report.tables import (
    Bounded,
    Cell,
    Column,
    Table,
    difference,
    make_table,
    normalised,
    p_cell,
    raw_difference,
    text,
)
from rlottery.report.wording import NOTHING, interval_name, joined, sparsity_text

_NOWHERE: Bounded = (None, None, None)
Item = TypeVar("Item")


def verdict_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """A row for every arm and task but the dense arm. Controls are compared with dense, but not judged."""
    interval = interval_name(contents.rules.level)
    sparsities = _nominal_sparsities(looks)
    arms = [arm for task in contents.verdicts.tasks for arm in task.arms]
    columns: list[Column[ArmVerdict]] = [
        Column("Arm", lambda arm: _arm_cell(arm, looks)),
        *([text("Task", "task", lambda arm: arm.task)] if len(contents.verdicts.tasks) > 1 else []),
        *([sparsity_column(looks)] if len({sparsities.get(arm.arm) for arm in arms}) > 1 else []),
        answer_column("dense"),
        answer_column("random"),
        _raw_column(f"To random [{interval}]", "random", contents),
        _raw_column(f"To dense [{interval}]", "dense", contents),
        difference(f"Over random, normalised [{interval}]", "over_control", lambda arm: normalised_bounds(arm.random)),
        normalised(f"Normalised score [{interval}]", "normalised", lambda arm: normalised_bounds(arm.dense)),
        holm_column("random"),
        holm_column("dense"),
        Column("Runs", _runs, numeric=True),
    ]
    caption = (
        "Tickets have two answers; controls are compared with dense agents, but not judged. To random, to dense: the "
        "arm's mean minus that of its random control, which keeps as many weights in every layer, and minus that of "
        "dense agents. Both are in the unit of the score, or of the area under the learning curve where scores are "
        "tied at the maximum (the table of answers, below, says where). Over random, normalised: the difference to "
        "random, as a share of what dense agents gain by training. Normalised score: 0 is untrained, 1 is dense; its "
        f"interval is that of the difference to dense agents. In brackets: the {interval} from two one-sided tests, "
        "not corrected. Holm p, first against random, then against dense: of the claim in parentheses, which is the "
        "answer or, if that is open, the claim with the smallest (one-sided Welch tests, corrected over all tickets "
        f"{'and tasks' if len(contents.verdicts.tasks) > 1 else 'of the study'}). Runs: of the arm, or, where they "
        "differ, of the arm, of dense agents and of its random control."
    )
    return make_table(
        "verdicts",
        caption,
        columns,
        arms,
        tags=lambda arm: {
            "task": arm.task,
            "kind": family(arm.arm, looks),
            "sparsity": sparsities.get(arm.arm, ""),
            "dense": arm_chip(arm, "dense").words,
            "random": arm_chip(arm, "random").words,
        },
    )


def pooled_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """A row for every kind of ticket, over all tasks where its questions can be asked; empty with a single task."""
    interval = interval_name(contents.rules.level)
    columns: tuple[Column[PooledVerdict], ...] = (
        text("Arm", "arm", lambda arm: arm.arm),
        sparsity_column(looks),
        answer_column("dense"),
        answer_column("random"),
        normalised(f"Normalised score [{interval}]", "normalised", lambda arm: normalised_bounds(arm.dense)),
        median_column("Median", "normalised_median", lambda arm: arm.dense.median, at=1.0),
        holm_column("dense"),
        Column("Tasks", lambda arm: tasks_cell(arm.dense, "tasks"), numeric=True),
        difference(f"Over random, normalised [{interval}]", "over_control", lambda arm: normalised_bounds(arm.random)),
        median_column("Median", "over_control_median", lambda arm: arm.random.median),
        holm_column("random"),
        Column("Tasks", lambda arm: tasks_cell(arm.random, "tasks_over_control"), numeric=True),
        text("Decided by one task", "decided_by", decided_by),
    )
    caption = (
        "Both answers for each kind of ticket over tasks. Normalised score, and over random, normalised: means over "
        f"tasks, with their {interval} from two one-sided tests; median: over tasks, of the same numbers. Holm p: as "
        "in the table of single tasks, corrected over kinds of tickets. Decided by one task: without this task, the "
        "answer or the sign of the difference would be another one (the table with one task left out has the numbers)."
    )
    return make_table("verdicts_over_tasks", caption, columns, pooled_verdicts(contents))


def pooled_verdicts(contents: Contents) -> tuple[PooledVerdict, ...]:
    """The verdicts over tasks; none where there is a single task, which they would repeat."""
    return contents.verdicts.pooled if len(contents.verdicts.tasks) > 1 else ()


def glance_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """Tickets by tasks, with both answers in each cell."""
    tasks = contents.verdicts.tasks
    judged = {
        (task.task, arm.arm): arm
        for task in tasks
        for arm in task.arms
        if arm.kind == "ticket" and (arm.dense.answer or arm.random.answer)
    }
    pooled = {arm.arm: arm for arm in pooled_verdicts(contents) if arm.dense.answer or arm.random.answer}
    found = {arm for _, arm in judged} | pooled.keys()
    names = [arm for arm in looks if arm in found] + sorted(found - looks.keys())

    def answers(title: str, where: str, task: str | None) -> Column[str]:
        def cell(name: str) -> Cell:
            arm: ArmVerdict | PooledVerdict | None = pooled.get(name) if task is None else judged.get((task, name))
            values = {
                f"{where}, against {question}": arm.of(question).answer if arm else None for question in QUESTIONS
            }
            return chips_cell(() if arm is None else both_chips(arm), values)

        return Column(title, cell)

    columns: list[Column[str]] = [
        text("Ticket", "arm", lambda arm: arm),
        Column("Sparsity", lambda arm: sparsity_cell(looks.get(arm)), numeric=True),
        *([answers("All tasks", "all tasks", None)] if pooled else []),
        *(answers(task.task, task.task, task.task) for task in tasks),
    ]
    return make_table("decisions", "Both answers for each kind of ticket.", columns, names)


# ------------------------------------------------------------------------------------------ Columns


def answer_column(question: Question) -> Column[Any]:
    """The answer to a question about a ticket, with its symbol; controls are not judged."""

    def cell(arm: ArmVerdict | PooledVerdict) -> Cell:
        return chips_cell((arm_chip(arm, question),), {f"answer_{question}": arm.of(question).answer})

    return Column(f"Against {question}", cell, wraps=True)


def holm_column(question: Question) -> Column[Any]:
    """The Holm p of the claim that answers a question, else the smallest; in CSV also which claim, and its p."""

    def cell(arm: ArmVerdict | PooledVerdict) -> Cell:
        answer = arm.of(question)
        claim = claim_of(answer)
        p = answer.comparison.p.get(claim) if claim and answer.comparison else None
        shown = p_cell(f"p_holm_{question}", None if claim is None else answer.adjusted.get(claim))
        words = f"{shown.text} ({claim})" if claim and shown.text != NOTHING else shown.text
        return Cell(words, {**shown.values, f"claim_{question}": claim, f"p_{question}": p})

    return Column("Holm p", cell, numeric=True)


def median_column(title: str, name: str, of: Callable[[Item], float | None], at: float = 0.0) -> Column[Item]:
    """The median over tasks of normalised differences, or with `at` = 1 of normalised scores."""

    def cell(item: Item) -> Cell:
        median = of(item)
        if median is None:
            return Cell(NOTHING, {name: None})
        return Cell(Digits(2)(median + at, "" if at else "+"), {name: median + at})

    return Column(title, cell, numeric=True)


def sparsity_column(looks: Mapping[str, Look]) -> Column[Any]:
    """The sparsity of the arm that a row is about."""
    return Column("Sparsity", lambda row: sparsity_cell(looks.get(getattr(row, "arm", ""))), numeric=True)


def _raw_column(title: str, question: Question, contents: Contents) -> Column[ArmVerdict]:
    metrics = {task.task: task.metric for task in contents.scores}
    return raw_difference(
        title,
        f"difference_{question}",
        lambda arm: arm.of(question).comparison,
        lambda arm: metrics.get(arm.task, "return"),
    )


# ------------------------------------------------------------------------------------------ Cells


def arm_chip(arm: ArmVerdict | PooledVerdict, question: Question) -> Chip:
    """The chip of an answer; of arms that are not tickets, that they are not judged."""
    if isinstance(arm, ArmVerdict) and arm.kind != "ticket":
        return Chip("", "not judged")
    return chip(arm.of(question), question)


def both_chips(arm: ArmVerdict | PooledVerdict) -> tuple[Chip, ...]:
    """The chips of both answers; before them, that it is a winning ticket."""
    both = tuple(arm_chip(arm, question) for question in QUESTIONS)
    return (WINNING, *both) if arm.wins else both


def chips_cell(chips: tuple[Chip, ...], values: Mapping[str, Any]) -> Cell:
    """A cell of chips; in text they are joined by semicolons."""
    return Cell("; ".join(chip.words for chip in chips) or NOTHING, values, chips)


def claim_of(answer: Answer) -> Claim | None:
    """The claim that is the answer, else the one with the smallest p-value; None without a test."""
    p = answer.comparison.p if answer.comparison else {}
    if answer.answer in p:
        return next(claim for claim in p if claim == answer.answer)
    return min(p, key=lambda claim: (answer.adjusted.get(claim, 1.0), p[claim]), default=None)


def normalised_bounds(answer: Answer) -> Bounded:
    """The normalised difference with its bounds."""
    of = answer.comparison
    return _NOWHERE if of is None else (of.difference, of.low, of.high)


def tasks_cell(answer: PooledAnswer, name: str) -> Cell:
    """How many tasks a pooled answer rests on; in CSV also which, and why others are left out."""
    left_out = "; ".join(f"{task}: {why}" for task, why in answer.left_out.items()) or None
    return Cell(str(len(answer.tasks)), {name: len(answer.tasks), f"{name}_left_out": left_out})


def decided_by(arm: PooledVerdict) -> str | None:
    """The tasks without any one of which an answer, or the sign of a difference, would be another one."""
    parts = [
        f"{joined(tasks)} (against {answer.question})"
        for answer in (arm.dense, arm.random)
        if answer.answer is not None
        and (tasks := list(dict.fromkeys((*answer.answer_decided_by, *answer.sign_decided_by))))
    ]
    return "; ".join(parts) or None


def sparsity_cell(look: Look | None) -> Cell:
    return split_cell(look.split if look else {})


def split_cell(split: Split) -> Cell:
    """``90 %``, or ``90 / 50 %``; in CSV also the share of each group, and no common one where they differ."""
    common = statistics.fmean(split.values()) if split and is_uniform(split) else None
    values = {"sparsity": common} | {f"sparsity_{group}": share for group, share in split.items()}
    return Cell(sparsity_text(split) if split else NOTHING, values)


def family(arm: str, looks: Mapping[str, Look]) -> str:
    """What kind of arm it is, as the filter of the page names it."""
    return looks[arm].family if arm in looks else ""


def _arm_cell(arm: ArmVerdict, looks: Mapping[str, Look]) -> Cell:
    """The arm; in CSV also its task, kind and sparsity, which have no columns where they would not differ."""
    of = {"arm": arm.arm, "task": arm.task, "kind": family(arm.arm, looks) or None}
    return Cell(arm.arm, {**of, **sparsity_cell(looks.get(arm.arm)).values})


def _runs(arm: ArmVerdict) -> Cell:
    """``5``, or ``5, 8, 5`` where arm, dense and control have different numbers."""
    dense, random = arm.dense.comparison, arm.random.comparison
    n = (dense or random).n if dense or random else None  # type: ignore[union-attr]
    n_dense, n_control = dense.n_other if dense else None, random.n_other if random else None
    every = [known for known in (n, n_dense, n_control) if known is not None]
    shown = ", ".join(map(str, every if len(set(every)) > 1 else every[:1])) or NOTHING
    return Cell(shown, {"n": n, "n_dense": n_dense, "n_control": n_control})


def _nominal_sparsities(looks: Mapping[str, Look]) -> dict[str, str]:
    """Arm -> its sparsity as a filter names it: arms that nearly have the same sparsity share a name."""
    from rlottery.report.panels import sparsity_groups  # Matplotlib takes a second to import

    return {arm: title for title, arms in sparsity_groups(looks.values()) for arm in arms}
