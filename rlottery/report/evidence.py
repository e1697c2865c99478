"""The numbers that carry the answer: how the tickets that the headline names differ from random masks and dense."""

from dataclasses import dataclass

from rlottery.analysis.digits import MINUS
from rlottery.analysis.verdict import QUESTIONS, Answer, Comparison
from rlottery.report.contents import Contents
from rlottery.report.headline import Headline, Judged
from rlottery.report.tables import Cell, Column, Table, difference, make_table, raw_difference
from rlottery.report.wording import METRIC_NAMES, METRIC_TITLES, interval_name, joined


@dataclass(frozen=True)
class _Row:
    """What was compared for one question about a ticket."""

    ticket: Judged
    answer: Answer
    of: Comparison


def evidence_table(contents: Contents, of: Headline) -> Table:
    """A row for each comparison behind the headline's first sentence; few columns, for the first screen of the page."""
    interval = interval_name(contents.rules.level)
    metrics = {task.task: task.metric for task in contents.scores}
    rows = [
        _Row(ticket, answer, answer.comparison)
        for ticket in of.named
        for answer in map(ticket.of, QUESTIONS[::-1])
        if answer.comparison is not None
    ]
    found = dict.fromkeys(metrics[row.ticket.task] for row in rows if row.ticket.task in metrics)
    title = METRIC_TITLES[next(iter(found))] if len(found) == 1 else "Score"
    columns: list[Column[_Row]] = [
        Column("Difference", lambda row: Cell(_compared(row, several=len({r.ticket.task for r in rows}) > 1))),
        raw_difference(
            f"{title} [{interval}]",
            "difference",
            lambda row: row.of,
            lambda row: metrics.get(row.ticket.task or "", "return"),
        ),
        difference(f"Normalised [{interval}]", "normalised", lambda row: (row.of.difference, row.of.low, row.of.high)),
        Column("Runs", _runs, numeric=True),
    ]
    shown = [
        column
        for place, column in enumerate(columns)
        if place in (0, len(columns) - 1) or any(column.cell(row).order != "" for row in rows)
    ]
    units = [f"in {joined(METRIC_NAMES[metric] for metric in found)}"] if found else []
    units += ["in normalised score"] if any(row.of.difference is not None for row in rows) else []
    caption = f"Difference {joined(units)}, with its {interval}." if units else "Difference of the scores."
    return make_table("evidence", caption, shown, rows)


def _compared(row: _Row, *, several: bool) -> str:
    """``magnitude-90 - random-90``; with its task where there are `several`."""
    where = f" on {row.ticket.task}" if several and row.ticket.task is not None else ""
    over = " (mean over training)" if row.answer.measure == "area" else ""
    return f"{row.ticket.arm} {MINUS} {row.of.against}{where}{over}"


def _runs(row: _Row) -> Cell:
    """``5``, or ``5, 8`` where the arms have different numbers."""
    each = (row.of.n, row.of.n_other)
    return Cell(", ".join(map(str, dict.fromkeys(each))), {"n": row.of.n, "n_other": row.of.n_other})
