"""The display while a study runs: a live table in a terminal, and plain lines elsewhere."""

import time
from collections import Counter

from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from rlottery.study.execution.executor import NOT_STARTED
from rlottery.study.planning.plan import JobState, Tracked

LINE_SECONDS = 30.0
"""How often to print a line about a running job when there is no terminal."""
DRAW_SECONDS = 1.0
"""How often to draw the live table, unless a job changes its state. Drawing takes time from the workers."""

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


def display_for(console: Console, tracked: list[Tracked]) -> "LiveTable | Lines":
    """The live table if the console is a terminal, else lines."""
    return LiveTable(console, tracked) if console.is_terminal else Lines(console, tracked)


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
            self._live.update(jobs_table(self._tracked), refresh=True)
        finally:
            self._live.stop()

    def refresh(self) -> None:
        now, states = time.monotonic(), [t.state for t in self._tracked]
        if states != self._states or now - self._drawn >= DRAW_SECONDS:
            self._drawn, self._states = now, states
            rows = self._live.console.size.height - 2
            self._live.update(jobs_table(self._tracked, rows), refresh=True)


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
        parts.append(f"{now.env_steps:,} of {now.total_steps:,} steps, {now.steps_per_second:.0f} steps/s")
        scores = zip(("return", "success"), _scores(tracked), strict=True)
        parts += [f"{name} {value}" for name, value in scores if value]
        parts.append(f"{left} left" if (left := _left(tracked)) else "")
    if tracked.state is JobState.DONE:
        parts.append(duration(tracked.seconds))
    return ", ".join(part for part in (*parts, tracked.message) if part)


def jobs_table(tracked: list[Tracked], rows: int | None = None) -> Table:
    """One line per job: state, progress, environment steps per second, last return and success, time left.

    Args:
        rows: how many lines fit. The last one counts the jobs that don't. None shows all jobs.
    """
    shown, hidden = tracked, ""
    if rows is not None and len(tracked) > rows:
        shown, hidden = _most_interesting(tracked, max(1, rows - 1))
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    for heading in ("run", "state", "progress"):
        table.add_column(heading, no_wrap=True, header_style="dim")
    for heading in ("steps/s", "return", "success", "left"):
        table.add_column(heading, no_wrap=True, justify="right", header_style="dim")
    for item in shown:
        running = item.state is JobState.RUNNING
        last = _left(item) if running else duration(item.seconds) if item.state is JobState.DONE else ""
        speed = f"{item.progress.steps_per_second:.0f}" if running and item.progress else ""
        name, state = (Text(text, style=_STYLES[item.state]) for text in (item.job.label, item.state.value))
        table.add_row(name, state, _bar(item), speed, *_scores(item), last)
    if hidden:
        table.add_row(Text(hidden, style="dim"))
    return table


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
    shown = "" if progress.last_return is None else f"{progress.last_return:,.1f}"
    return shown, "" if progress.last_success is None else f"{progress.last_success:.2f}"


def _left(tracked: Tracked) -> str:
    left = tracked.progress.seconds_left if tracked.progress else None
    return "" if left is None else duration(left)
