"""Consoles that print safe text alone; tables and paragraphs of any width, in which numbers and names never break."""

import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderableType, RenderResult
from rich.segment import Segment
from rich.table import Table as TerminalTable
from rich.text import Text

from rlottery.report.tables import Row, Table
from rlottery.safety.printable import on_one_line, printable

_GAP = 2
_TOGETHER = re.compile(r"(?<=\d) (?=%|seeds?\b)|(?<=seed) (?=\d)|(?<=\d:) (?=[-+\d])|(?<=p [<=]) |(?<=\bp) (?=[<=])")
"""Spaces at which no line is broken: in `80 %`, `2 seeds`, `seed 0: +0.05`, `p < 0.001`."""


class SafeConsole(Console):
    """A console whose text is `printable`. Rich passes on commands to the terminal that names and errors contain."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """The segments of anything that can be printed. Tables render their cells with this, too."""
        if isinstance(renderable, Text) and not renderable.spans:
            renderable = renderable.blank_copy(printable(renderable.plain))  # before it is wrapped
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


@dataclass(frozen=True)
class Paragraph:
    """Text that wraps between words, with its further lines indented. Rich alone would break numbers, too."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        together = _TOGETHER.sub("\N{NO-BREAK SPACE}", printable(self.text))
        lines = textwrap.wrap(together, options.max_width, subsequent_indent="  ", break_on_hyphens=False)
        yield Text("\n".join(lines).replace("\N{NO-BREAK SPACE}", " "), style=self.style)


@dataclass(frozen=True)
class FittedTable:
    """A table without its caption.

    Columns are dropped as their `expendable` says until the rest fits. If it never does, each row becomes a paragraph.
    """

    table: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        columns = self.table.columns
        for dropped in range(max((column.expendable for column in columns), default=0) + 1):
            kept = [i for i, column in enumerate(columns) if not 0 < column.expendable <= dropped]
            spare = options.max_width + _GAP - sum(self._least_width(i) + _GAP for i in kept)
            if spare >= 0:
                yield self._shown(kept, spare)
                return
        for row in self.table.rows:
            cells = (f"{column.title}: {cell}" for column, cell in zip(columns, _texts(row), strict=True))
            yield Paragraph("; ".join(cells), "bold" if row.strong else "")

    def _least_width(self, index: int) -> int:
        """The length of the column's longest cell, or of its longest word if it wraps."""
        column = self.table.columns[index]
        cells = [_texts(row)[index] for row in self.table.rows]
        parts = [word for cell in cells for word in (cell.split() if column.wraps else [cell])]
        return max([len(column.title), *map(len, parts), column.least])

    def _shown(self, kept: Sequence[int], spare: int) -> TerminalTable:
        """Columns that wrap share the spare width, from left to right."""
        shown = TerminalTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for index in kept:
            column, width = self.table.columns[index], self._least_width(index)
            more = min(spare, max((len(_texts(row)[index]) for row in self.table.rows), default=0) - width)
            if column.wraps and more > 0:
                width, spare = width + more, spare - more
            shown.add_column(column.title, justify="right" if column.numeric else "left", width=width)
        for row in self.table.rows:
            cells = [_texts(row)[index] for index in kept]
            shown.add_row(*map(Text, cells), style="bold" if row.strong else "")
        return shown


def _texts(row: Row) -> list[str]:
    return [on_one_line(cell.text) for cell in row.cells]
