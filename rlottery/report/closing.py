"""The closing text of a command, for terminals: the answer, the scores, and as much else as fits one screen."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment

from rlottery.report.answer import OPTION
from rlottery.report.evidence import KEPT_OPEN
from rlottery.report.score_tables import NORMALISED
from rlottery.report.summary import Summary, TaskSummary
from rlottery.report.tables import Table
from rlottery.report.terminal import FittedTable, Paragraph
from rlottery.report.wording import NOTHING, joined, plural

LEAST_LINES = 24
"""A screen has at least so many lines. What is printed to a file is no longer."""
KEPT_FREE = 5
"""Lines of a screen that are left for what follows: why there are no videos, where the page is, and the next prompt."""
_KEY = "Normalised: 0 = the mean of untrained agents, 1 = the mean of dense agents."
_OVER_TASKS = "Normalised scores (0 = untrained, 1 = dense), means over seeds"
_ON_METHODS = " on gradient and magnitude"
_FEWEST_ROWS = 3
_PROBLEM_WIDTH = 160


@dataclass(frozen=True)
class Closing:
    """The closing text of a study.

    The answer comes first, then the scores. What is open, problems, what limits the answer and the rest of the summary
    follow, line by line as long as there is room. The last line counts what was left out.
    """

    summary: Summary

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        screen = _Screen(console, options, max(console.height, LEAST_LINES) - KEPT_FREE - 1)  # the last line
        left_out = [] if _add_fully(self.summary, screen) else _add_in_short(self.summary, screen)
        screen.end_paragraph()
        for noun, style, lines in self._others():
            missing = len(lines) - screen.add_some([Paragraph(line, style) for line in lines])
            if missing and noun:
                left_out.append(f"{plural(missing, noun)}{_ON_METHODS if noun == 'line' else ''}")
        yield from screen.segments()
        if left_out:
            yield Paragraph(f"The page also has {joined(left_out)}.", "dim")

    def _others(self) -> Iterator[tuple[str, str, Sequence[str]]]:
        """What one of the lines is, or "" if they are not worth counting; their style; and the lines."""
        summary = self.summary
        asked = _advice(summary.answer)
        yield "", "", asked
        yield "more sentence", "", summary.verdict[summary.in_short :]
        yield "open answer", "", [_open(line) for line in summary.open]
        problems = [*(line for task in summary.tasks for line in task.problems), *summary.problems]
        yield "problem", "red", [textwrap.shorten(line, _PROBLEM_WIDTH, placeholder=" ...") for line in problems]
        yield "line", "", [] if asked else _of_methods(summary.answer)[summary.in_lead :]
        yield "limit", "", [f"Limit: {line}" for line in summary.limits]
        yield "contrast", "", [f"Contrast: {line}" for line in summary.contrasts]
        yield "note", "dim", [*(line for task in summary.tasks for line in task.notes), *summary.not_started]
        yield "", "dim", summary.key[1:]  # the first is below the scores


def _open(line: str) -> str:
    """What is open, without saying twice that it is."""
    said = ", the answer is open."
    return f"Open a{line[1:].replace(said, '.', 1)}" if line.startswith("A") and said in line else f"Open: {line}"


def _advice(answer: Sequence[str]) -> list[str]:
    """How to compare the two methods, if only one of them has been used."""
    asked = bool(answer) and answer[-1].startswith(OPTION)
    return [f"To compare the other method, run the same command with {answer[-1]}"] if asked else []


def _of_methods(answer: Sequence[str]) -> list[str]:
    """The answer to the question of the two methods."""
    return [
        f"Gradient and magnitude: {line[:1].lower()}{line[1:]}" if n == 0 else line for n, line in enumerate(answer)
    ]


class _Screen:
    """Lines that have been rendered for a console, up to a number of them."""

    def __init__(self, console: Console, options: ConsoleOptions, most: int):
        self._console, self._options, self._most = console, options, most
        self._lines: list[list[Segment]] = []
        self._paragraph_ended = False

    @property
    def width(self) -> int:
        return self._options.max_width

    @property
    def room(self) -> int:
        """How many lines are left."""
        return self._most - len(self._lines)

    def height(self, *parts: RenderableType) -> int:
        return sum(len(self._rendered(part)) for part in parts)

    def add(self, *parts: RenderableType) -> None:
        """Add parts, whether there is room for them or not."""
        for part in parts:
            self._lines += self._rendered(part)

    def end_paragraph(self) -> None:
        """Let a blank line come before the next part, if there is one."""
        self._paragraph_ended = bool(self._lines)

    def add_some(self, parts: Sequence[RenderableType]) -> int:
        """Add parts as long as there is room. Returns how many."""
        for number, part in enumerate(parts):
            rendered = self._rendered(part)
            if self._paragraph_ended:
                rendered = [[], *rendered]
            if len(rendered) > self.room:
                return number
            self._lines += rendered
            self._paragraph_ended = False
        return len(parts)

    def segments(self) -> Iterator[Segment]:
        for line in self._lines:
            yield from line
            yield Segment.line()

    def _rendered(self, part: RenderableType) -> list[list[Segment]]:
        return self._console.render_lines(part, self._options, pad=False)


def _scores(summary: Summary) -> list[RenderableType]:
    """The scores of each task, and what normalised means."""
    parts: list[RenderableType] = []
    for task in summary.tasks:
        what = f"{task.task}: {task.measured[:1].lower()}{task.measured[1:]}"
        parts += ["", Paragraph(what, "dim"), FittedTable(task.table)]
    return [*parts, Paragraph(_KEY, "dim")] if any(map(_is_normalised, summary.tasks)) else parts


def _is_normalised(task: TaskSummary) -> bool:
    """Whether the table of a task has a normalised score."""
    at = [column.title for column in task.table.columns].index(NORMALISED)
    return any(row.cells[at].text != NOTHING for row in task.table.rows)


def _add_fully(summary: Summary, screen: _Screen) -> bool:
    """Add the answer and the scores of each task, if there is room; between them the numbers of the answer, if any."""
    answer, scores = Paragraph(summary.lead, "bold"), _scores(summary)
    numbers: list[RenderableType] = ["", FittedTable(summary.evidence)] if summary.evidence.rows else []
    if KEPT_OPEN in summary.evidence.caption:
        numbers.append(Paragraph(KEPT_OPEN, "dim"))
    for parts in ([answer, *numbers, *scores], [answer, *scores]):
        if screen.height(*parts) <= screen.room:
            screen.add(*parts)
            return True
    return False


def _add_in_short(summary: Summary, screen: _Screen) -> list[str]:
    """Add the answer, and as much of one table as there is room for. Returns what was left out."""
    screen.add(Paragraph(summary.lead, "bold"))
    if not summary.tasks:
        return []
    if len(summary.tasks) == 1:
        heading, table = _scores(summary)[1], summary.tasks[0].table
    else:
        heading, table = Paragraph(_OVER_TASKS, "dim"), summary.by_task
    screen.add("", heading)
    shown = _first_rows(table, screen)
    screen.add(shown)
    arms, columns = len(table.rows) - len(shown.table.rows), shown.columns_for(screen.width)
    # Tasks are the last columns, and dropped from the end.
    tasks = 0 if len(summary.tasks) == 1 or columns is None else len(table.columns) - 1 - columns[-1]
    return [plural(number, noun) for number, noun in ((arms, "more arm"), (tasks, "more task")) if number]


def _first_rows(table: Table, screen: _Screen) -> FittedTable:
    """As many of the first rows as there is room for."""
    for number in range(min(len(table.rows), screen.room), _FEWEST_ROWS, -1):
        shown = FittedTable(replace(table, rows=table.rows[:number]))
        if screen.height(shown) <= screen.room:
            return shown
    return FittedTable(replace(table, rows=table.rows[:_FEWEST_ROWS]))
