"""Consoles that print safe text alone; tables and paragraphs of any width, in which numbers and names never break."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table as TerminalTable
from rich.text import Text

from rlottery.report.wording import unbroken
from rlottery.safety.printable import on_one_line, printable

if TYPE_CHECKING:
    from rlottery.report.tables import Row, Table

LIVE_WIDTH = 60
"""Narrowest terminal in which a table of runs is drawn."""
_GAP = 2
_UNKNOWN_WIDTH = 80


class SafeConsole(Console):
    """A console whose text is `printable`. Rich passes on commands to the terminal that names and errors contain."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The segments of anything that can be printed. Tables render their cells with this, too."""
        if isinstance(renderable, Text) and not renderable.spans:
            renderable = renderable.blank_copy(printable(renderable.plain))  # before it is wrapped
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def terminal(least_width: int = 40) -> Console:
    """A console on standard output that is at least this wide. Narrower, tables fall apart; a terminal wraps lines."""
    console = SafeConsole()
    if console.width < 1:  # COLUMNS=0: unknown
        console.width = _UNKNOWN_WIDTH
    elif console.width < least_width:
        console.width = least_width
    return console


@dataclass(frozen=True)
class Paragraph:
    """Text that wraps between words, with its further lines indented. Rich alone would break numbers, too."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        together = unbroken(printable(self.text))
        lines = textwrap.wrap(together, options.max_width, subsequent_indent="  ", break_on_hyphens=False)
        yield Text("\n".join(lines).replace("\N{NO-BREAK SPACE}", " "), style=self.style)


@dataclass(frozen=True)
class FittedTable:
    """A table without its caption.

    Columns are dropped as their `expendable` says until the rest fits. If it never does, each row becomes a paragraph.
    """

    table: "Table"

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if (kept := self.columns_for(options.max_width)) is not None:
            yield self._shown(kept, options.max_width - self._width(kept))
            return
        for row in self.table.rows:
            titles = (" ".join(column.title.split()) for column in self.table.columns)
            cells = (f"{title}: {cell}" for title, cell in zip(titles, _texts(row), strict=True))
            yield Paragraph("; ".join(cells), "bold" if row.strong else "")

    def columns_for(self, width: int) -> list[int] | None:
        """The places of the columns that are shown on so many characters; None if each row becomes a paragraph."""
        columns = self.table.columns
        for dropped in range(max((column.expendable for column in columns), default=0) + 1):
            kept = [i for i, column in enumerate(columns) if not 0 < column.expendable <= dropped]
            if self._width(kept) <= width:
                return kept
        return None

    def _width(self, kept: Sequence[int]) -> int:
        return sum(self._least_widths[i] + _GAP for i in kept) - _GAP

    @cached_property
    def _least_widths(self) -> list[int]:
        """For each column, the length of its longest cell, or of its longest word if it wraps."""
        rows = [_texts(row) for row in self.table.rows]
        widths = []
        for index, column in enumerate(self.table.columns):
            parts = [word for row in rows for word in (row[index].split() if column.wraps else [row[index]])]
            widths.append(max([*map(len, column.title.split("\n")), *map(len, parts), column.least]))
        return widths

    def _shown(self, kept: Sequence[int], spare: int) -> TerminalTable:
        """Columns that wrap share the spare width, from left to right."""
        shown = TerminalTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for index in kept:
            column, width = self.table.columns[index], self._least_widths[index]
            more = min(spare, max((len(_texts(row)[index]) for row in self.table.rows), default=0) - width)
            if column.wraps and more > 0:
                width, spare = width + more, spare - more
            shown.add_column(column.title, justify="right" if column.numeric else "left", width=width)
        for row in self.table.rows:
            cells = [_texts(row)[index] for index in kept]
            shown.add_row(*map(Text, cells), style="bold" if row.strong else "")
        return shown


def _texts(row: "Row") -> list[str]:
    return [on_one_line(cell.text) for cell in row.cells]
