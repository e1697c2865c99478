"""The tables that answers rest on: every claim's p-values, failures, and pooled answers without single tasks."""

from collections.abc import Iterator
from dataclasses import dataclass

from rlottery.analysis.power import MOST_MORE_SEEDS
from rlottery.analysis.verdict import (
    CLAIMS,
    QUESTIONS,
    Answer,
    ArmVerdict,
    FailedRuns,
    LeftOut,
    PooledAnswer,
    PooledVerdict,
    Question,
)
from rlottery.report.answers_in_words import chip_of_word
from rlottery.report.contents import Contents
from rlottery.report.tables import (
    Cell,
    Column,
    Table,
    difference,
    make_table,
    number,
    p_cell,
    p_value,
    text,
)
from rlottery.report.verdict_tables import arm_chip, chips_cell, pooled_verdicts
from rlottery.report.wording import NOTHING, interval_name

ALL_TASKS = "all tasks"


@dataclass(frozen=True)
class _Asked:
    """A question about a ticket, on a task or over tasks."""

    arm: ArmVerdict | PooledVerdict
    question: Question

    @property
    def answer(self) -> Answer:
        return self.arm.of(self.question)

    @property
    def task(self) -> str | None:
        return self.arm.task if isinstance(self.arm, ArmVerdict) else None


@dataclass(frozen=True)
class _Rest:
    """A pooled answer without one task."""

    arm: str
    question: Question
    task: str
    without: LeftOut


def answers_table(contents: Contents) -> Table:
    """A row for every question about every ticket: on each task, then over tasks."""
    tickets = [arm for task in contents.verdicts.tasks for arm in task.arms if arm.kind == "ticket"]
    every: list[ArmVerdict | PooledVerdict] = [*tickets, *pooled_verdicts(contents)]
    columns: tuple[Column[_Asked], ...] = (
        text("Arm", "arm", lambda asked: asked.arm.arm),
        text("Task", "task", lambda asked: asked.task or ALL_TASKS),
        text("Question", "question", lambda asked: f"against {asked.question}"),
        Column("Answer", _answer_cell),
        text("Measure", "measure", _measure),
        Column("p (Holm p) of each claim", _claims_cell),
        number("From the start", "from_start", _from_start, "+.2f"),
        number("Headroom", "headroom", _headroom, ".2f"),
        Column("Detectable", _detectable, numeric=True),
        Column("More seeds", _more_seeds, numeric=True),
        Column("No failure seen", _no_failure),
        text("Why", "why", lambda asked: asked.answer.why),
    )
    caption = (
        "What each answer rests on. Measure: what is compared, the score or, where scores are tied at the maximum, the "
        "area under the learning curve. p: one-sided, of every claim that can be tested. From the start: the "
        "normalised difference with a second zero, where the agents of the arm start before training. Headroom: 1 - "
        "the normalised score of random masks. Detectable: the smallest normalised difference that this study would "
        "find with 80 % power, after correction: against random from 0, against dense from the margin. More seeds: how "
        "many would give 80 % power to answer an open question, at current estimates. No failure seen: the failure "
        "rate that these runs don't exclude and that would make the answer wrong, and the seeds without a failure that "
        "would exclude it."
    )
    rows = [_Asked(arm, question) for arm in every for question in QUESTIONS]
    return make_table("answers", caption, columns, rows)


def failure_table(contents: Contents) -> Table:
    """A row for every ticket and task with a scale: how many runs failed."""
    rows = [
        arm
        for task in contents.verdicts.tasks
        for arm in task.arms
        if arm.kind == "ticket" and arm.failures is not None
    ]
    level = contents.rules.level
    columns: tuple[Column[ArmVerdict], ...] = (
        text("Arm", "arm", lambda arm: arm.arm),
        text("Task", "task", lambda arm: arm.task),
        Column("Failed", lambda arm: _failed_cell(arm, "ticket"), numeric=True),
        Column("Rate at most", _bound_cell, numeric=True),
        Column("Dense failed", lambda arm: _failed_cell(arm, "dense"), numeric=True),
        *_failure_tests("dense"),
        Column("Random failed", lambda arm: _failed_cell(arm, "control"), numeric=True),
        *_failure_tests("random"),
    )
    caption = (
        "Failures: runs whose normalised score is below 0.5, of all runs of the ticket, of dense, and of its random "
        f"control. Rate at most: exact {100 * (1 - level):g} % upper bound of the ticket's failure rate "
        "(Clopper-Pearson). p: Fisher's exact test of whether the ticket fails more often, one-sided; Holm's "
        "correction is over all tickets and tasks."
    )
    return make_table("failures", caption, columns, rows)


def leave_one_out_table(contents: Contents) -> Table:
    """A row for every pooled answer and task: the answer without this task."""
    interval = interval_name(contents.rules.level)
    columns: tuple[Column[_Rest], ...] = (
        text("Arm", "arm", lambda rest: rest.arm),
        text("Question", "question", lambda rest: f"against {rest.question}"),
        text("Without", "without", lambda rest: rest.task),
        difference(
            f"Difference [{interval}]",
            "difference",
            lambda rest: (rest.without.difference, rest.without.low, rest.without.high),
        ),
        Column(
            "Answer",
            lambda rest: chips_cell(
                (chip_of_word(rest.without.answer, rest.question),), {"answer": rest.without.answer}
            ),
        ),
    )
    caption = (
        "Answers over tasks with one task left out: the mean of the normalised differences to dense or to random on "
        f"the other tasks, with its {interval} from two one-sided tests, and the answer that would follow."
    )
    return make_table("leave_one_out", caption, columns, _left_out(contents))


def _left_out(contents: Contents) -> Iterator[_Rest]:
    for arm in pooled_verdicts(contents):
        for question in QUESTIONS:
            for task, without in arm.of(question).without.items():
                yield _Rest(arm.arm, question, task, without)


# ------------------------------------------------------------------------------------------ Cells


def _answer_cell(asked: _Asked) -> Cell:
    compared = asked.answer.comparison
    values = {"answer": asked.answer.answer, "small": asked.answer.small, "against": compared and compared.against}
    return chips_cell((arm_chip(asked.arm, asked.question),), values)


def _measure(asked: _Asked) -> str | None:
    if isinstance(asked.answer, PooledAnswer):
        return " and ".join(sorted(set(asked.answer.measures.values()), reverse=True)) or None
    return asked.answer.measure


def _claims_cell(asked: _Asked) -> Cell:
    """``superior 0.020 (0.040); non-inferior <0.001 (<0.001)``; in CSV a column for each claim of either question."""
    p = asked.answer.comparison.p if asked.answer.comparison else {}
    adjusted = asked.answer.adjusted
    shown = []
    for claim in CLAIMS[asked.question]:
        if claim in p:
            holm = f" ({p_cell('', adjusted[claim]).text})" if claim in adjusted else ""
            shown.append(f"{claim} {p_cell('', p[claim]).text}{holm}")
    values: dict[str, float | None] = {}
    for question in QUESTIONS:
        for claim in CLAIMS[question]:
            here = question == asked.question
            name = f"{question}_{claim}".replace("-", "_")
            values |= {
                f"p_{name}": p.get(claim) if here else None,
                f"p_holm_{name}": adjusted.get(claim) if here else None,
            }
    return Cell("; ".join(shown) or NOTHING, values)


def _from_start(asked: _Asked) -> float | None:
    return asked.answer.comparison.from_start if asked.answer.comparison else None


def _headroom(asked: _Asked) -> float | None:
    return asked.arm.headroom if isinstance(asked.arm, ArmVerdict) and asked.question == "random" else None


def _detectable(asked: _Asked) -> Cell:
    least = asked.answer.detectable
    values = {"detectable": least, "raw_detectable": asked.answer.raw_detectable}
    return Cell(NOTHING if least is None else f"{least:.2f}", values)


def _more_seeds(asked: _Asked) -> Cell:
    """Sorted by the smallest possible number: more than 100 comes after every number that is known."""
    answer = asked.answer
    if answer.answer != "open" or asked.task is None:
        return Cell(NOTHING, {"more_seeds_at_least": None, "more_seeds": None})
    if answer.more_seeds is None:
        return Cell(f"over {MOST_MORE_SEEDS}", {"more_seeds_at_least": MOST_MORE_SEEDS + 1, "more_seeds": None})
    return Cell(str(answer.more_seeds), {"more_seeds_at_least": answer.more_seeds, "more_seeds": answer.more_seeds})


def _no_failure(asked: _Asked) -> Cell:
    seen = asked.answer.no_failure
    values = {"no_failure_rate": seen.rate if seen else None, "no_failure_seeds": seen.seeds if seen else None}
    if seen is None:
        return Cell(NOTHING, values)
    seeds = "over 1,000" if seen.seeds is None else str(seen.seeds)
    return Cell(f"{100 * seen.rate:.0f} %, {seeds} seeds", values)


def _failed_cell(arm: ArmVerdict, which: str) -> Cell:
    of: FailedRuns | None = getattr(arm.failures, which)
    values = {f"failed_{which}": of.failed if of else None, f"runs_{which}": of.runs if of else None}
    return Cell(NOTHING if of is None else f"{of.failed}/{of.runs}", values)


def _bound_cell(arm: ArmVerdict) -> Cell:
    bound = arm.failures.rate_at_most if arm.failures else None
    return Cell(NOTHING if bound is None else f"{100 * bound:.0f} %", {"rate_at_most": bound})


def _failure_tests(question: Question) -> tuple[Column[ArmVerdict], ...]:
    def p(arm: ArmVerdict) -> float | None:
        return arm.failures.p.get(question) if arm.failures else None

    def adjusted(arm: ArmVerdict) -> float | None:
        return arm.failures.adjusted.get(question) if arm.failures else None

    return p_value("p", f"p_{question}", p), p_value("Holm p", f"p_holm_{question}", adjusted)
