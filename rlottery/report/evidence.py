"""The numbers that carry the answer: how the tickets that the headline names differ from random masks and dense."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rlottery.analysis.digits import MINUS
from rlottery.analysis.runs import Metric
from rlottery.analysis.verdict import QUESTIONS, Difference, Measure
from rlottery.report.answer import MethodClaim
from rlottery.report.contents import Contents
from rlottery.report.headline import Headline, Judged
from rlottery.report.tables import Cell, Column, Table, difference, make_table, raw_difference
from rlottery.report.wording import FEW, METRIC_NAMES, METRIC_TITLES, NOTHING, interval_name, joined

_OPEN = "open"
_IN_A_WORD = {"superior": "better", "non-inferior": "as good", None: NOTHING}
"""What is shown of a ticket, where another word than that of the answer says it."""


KEPT_OPEN = "If the interval excludes 0, an answer can be open, because several are tested (Holm's correction)."
"""The end of the caption where an answer is open for this reason alone."""


@dataclass(frozen=True)
class _Row:
    """What was compared.

    Attributes:
        names: of both arms, such as ``magnitude-90 - random-90``.
        shown: of the first. kept_open: whether nothing is shown because of Holm's correction alone: the interval, which
            isn't corrected, excludes 0 on a side where the claim is about 0.
        runs: of each.
    """

    names: str
    task: str | None
    measure: Measure | None
    of: Difference
    shown: str
    kept_open: bool
    runs: tuple[int, ...]


def evidence_table(contents: Contents, of: Headline) -> Table:
    """A row for each comparison behind the headline's first sentences; few columns, for the first screen."""
    interval = interval_name(contents.rules.level)
    metrics = {task.task: task.metric for task in contents.scores}
    rows = [*_of_methods(of.methods), *_of_tickets(of.named)]
    tasks = {row.task for row in rows}
    found = dict.fromkeys(metrics[row.task] for row in rows if row.task in metrics)
    title = METRIC_TITLES[next(iter(found))] if len(found) == 1 else "Score"

    def metric(row: _Row) -> Metric:
        return metrics.get(row.task or "", "return")

    columns: list[Column[_Row]] = [
        Column("Difference", lambda row: Cell(_compared(row, several=len(tasks) > 1))),
        replace(raw_difference(f"{title}\n[{interval}]", "difference", lambda row: row.of, metric), expendable=1),
        difference(f"Normalised\n[{interval}]", "normalised", lambda row: (row.of.difference, row.of.low, row.of.high)),
        Column("Shown", lambda row: Cell(row.shown)),
    ]
    shown = [
        column
        for place, column in enumerate(columns)
        if place in (0, len(columns) - 1) or any(column.cell(row).order != "" for row in rows)
    ]
    units = [f"in {joined(METRIC_NAMES[metric] for metric in found)}"] if found else []
    units += ["in normalised score"] if any(row.of.difference is not None for row in rows) else []
    where = f" on {', '.join(map(str, tasks))}" if len(tasks) == 1 < len(metrics) and None not in tasks else ""
    caption = f"Difference {joined(units)}{where}, with its {interval}." if units else "Difference of the scores."
    if counts := sorted({n for row in rows for n in row.runs}):
        caption += f" Runs of each arm: {counts[0]}{f' to {counts[-1]}' * (len(counts) > 1)}."
    if any(row.kept_open for row in rows):
        caption += f" {KEPT_OPEN}"
    return make_table("evidence", caption, shown, rows)


def _of_methods(claim: MethodClaim | None) -> Iterator[_Row]:
    """Gradient against magnitude."""
    if claim is None:
        return
    for row in (claim.shown or claim.rows)[:FEW]:
        names, of, is_shown = f"{row.gradient} {MINUS} {row.magnitude}", row.as_difference, row in claim.shown
        shown = ("better" if row.difference > 0 else "worse") if is_shown else _OPEN
        kept_open = not is_shown and (_is_above_0(of) or _is_below_0(of))
        yield _Row(names, row.task, row.measure, of, shown, kept_open, (row.n,))


def _of_tickets(tickets: Iterable[Judged]) -> Iterator[_Row]:
    """Each ticket against random masks, and against dense agents."""
    for ticket in tickets:
        for question in QUESTIONS[::-1]:
            answer = ticket.of(question)
            if (of := answer.comparison) is None:
                continue
            names, shown = f"{ticket.arm} {MINUS} {of.against}", _IN_A_WORD.get(answer.answer, answer.answer or NOTHING)
            # "Worse than dense" takes more than a difference below 0: one below the margin.
            by_correction = _is_above_0(of) or (question == "random" and _is_below_0(of))
            kept_open = answer.answer == _OPEN and by_correction
            yield _Row(names, ticket.task, answer.measure, of, shown, kept_open, (of.n, of.n_other))


def _is_above_0(of: Difference) -> bool:
    return of.low is not None and of.low > 0


def _is_below_0(of: Difference) -> bool:
    return of.high is not None and of.high < 0


def _compared(row: _Row, *, several: bool) -> str:
    """``magnitude-90 - random-90``; with its task where there are `several`."""
    where = f" on {row.task}" if several and row.task is not None else ""
    over = " (mean over training)" if row.measure == "area" else ""
    return f"{row.names}{where}{over}"
