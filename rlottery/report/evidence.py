"""The numbers that carry the answer: how the tickets that the headline names differ from random masks and dense."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from rlottery.analysis.digits import MINUS
from rlottery.analysis.runs import Metric
from rlottery.analysis.verdict import QUESTIONS, Difference, Measure, MethodContrast
from rlottery.report.contents import Contents
from rlottery.report.headline import Headline, Judged
from rlottery.report.tables import Cell, Column, Table, difference, make_table, raw_difference
from rlottery.report.wording import METRIC_NAMES, METRIC_TITLES, interval_name, joined


@dataclass(frozen=True)
class _Row:
    """What was compared.

    Attributes:
        names: of both arms, such as ``magnitude-90 - random-90``.
        runs: of each.
    """

    names: str
    task: str | None
    measure: Measure | None
    of: Difference
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
        Column("Runs", _runs, numeric=True, expendable=2),
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
    return make_table("evidence", caption, shown, rows)


def _of_methods(row: MethodContrast | None) -> Iterator[_Row]:
    """Gradient against magnitude."""
    if row is not None:
        yield _Row(f"{row.gradient} {MINUS} {row.magnitude}", row.task, row.measure, row.as_difference, (row.n,))


def _of_tickets(tickets: Iterable[Judged]) -> Iterator[_Row]:
    """Each ticket against random masks, and against dense agents."""
    for ticket in tickets:
        for answer in map(ticket.of, QUESTIONS[::-1]):
            of = answer.comparison
            if of is not None:
                names = f"{ticket.arm} {MINUS} {of.against}"
                yield _Row(names, ticket.task, answer.measure, of, (of.n, of.n_other))


def _compared(row: _Row, *, several: bool) -> str:
    """``magnitude-90 - random-90``; with its task where there are `several`."""
    where = f" on {row.task}" if several and row.task is not None else ""
    over = " (mean over training)" if row.measure == "area" else ""
    return f"{row.names}{where}{over}"


def _runs(row: _Row) -> Cell:
    """``5``, or ``5, 8`` where the arms have different numbers."""
    return Cell(", ".join(map(str, dict.fromkeys(row.runs))), {"n": row.runs[0], "n_other": row.runs[-1]})
