"""Tables: lists of columns, each with its title and its cell function. `table_formats` and `terminal` show them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from rlottery.analysis.digits import Digits, with_minus
from rlottery.analysis.runs import Metric
from rlottery.analysis.scores import Estimate
from rlottery.analysis.verdict import Difference
from rlottery.report.answers_in_words import Chip
from rlottery.report.differences_in_words import raw_digits, signed
from rlottery.report.wording import NOTHING

Item = TypeVar("Item")
Bounded = tuple[float | None, float | None, float | None]
"""A value with the lower and the upper bound of its interval."""


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what people read.
        values: CSV column -> plain value. Cells are sorted by the first that is known.
        chips: the same as answers with their symbols, for pages; empty in other cells.
    """

    text: str
    values: Mapping[str, Any] = field(default_factory=dict)
    chips: tuple[Chip, ...] = ()

    @property
    def order(self) -> Any:
        """What the cell is sorted by: its first known value, else its text."""
        if not self.values:
            return self.text
        return next((value for value in self.values.values() if value is not None), "")


@dataclass(frozen=True)
class Column(Generic[Item]):
    """One column.

    Attributes:
        cell: makes the cell of a row from what the row is about.
        numeric: whether it holds numbers: aligned to the right and sorted by value.
        wraps: in a terminal, whether cells may break between words.
        least: in a terminal, the smallest width of a column that wraps.
        expendable: in a terminal, columns with 1, 2, ... are dropped in that order until the table fits.
    """

    title: str
    cell: Callable[[Item], Cell]
    numeric: bool = False
    wraps: bool = False
    least: int = 0
    expendable: int = 0


@dataclass(frozen=True)
class Row:
    """A row; `tags` are what it can be filtered by, and `strong` rows stand out."""

    cells: tuple[Cell, ...]
    tags: Mapping[str, str] = field(default_factory=dict)
    strong: bool = False


@dataclass(frozen=True)
class Table:
    """A table whose cells have been made.

    Attributes:
        name: of its files.
        caption: what it shows, with units, numbers of seeds and kinds of intervals.
    """

    name: str
    caption: str
    columns: tuple[Column[Any], ...]
    rows: tuple[Row, ...]


def make_table(
    name: str,
    caption: str,
    columns: Iterable[Column[Item]],
    items: Iterable[Item],
    tags: Callable[[Item], Mapping[str, str]] = lambda _: {},
    strong: Callable[[Item], bool] = lambda _: False,
) -> Table:
    """A table with one row for every item."""
    columns = tuple(columns)
    rows = (Row(tuple(column.cell(item) for column in columns), tags(item), strong(item)) for item in items)
    return Table(name, caption, columns, tuple(rows))


# ------------------------------------------------------------------------------------------ Columns


def text(title: str, name: str, of: Callable[[Item], str | None], **layout: Any) -> Column[Item]:
    """A column of words. `name` is the CSV column; `layout` goes to `Column`."""
    return Column(title, lambda item: Cell((words := of(item)) or NOTHING, {name: words or None}), **layout)


def number(
    title: str, name: str, of: Callable[[Item], float | None], form: str | Digits = "d", **layout: Any
) -> Column[Item]:
    """A column of numbers, each in a format such as ``,.2f``."""

    def cell(item: Item) -> Cell:
        value = of(item)
        if value is None:
            return Cell(NOTHING, {name: None})
        return Cell(form(value) if isinstance(form, Digits) else with_minus(format(value, form)), {name: value})

    return Column(title, cell, numeric=True, **layout)


def percent(title: str, name: str, of: Callable[[Item], float | None], digits: int = 2) -> Column[Item]:
    """A column of shares in per cent, with so many decimals."""

    def cell(item: Item) -> Cell:
        share = of(item)
        return Cell(NOTHING if share is None else f"{100 * share:.{digits}f} %", {name: share})

    return Column(title, cell, numeric=True)


def p_value(title: str, name: str, of: Callable[[Item], float | None], **layout: Any) -> Column[Item]:
    """A column of p-values."""
    return Column(title, lambda item: p_cell(name, of(item)), numeric=True, **layout)


def normalised(title: str, name: str, of: Callable[[Item], Bounded]) -> Column[Item]:
    """A column of normalised scores with bounds, given as differences to dense."""
    return Column(title, lambda item: bounded_cell(name, *of(item), at=1.0), numeric=True)


def difference(title: str, name: str, of: Callable[[Item], Bounded]) -> Column[Item]:
    """A column of normalised differences with bounds."""
    return Column(title, lambda item: bounded_cell(name, *of(item), at=0.0), numeric=True)


def raw_difference(
    title: str, name: str, of: Callable[[Item], Difference | None], metric: Callable[[Item], Metric]
) -> Column[Item]:
    """A column of differences in the unit of the metric, with bounds; each has as many digits as it needs."""

    def cell(item: Item) -> Cell:
        known = of(item)
        if known is None or known.raw_difference is None:
            return Cell(NOTHING, {name: None, f"{name}_low": None, f"{name}_high": None})
        digits = raw_digits(known, metric(item))
        bounds = known.raw_difference, known.raw_low, known.raw_high
        return _interval_cell(name, lambda value: digits(value, "+"), *bounds)

    return Column(title, cell, numeric=True)


def estimate(title: str, name: str, of: Callable[[Item], Estimate | None], digits: Digits) -> Column[Item]:
    """A column of numbers with bootstrap intervals."""
    return Column(f"{title} [95 % bootstrap]", lambda item: estimate_cell(name, of(item), digits), numeric=True)


# ------------------------------------------------------------------------------------------ Cells


def p_cell(name: str, value: float | None) -> Cell:
    shown = NOTHING if value is None else "<0.001" if value < 0.001 else f"{value:.3f}"
    return Cell(shown, {name: value})


def bounded_cell(name: str, value: float | None, low: float | None, high: float | None, *, at: float) -> Cell:
    """A difference and its bounds, shifted by `at`: with 1, a difference to dense becomes a normalised score."""
    shifted = (None if v is None else v + at for v in (value, low, high))
    return _interval_cell(name, signed if at == 0 else Digits(2), *shifted)


def estimate_cell(name: str, of: Estimate | None, digits: Digits) -> Cell:
    bounded: Bounded = (None, None, None) if of is None else (of.value, of.low, of.high)
    return _interval_cell(name, digits, *bounded)


def _interval_cell(
    name: str, shown: Callable[[float], str], value: float | None, low: float | None, high: float | None
) -> Cell:
    interval = "" if low is None or high is None else f" [{shown(low)}, {shown(high)}]"
    words = NOTHING if value is None else f"{shown(value)}{interval}"
    return Cell(words, {name: value, f"{name}_low": low, f"{name}_high": high})
