"""The report's tables: each made once, and told as HTML (by the page), as Markdown and as CSV."""

import csv
import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rlottery.analysis.scores import Estimate

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: as people read it.
        values: CSV column -> plain value; the first is what the cell is sorted by.
        mark: what a style may know of it, such as a decision.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    mark: str = ""

    @property
    def order(self) -> Any:
        """What the cell is sorted by: a number, or its text."""
        value = next(iter(self.values.values()), self.text)
        return "" if value is None else value


@dataclass(frozen=True)
class Column:
    """One column: its title, and whether it holds numbers."""

    title: str
    numeric: bool = False


@dataclass(frozen=True)
class Row:
    """A row; `tags` are what it can be filtered by."""

    cells: tuple[Cell, ...]
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        name: of its files.
        caption: what it shows, with units, n and interval.
        head: which column names a row.
    """

    name: str
    caption: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    head: int = 0


def to_csv(table: Table) -> str:
    """The plain values, a line for each row; what isn't known is left empty."""
    names = list(dict.fromkeys(name for row in table.rows for cell in row.cells for name in cell.values))
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(names)
    for row in table.rows:
        values = {name: value for cell in row.cells for name, value in cell.values.items()}
        writer.writerow(["" if (value := values.get(name)) is None else value for name in names])
    return stream.getvalue()


def to_markdown(table: Table) -> str:
    """The texts, under the caption."""
    lines = [_plain(table.caption), ""]
    lines.append("| " + " | ".join(_plain(column.title) for column in table.columns) + " |")
    lines.append("|" + "|".join(" --: " if column.numeric else " :-- " for column in table.columns) + "|")
    lines += ["| " + " | ".join(_plain(cell.text) for cell in row.cells) + " |" for row in table.rows]
    return "\n".join(lines) + "\n"


def text_cell(name: str, text: str) -> Cell:
    return Cell(text or NOTHING, {name: text or None})


def number_cell(name: str, value: float | None, form: str) -> Cell:
    return Cell(NOTHING if value is None else _minus(format(value, form)), {name: value})


def p_cell(name: str, value: float | None) -> Cell:
    text = NOTHING if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
    return Cell(text, {name: value})


def bounded_cell(
    name: str, value: float | None, low: float | None, high: float | None, at: float, *, signed: bool = False
) -> Cell:
    """A difference, and its bounds, moved by `at`: with 1, differences to dense become shares of it."""
    moved = [None if v is None else v + at for v in (value, low, high)]
    values = dict(zip((name, f"{name}_low", f"{name}_high"), moved, strict=True))
    form = "+.2f" if signed or at == 0 else ".2f"
    return Cell(_with_interval(moved[0], moved[1], moved[2], form), values)


def estimate_cell(name: str, estimate: Estimate | None, digits: int) -> Cell:
    if estimate is None:
        return Cell(NOTHING, {name: None, f"{name}_low": None, f"{name}_high": None})
    values = {name: estimate.value, f"{name}_low": estimate.low, f"{name}_high": estimate.high}
    return Cell(_with_interval(estimate.value, estimate.low, estimate.high, f",.{digits}f"), values)


def _with_interval(value: float | None, low: float | None, high: float | None, form: str) -> str:
    if value is None:
        return NOTHING
    if low is None or high is None:
        return _signed(value, form)
    return f"{_signed(value, form)} [{_signed(low, form)}, {_signed(high, form)}]"


def _signed(value: float, form: str) -> str:
    """In this form, but zero has no sign."""
    text = format(value, form)
    return _minus(text if text.strip("+-0.,") else text.lstrip("+-"))


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


def number_text(value: float, digits: int) -> str:
    return _minus(f"{value:,.{digits}f}")


def _plain(text: str) -> str:
    """Text that a cell of a Markdown table shows as it is."""
    one_line = " ".join(text.split())
    return "".join(f"\\{letter}" if letter in "\\`*_{}[]<>#|~" else letter for letter in one_line)
