"""The table of runs while a study runs: one line per run, as many lines and columns as fit the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from rlottery.analysis.digits import Digits, number_formatter
from rlottery.study.durations import duration, rough_duration
from rlottery.study.execution.time_left import TimeLeft
from rlottery.study.planning.jobs import UNTRAINED
from rlottery.study.planning.plan import JobState
from rlottery.study.run_rows import Row

_STYLES = {
    JobState.RUNNING: "bold",
    JobState.FAILED: "bold red",
    JobState.DIVERGED: "bold red",
    JobState.WAITING: "dim",
    JobState.STOPPED: "yellow",
    JobState.SKIPPED: "yellow",
    JobState.DONE: "green",
    JobState.FOUND: "dim green",
}
"""How each state is shown, the most interesting first."""
_BAR_WIDTH = 10
_COLUMNS = ("run", "state", "steps/s", "return", "success", "elapsed", "left")
_TO_THE_LEFT = _COLUMNS[:2]
_DISPENSABLE = ("steps/s", "success", "return", "elapsed")
"""The columns that a narrow terminal does without, in this order."""
_USUAL_WIDTHS = {"state": _BAR_WIDTH + 5, "return": 8, "elapsed": 9, "left": 9}
_GAP = 2
"""Spaces between two columns."""


def runs_table(rows: Sequence[Row], time_left: TimeLeft, number: int | None = None, width: int | None = None) -> Table:
    """One line per run: state or progress, environment steps per second, last return and success, elapsed and left.

    Args:
        number: how many lines fit below the heading. The last one counts the runs that don't. None shows all runs.
        width: how many characters fit. Columns that don't are left out, and names are shortened. None shows everything.
    """
    shown, hidden = rows, ""
    if number is not None and len(rows) > number:
        shown, hidden = _most_interesting(rows, max(1, number - 1))
    one_task = len({row.jobs[0].job.task_index for row in rows}) == 1
    cells = [_cells(row, time_left, short=one_task) for row in shown]
    columns, longest_name = _columns_that_fit(cells, width)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in columns:
        justify: Literal["left", "right"] = "left" if heading in _TO_THE_LEFT else "right"
        table.add_column(heading, no_wrap=True, justify=justify, header_style="dim")
    for row, texts in zip(shown, cells, strict=True):
        style = _STYLES[row.state]
        name = texts["run"] if len(texts["run"]) <= longest_name else ".." + texts["run"][-max(1, longest_name - 2) :]
        styled = [Text(name, style=style), Text(texts["state"], style=style)]
        table.add_row(*styled, *(texts[heading] for heading in columns[2:]))
    if hidden:
        table.add_row(Text(hidden if width is None else hidden[:longest_name], style="dim"))
    return table


def _cells(row: Row, time_left: TimeLeft, *, short: bool) -> dict[str, str]:
    """The text of a run's line by column. `short`: without its task."""
    name = row.short_label if short else row.label
    running = row.state is JobState.RUNNING
    progress = row.current.progress if running else None
    counts_steps = progress is not None and not row.phase and row.current.job.stage != UNTRAINED
    speed = f"{progress.steps_per_second:.0f}" if counts_steps and progress is not None else ""
    elapsed = duration(row.seconds) if running or row.state is JobState.DONE else ""
    left = time_left.of(row.current) if running else None
    rough = "" if left is None else rough_duration(left)
    state = _bar(row) if running else row.state.value
    return dict(zip(_COLUMNS, (name, state, speed, *scores(row), elapsed, rough), strict=True))


def _columns_that_fit(cells: Sequence[Mapping[str, str]], width: int | None) -> tuple[list[str], int]:
    """The columns to show, and how long a name may be."""
    columns = list(_COLUMNS)
    needed = {name: max(cell_len(text) for text in (name, *(row[name] for row in cells))) for name in columns}
    if width is None:
        return columns, needed["run"]
    # Columns don't come and go while a study runs.
    needed |= {name: max(needed[name], usual) for name, usual in _USUAL_WIDTHS.items()}
    for dispensable in (*_DISPENSABLE, None):
        others = sum(needed[name] + _GAP for name in columns[1:])
        if dispensable is None or others + needed["run"] <= width:
            break
        columns.remove(dispensable)
    return columns, width - others


def _most_interesting(rows: Sequence[Row], number: int) -> tuple[list[Row], str]:
    """The runs to show when not all fit, in their order, and a count of the others."""
    by_interest = list(_STYLES)
    ranked = sorted(range(len(rows)), key=lambda index: by_interest.index(rows[index].state))
    shown, others = sorted(ranked[:number]), ranked[number:]
    counts = Counter(rows[index].state.value for index in others)
    return [rows[index] for index in shown], "and " + ", ".join(f"{n} {state}" for state, n in counts.items())


def _bar(row: Row) -> str:
    """The progress of a running row, or what it does while it makes none."""
    if row.phase or row.share is None:
        return row.phase
    filled = round(row.share * _BAR_WIDTH)
    return f"{'━' * filled}{'╌' * (_BAR_WIDTH - filled)} {row.share:4.0%}"


def scores(row: Row) -> tuple[str, str]:
    """The last return and success."""
    progress = next((t.progress for t in reversed(row.jobs) if t.progress is not None), None)
    if progress is None:
        return "", ""
    shown = "" if progress.last_return is None else return_text(progress.last_return)
    return shown, "" if progress.last_success is None else f"{progress.last_success:.2f}"


def return_text(value: float) -> str:
    """A single return: ``1,234.5``, or ``0.00333`` and ``1e+40`` where that would hide it or fill the line."""
    usual = 0.1 <= abs(value) < 1e10 or value == 0
    return Digits(1)(value) if usual else number_formatter([value])(value)
