"""Tables with a line for each run, which may be thousands: names stay whole, and less telling columns give way.

In a file or a pipe, every line is whole. Rich's own tables break names where a terminal is too narrow, and take ten
times as long.
"""

import textwrap
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment

from rlottery.report.terminal import Paragraph

_GAP = "  "
_UNLIMITED = 10**9
_LEAST_DETAILS = 24
"""Fewer characters are no room for details: they get lines of their own."""
_ENOUGH_FOR_SENTENCES = 40
"""Long details wrap in this many characters or more, and nothing gives way to them."""


class RunLine(NamedTuple):
    """A run and its state, in texts without line breaks."""

    task: str
    seed: str
    arm: str
    state: str
    details: str = ""


@dataclass(frozen=True)
class StateTable:
    """The states of runs, in the order of their tasks.

    If the lines don't fit, tasks become headings above their runs; then details wrap, and finally they get lines of
    their own.
    """

    rows: Sequence[RunLine]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heading, *lines = self.lines(_width(console, options))
        yield from _segments(console, heading, lines)

    def lines(self, width: int) -> Iterator[str]:
        """The heading and the lines, at most so wide where names allow it."""
        longest = max((cell_len(row.details) for row in self.rows), default=0)
        by_task = width - self._left(by_task=False) < min(longest, _ENOUGH_FOR_SENTENCES)
        room, first = width - self._left(by_task=by_task), int(by_task)
        headings = RunLine("task", "seed", "arm", "state", "details")
        yield _GAP.join(_padded(headings[first:5], self._widths[first:]))
        task = None
        for row in self.rows:
            if by_task and row.task != task:
                yield (task := row.task)
            named, details = _GAP.join(_padded(row[first:4], self._widths[first:])), row.details
            if cell_len(details) <= room:
                yield f"{named}{_GAP}{details}".rstrip()
            elif room < _LEAST_DETAILS:
                yield named.rstrip()
                yield from _wrapped(details, width, "    ")
            else:
                indent = " " * (width - room)
                wrapped = _wrapped(details, width, indent)
                yield f"{named}{_GAP}{next(wrapped).removeprefix(indent)}"
                yield from wrapped

    def _left(self, *, by_task: bool) -> int:
        """The width of the columns before the details."""
        return sum(width + len(_GAP) for width in self._widths[by_task:])

    @cached_property
    def _widths(self) -> list[int]:
        return _widths(("task", "seed", "arm", "state"), [row[:4] for row in self.rows])


@dataclass(frozen=True)
class RunTable:
    """Numbers of runs, by name.

    Attributes:
        headings: of the columns; the first has the names.
        rows: a text for each column.
        to_the_left: columns whose texts begin at the same place; those of the others end there.
        dispensable: columns that a narrow terminal does without, in this order.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    to_the_left: Collection[str]
    dispensable: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        heading, *lines = self.lines(_width(console, options))
        yield from _segments(console, heading, lines)

    def lines(self, width: int) -> Iterator[str]:
        """The heading and the lines, at most so wide where names allow it."""
        if sum(self._widths) + len(_GAP) * (len(self._widths) - 1) > width and self.dispensable:
            first, *rest = self.dispensable
            yield from self._without(first, rest).lines(width)
            return
        right = [place for place, heading in enumerate(self.headings) if heading not in self.to_the_left]
        for texts in (self.headings, *self.rows):
            yield _GAP.join(_padded(texts, self._widths, right)).rstrip()

    def _without(self, heading: str, dispensable: Sequence[str]) -> "RunTable":
        kept = [place for place, one in enumerate(self.headings) if one != heading]
        headings, *rows = ([texts[place] for place in kept] for texts in (self.headings, *self.rows))
        return replace(self, headings=headings, rows=rows, dispensable=dispensable)

    @cached_property
    def _widths(self) -> list[int]:
        return _widths(self.headings, self.rows)


@dataclass(frozen=True)
class Sentence:
    """A paragraph in a terminal; a line in a file or a pipe."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.is_terminal:
            yield Paragraph(self.text, self.style)
        else:
            yield Segment(f"{self.text}\n")


def _segments(console: Console, heading: str, lines: Sequence[str]) -> Iterator[Segment]:
    yield Segment(heading, console.get_style("dim"))
    yield Segment("".join(f"\n{line}" for line in lines) + "\n")


def _width(console: Console, options: ConsoleOptions) -> int:
    return options.max_width if console.is_terminal else _UNLIMITED


def _widths(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[int]:
    widths = [cell_len(heading) for heading in headings]
    for row in rows:
        widths = [max(width, cell_len(text)) for width, text in zip(widths, row, strict=True)]
    return widths


def _padded(texts: Sequence[str], widths: Sequence[int], right: Collection[int] = ()) -> Iterator[str]:
    """The texts in columns of these widths; those without a width as they are."""
    for place, text in enumerate(texts):
        padding = " " * (widths[place] - cell_len(text)) if place < len(widths) else ""
        yield padding + text if place in right else text + padding


def _wrapped(text: str, width: int, indent: str) -> Iterator[str]:
    """The lines of a text, between whose words they are broken."""
    yield from textwrap.wrap(
        text, width, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False, break_long_words=False
    )
