"""Tables and paragraphs on a console of any width. Numbers and names never break."""

import re
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.table import Table as TerminalTable
from rich.text import Text

from rlottery.report.tables import Table

_GAP = 2
_TOGETHER = re.compile(r"(?<=\d) (?=%|seeds?\b)|(?<=seed) (?=\d)|(?<=\d:) (?=[-+\d])|(?<=p [<=]) |(?<=\bp) (?=[<=])")
"""Spaces at which no line is broken: in `80 %`, `2 seeds`, `seed 0: +0.05`, `p < 0.001`."""


@dataclass(frozen=True)
class Paragraph:
    """Text that wraps between words, with its further lines indented. Rich alone would break numbers, too."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        together = _TOGETHER.sub("\N{NO-BREAK SPACE}", self.text)
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
            cells = (f"{column.title}: {cell.text}" for column, cell in zip(columns, row.cells, strict=True))
            yield Paragraph("; ".join(cells), "bold" if row.strong else "")

    def _least_width(self, index: int) -> int:
        """The length of the column's longest cell, or of its longest word if it wraps."""
        column = self.table.columns[index]
        cells = [row.cells[index].text for row in self.table.rows]
        parts = [word for cell in cells for word in (cell.split() if column.wraps else [cell])]
        return max([len(column.title), *map(len, parts), column.least])

    def _shown(self, kept: Sequence[int], spare: int) -> TerminalTable:
        """Columns that wrap share the spare width, from left to right."""
        shown = TerminalTable(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, header_style="dim")
        for index in kept:
            column, width = self.table.columns[index], self._least_width(index)
            more = min(spare, max((len(row.cells[index].text) for row in self.table.rows), default=0) - width)
            if column.wraps and more > 0:
                width, spare = width + more, spare - more
            shown.add_column(column.title, justify="right" if column.numeric else "left", width=width)
        for row in self.table.rows:
            cells = [row.cells[index].text for index in kept]
            shown.add_row(*map(Text, cells), style="bold" if row.strong else "")
        return shown
