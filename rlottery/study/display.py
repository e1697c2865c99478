"""The display while a study runs: a live table in a terminal, and plain lines elsewhere."""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from rich.cells import cell_len
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlottery.analysis.digits import Digits, number_formatter
from rlottery.report.terminal import SafeConsole
from rlottery.storage.progress import Progress
from rlottery.study.execution.executor import NOT_STARTED
from rlottery.study.planning.jobs import UNTRAINED
from rlottery.study.planning.plan import JobState, Tracked

LINE_SECONDS = 30.0
"""How often to print a line about a running job when there is no terminal."""
DRAW_SECONDS = 1.0
"""How often to draw the live table, unless a job changes its state. Drawing takes time from the workers."""

LIVE_WIDTH = 60
"""Narrowest terminal in which the table of jobs is drawn."""
_UNKNOWN_WIDTH = 80

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
_BAR_WIDTH = 12
_COLUMNS = ("run", "state", "progress", "steps/s", "return", "success", "left")
_LEFT = _COLUMNS[:3]
_DISPENSABLE = ("steps/s", "success", "return", "progress")
"""The columns that a narrow terminal does without, in this order."""
_USUAL_WIDTHS = {"state": 7, "progress": _BAR_WIDTH + 5, "return": 8, "left": 9}
_GAP = 2
"""Spaces between two columns."""


def terminal(least_width: int = 40) -> Console:
    """A console on standard output that is at least this wide. Narrower, tables fall apart; a terminal wraps lines."""
    console = SafeConsole()
    if console.width < 1:  # COLUMNS=0: unknown
        console.width = _UNKNOWN_WIDTH
    elif console.width < least_width:
        console.width = least_width
    return console


def display_for(console: Console, tracked: list[Tracked]) -> "LiveTable | Lines":
    """The live table if the console is a terminal that can redraw it and is wide enough, else lines."""
    live = console.is_interactive and console.width >= LIVE_WIDTH
    return LiveTable(console, tracked) if live else Lines(console, tracked)


class LiveTable:
    """One line per job, updated in place. Jobs that don't fit the terminal are counted; the end shows all of them."""

    def __init__(self, console: Console, tracked: list[Tracked]):
        self._tracked = tracked
        self._live = Live(console=console, auto_refresh=False)
        self._drawn = -DRAW_SECONDS
        self._states: list[JobState] = []

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._live.update(jobs_table(self._tracked, width=self._live.console.width), refresh=True)
        finally:
            self._live.stop()

    def refresh(self) -> None:
        now, states = time.monotonic(), [t.state for t in self._tracked]
        if states != self._states or now - self._drawn >= DRAW_SECONDS:
            self._drawn, self._states = now, states
            size = self._live.console.size
            self._live.update(jobs_table(self._tracked, size.height - 2, size.width), refresh=True)


class Lines:
    """A plain line when a job changes its state, and every half minute for a running job."""

    def __init__(self, console: Console, tracked: list[Tracked]):
        self._console, self._tracked = console, tracked
        self._states = [t.state for t in tracked]
        self._printed = [0.0] * len(tracked)

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        self.refresh()

    def refresh(self) -> None:
        now = time.monotonic()
        for index, tracked in enumerate(self._tracked):
            changed = tracked.state is not self._states[index]
            due = tracked.state is JobState.RUNNING and now - self._printed[index] >= LINE_SECONDS
            # When a study is stopped, the jobs that had not started are not worth a line.
            not_started = tracked.state is JobState.SKIPPED and tracked.message == NOT_STARTED
            if (changed and not not_started) or due:
                self._states[index], self._printed[index] = tracked.state, now
                self._console.print(job_line(tracked), highlight=False, markup=False, soft_wrap=True)


def job_line(tracked: Tracked) -> str:
    """A job as a plain line."""
    parts = [f"{tracked.job.label}: {tracked.state.value}"]
    if tracked.state is JobState.RUNNING and (now := tracked.progress):
        parts.append(_speed(tracked, now))
        scores = zip(("return", "success"), _scores(tracked), strict=True)
        parts += [f"{name} {value}" for name, value in scores if value]
        parts.append(f"{left} left" if (left := _left(tracked)) else "")
    if tracked.state is JobState.DONE:
        parts.append(duration(tracked.seconds))
    return ", ".join(part for part in (*parts, tracked.message) if part)


def _speed(tracked: Tracked, now: Progress) -> str:
    if tracked.job.stage == UNTRAINED:
        return f"{now.env_steps:,} of {now.total_steps:,} policies"
    return f"{now.env_steps:,} of {now.total_steps:,} steps, {now.steps_per_second:.0f} steps/s"


def jobs_table(tracked: list[Tracked], rows: int | None = None, width: int | None = None) -> Table:
    """One line per job: state, progress, environment steps per second, last return and success, time left.

    Args:
        rows: how many lines fit. The last one counts the jobs that don't. None shows all jobs.
        width: how many characters fit. Columns that don't are left out, and names are shortened. None shows everything.
    """
    shown, hidden = tracked, ""
    if rows is not None and len(tracked) > rows:
        shown, hidden = _most_interesting(tracked, max(1, rows - 1))
    cells = [_cells(item) for item in shown]
    columns, longest_name = _columns_that_fit(cells, width)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in columns:
        justify: Literal["left", "right"] = "left" if heading in _LEFT else "right"
        table.add_column(heading, no_wrap=True, justify=justify, header_style="dim")
    for item, row in zip(shown, cells, strict=True):
        style = _STYLES[item.state]
        name = row["run"] if len(row["run"]) <= longest_name else ".." + row["run"][-max(1, longest_name - 2) :]
        texts = [Text(name, style=style), Text(row["state"], style=style)]
        table.add_row(*texts, *(row[heading] for heading in columns[2:]))
    if hidden:
        table.add_row(Text(hidden if width is None else hidden[:longest_name], style="dim"))
    return table


def _cells(item: Tracked) -> dict[str, str]:
    """The text of a job's line by column."""
    running = item.state is JobState.RUNNING
    last = _left(item) if running else duration(item.seconds) if item.state is JobState.DONE else ""
    counts_steps = running and item.job.stage != UNTRAINED
    speed = f"{item.progress.steps_per_second:.0f}" if counts_steps and item.progress else ""
    texts = (item.job.label, item.state.value, _bar(item), speed, *_scores(item), last)
    return dict(zip(_COLUMNS, texts, strict=True))


def _columns_that_fit(cells: Sequence[Mapping[str, str]], width: int | None) -> tuple[list[str], int]:
    """The columns to show, and how long a name may be."""
    columns = list(_COLUMNS)
    needed = {name: max(cell_len(text) for text in (name, *(row[name] for row in cells))) for name in columns}
    if width is not None:  # columns don't come and go while a study runs
        needed |= {name: max(needed[name], usual) for name, usual in _USUAL_WIDTHS.items()}
    if width is None:
        return columns, needed["run"]
    for dispensable in (*_DISPENSABLE, None):
        others = sum(needed[name] + _GAP for name in columns[1:])
        if dispensable is None or others + needed["run"] <= width:
            break
        columns.remove(dispensable)
    return columns, width - others


def duration(seconds: float) -> str:
    """Seconds in readable units: ``42 s``, ``3 min 10 s``, ``2 h 5 min``."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _most_interesting(tracked: list[Tracked], number: int) -> tuple[list[Tracked], str]:
    """The jobs to show when not all fit, in their order, and a count of the others."""
    by_interest = list(_STYLES)
    ranked = sorted(range(len(tracked)), key=lambda index: by_interest.index(tracked[index].state))
    shown, others = sorted(ranked[:number]), ranked[number:]
    counts = Counter(tracked[index].state.value for index in others)
    return [tracked[index] for index in shown], "and " + ", ".join(f"{n} {state}" for state, n in counts.items())


def _bar(tracked: Tracked) -> str:
    if tracked.progress is None or tracked.state is not JobState.RUNNING:
        return ""
    share = tracked.progress.env_steps / tracked.progress.total_steps
    filled = round(share * _BAR_WIDTH)
    return f"{'━' * filled}{'╌' * (_BAR_WIDTH - filled)} {share:4.0%}"


def _scores(tracked: Tracked) -> tuple[str, str]:
    progress = tracked.progress
    if progress is None:
        return "", ""
    shown = "" if progress.last_return is None else return_text(progress.last_return)
    return shown, "" if progress.last_success is None else f"{progress.last_success:.2f}"


def return_text(value: float) -> str:
    """A single return: ``1,234.5``, or ``0.00333`` and ``1e+40`` where that would hide it or fill the line."""
    usual = 0.1 <= abs(value) < 1e10 or value == 0
    return Digits(1)(value) if usual else number_formatter([value])(value)


def _left(tracked: Tracked) -> str:
    left = tracked.progress.seconds_left if tracked.progress else None
    return "" if left is None else duration(left)
