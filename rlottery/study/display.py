"""The display while a study runs: a live table in a terminal, and plain lines elsewhere."""

import time
from collections.abc import Sequence

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from rlottery.report.terminal import LIVE_WIDTH
from rlottery.report.wording import few
from rlottery.study.durations import duration, rough_duration
from rlottery.study.execution.executor import ENDED_BADLY, NOT_STARTED
from rlottery.study.execution.time_left import TimeLeft
from rlottery.study.planning.plan import JobState, Tracked
from rlottery.study.run_rows import Row, rows_of, tally
from rlottery.study.runs_table import runs_table, scores

LINE_SECONDS = 30.0
LINE_SHARE = 0.25
MOST_LINE_SECONDS = 600.0
"""Without a terminal, a line about the whole study follows the last line after half a minute; or after a quarter of
the elapsed time if that is longer, at most ten minutes."""
DRAW_SECONDS = 1.0
"""How often to draw the live table, unless a run changes its state. Drawing takes time from the workers."""
PAUSES = 20.0
"""After a drawing, the next one waits so many times as long as that one took: studies may have thousands of runs."""


def display_for(console: Console, tracked: list[Tracked], time_left: TimeLeft) -> "LiveTable | Lines":
    """The live table if the console is a terminal that can redraw it and is wide enough, else lines."""
    live = console.is_interactive and console.width >= LIVE_WIDTH
    return LiveTable(console, tracked, time_left) if live else Lines(console, tracked, time_left)


class Overall:
    """A line about all runs of a command."""

    def __init__(self, rows: Sequence[Row], time_left: TimeLeft):
        self._rows, self._time_left, self._began = rows, time_left, time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the runs began."""
        return time.monotonic() - self._began

    @property
    def is_over(self) -> bool:
        """Whether no row is waiting or running."""
        return all(row.state not in (JobState.WAITING, JobState.RUNNING) for row in self._rows)

    def line(self) -> str:
        """``3 of 22 runs done, 4 min 5 s elapsed, about 12 min left``; no time left while it can't be estimated."""
        left = self._time_left.seconds()
        parts = [tally(self._rows), f"{duration(self.seconds)} elapsed"]
        return ", ".join([*parts, f"about {rough_duration(left)} left"] if left is not None else parts)

    def last_line(self) -> str:
        """``After 16 min 10 s: 22 of 22 runs done.``"""
        return f"After {duration(self.seconds)}: {tally(self._rows)}."


class LiveTable:
    """One line per run, updated in place, and a line about all. Runs that don't fit the terminal are counted.

    The end leaves the last line alone: `ending_lines` says what went wrong, and other tables say what came out.

    Attributes:
        has_said: whether the messages of the jobs have been shown.
    """

    has_said = False

    def __init__(self, console: Console, tracked: list[Tracked], time_left: TimeLeft):
        self._tracked, self._time_left, self._rows = tracked, time_left, rows_of(tracked)
        self._overall = Overall(self._rows, time_left)
        self._live = Live(console=console, auto_refresh=False)
        self._drawn, self._pause = -DRAW_SECONDS, 0.0
        self._states: list[JobState] = []

    def __enter__(self) -> "LiveTable":
        self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self._live.update(Text(self._overall.last_line()), refresh=True)
        finally:
            self._live.stop()

    def refresh(self) -> None:
        self._time_left.look()
        now, states = time.monotonic(), [t.state for t in self._tracked]
        if now - self._drawn >= (DRAW_SECONDS if states == self._states else 0.0) + self._pause:
            self._drawn, self._states = now, states
            size = self._live.console.size
            rows = size.height - 4  # the heading, two lines below, and the cursor's
            table = runs_table(self._rows, self._time_left, rows, size.width)
            self._live.update(Group(table, "", Text(self._overall.line(), style="bold")), refresh=True)
            self._pause = PAUSES * (time.monotonic() - now)


class Lines:
    """A plain line when a run has ended, and at intervals one about all runs.

    Attributes:
        has_said: whether the messages of the jobs have been shown.
    """

    has_said = True

    def __init__(self, console: Console, tracked: list[Tracked], time_left: TimeLeft):
        self._console, self._time_left, self._rows = console, time_left, rows_of(tracked)
        self._tracked, self._seen = tracked, [(t.state, "") for t in tracked]
        self._places = {id(t): index for index, row in enumerate(self._rows) for t in row.jobs}
        self._overall = Overall(self._rows, time_left)
        self._states = [row.state for row in self._rows]
        self._messages = [""] * len(self._rows)
        self._printed: float | None = None

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *exception: object) -> None:
        for line in self._changes():
            self._print(line)
        self._print(self._overall.last_line())

    def refresh(self) -> None:
        self._time_left.look()
        if changes := self._changes():
            if not self._overall.is_over:
                if "\n" in changes[-1]:  # the path of a log
                    changes.append(self._overall.line())
                else:
                    changes[-1] += f". {self._overall.line()}"
            for line in changes:
                self._print(line)
        elif self._is_due():
            running = few(_where(row) for row in self._rows if row.state is JobState.RUNNING)
            self._print(f"{self._overall.line()}{f'; running: {running}' if running else ''}")

    def _is_due(self) -> bool:
        if self._printed is None:
            return any(row.state is JobState.RUNNING for row in self._rows)
        pause = min(max(LINE_SECONDS, LINE_SHARE * self._overall.seconds), MOST_LINE_SECONDS)
        return time.monotonic() - self._printed >= pause

    def _changes(self) -> list[str]:
        """A line for each row that has ended since the last call. Rows that one failure prevents share a line."""
        lines: list[str] = []
        skipped: dict[str, list[str]] = {}
        for index in self._changed_rows():
            row = self._rows[index]
            state, message = row.state, row.current.message
            changed, self._states[index] = state is not self._states[index], state
            new, self._messages[index] = message != self._messages[index], message
            if changed and state is JobState.SKIPPED and message != NOT_STARTED:
                skipped.setdefault(message, []).append(row.label)
            elif changed and (state is JobState.DONE or state in ENDED_BADLY) and message != NOT_STARTED:
                lines.append(ended_line(row))
            elif new and message and state in (JobState.WAITING, JobState.RUNNING):
                lines.append(f"{row.label}: {message}")
        return lines + [f"{few(labels)}: {_bad_end(JobState.SKIPPED, why)}" for why, labels in skipped.items()]

    def _changed_rows(self) -> list[int]:
        """The rows with a job whose state or message has changed since the last call, in order."""
        changed = set()
        for index, item in enumerate(self._tracked):
            if (seen := (item.state, item.message)) != self._seen[index]:
                self._seen[index] = seen
                changed.add(self._places[id(item)])
        return sorted(changed)

    def _print(self, line: str) -> None:
        self._printed = time.monotonic()
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)


def ended_line(row: Row) -> str:
    """A run that has ended, as a plain line: ``reach-v3 seed 0 dense: done in 3 min 10 s, return 4,210.5``."""
    if row.state is not JobState.DONE:
        return f"{row.label}: {_bad_end(row.state, row.current.message)}"
    shown = [f"{name} {value}" for name, value in zip(("return", "success"), scores(row), strict=True) if value]
    return f"{row.label}: {', '.join([f'done in {duration(row.seconds)}', *shown, *_messages(row)])}"


def ending_lines(tracked: Sequence[Tracked], *, has_said: bool) -> list[str]:
    """What there is to say about runs when all have ended: why some did not end well, once for each reason.

    Args:
        has_said: whether the messages have been shown already. Then the lines only name the runs that failed.
    """
    whys: dict[tuple[JobState, str], list[Row]] = {}
    rows = rows_of(tracked)
    for row in rows:
        state, message = row.state, row.current.message
        if state not in ENDED_BADLY or message == NOT_STARTED or (has_said and state is JobState.SKIPPED):
            continue
        whys.setdefault((state, "see above" if has_said else message.partition("\nlog: ")[0]), []).append(row)
    lines = []
    for (state, why), of_why in whys.items():
        log = of_why[0].current.message.partition("\nlog: ")[2]
        where = f"\n  log: {log}" if log and not has_said else ""
        lines.append(f"{few(row.label for row in of_why)}: {_bad_end(state, why)}{where}")
    if not has_said:
        lines += [f"{row.label}: {line}" for row in rows if row.state is JobState.DONE for line in _messages(row)]
    return lines


def _bad_end(state: JobState, why: str) -> str:
    """``failed: boom``, ``not run, because dense failed``, ``stopped. It continues from step 1,000.``"""
    joint = {JobState.SKIPPED: ", because ", JobState.STOPPED: ". "}.get(state, ": ")
    return f"{state.value}{joint}{why}" if why else state.value


def _messages(row: Row) -> list[str]:
    return [t.message for t in row.jobs if t.message]


def _where(row: Row) -> str:
    """``reach-v3 seed 0 dense 45 %``"""
    if row.phase or row.share is None:
        return f"{row.label} ({row.phase})" if row.phase else row.label
    return f"{row.label} {100 * row.share:.0f} %"
