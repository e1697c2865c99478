"""Numbers as coloured cells, for the figures of masks."""

import textwrap
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rlottery.report.drawn import Theme
from rlottery.report.labels import drawable, drawn_name

COLOURS = matplotlib.colormaps["cividis"]
"""From dark (small) to light (large); readable with any colour vision, and in grey."""
DARK_TEXT, LIGHT_TEXT = "#0A0A0A", "#FAFAFA"
"""Text on cells, which have the same colours on light and dark pages."""

SMALL = 8.5
"""Font size of text in and next to cells, in points."""
LETTER_INCHES = 0.072
"""Width of a letter of that size."""
_NOTE, _NOTE_LINE = 9.5, 0.2
"""Font size of a note in points, and inches from line to line."""


def draw_cells(
    axes: Axes,
    values: NDArray[np.float64],
    highest: float,
    theme: Theme,
    number_text: Callable[[float], str] | None = None,
) -> None:
    """Fill the axes with cells from 0 to `highest`; row 0 at the top, cell (i, j) around x = j + 0.5, y = i + 0.5.

    Args:
        values: (rows, columns), all at least 0; NaN leaves the cell empty.
        number_text: what is written in a cell.
    """
    rows, columns = values.shape
    scale: dict[str, Any] = {"cmap": COLOURS, "vmin": 0, "vmax": highest or 1}
    shape: dict[str, Any] = {"extent": (0, columns, rows, 0), "aspect": "auto", "interpolation": "none"}
    axes.imshow(np.ma.masked_invalid(values), **scale, **shape)
    axes.hlines(range(rows + 1), 0, columns, color=theme.background, linewidth=1.2)
    axes.vlines(range(columns + 1), 0, rows, color=theme.background, linewidth=1.2)
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labelsize=SMALL)
    axes.set_xticks([])
    axes.set_yticks([])
    if number_text is not None:
        for row, column in zip(*np.nonzero(np.isfinite(values)), strict=True):
            value = values[row, column]
            write_in_cell(axes, row, column, number_text(value), value, highest)


def write_in_cell(axes: Axes, row: int, column: int, text: str, value: float, highest: float) -> None:
    """Write in a cell, in a colour that contrasts with it."""
    red, green, blue, _ = COLOURS(value / (highest or 1))
    bright = 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18
    colour = DARK_TEXT if bright else LIGHT_TEXT
    axes.text(column + 0.5, row + 0.52, text, color=colour, fontsize=SMALL, ha="center", va="center")


def name_rows(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """Write names to the left of the rows."""
    axes.set_yticks(np.arange(len(names)) + 0.5, [drawn_name(name) for name in names], color=theme.ink)


def name_columns(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """Write names below the columns, upright."""
    axes.set_xticks(np.arange(len(names)) + 0.5, [drawn_name(name) for name in names], rotation=90, color=theme.ink)


def colour_key(figure: Figure, place: tuple[float, float, float, float], highest: float) -> None:
    """Draw the scale of colours; `place` is left, bottom, width and height as fractions of the figure."""
    axes = figure.add_axes(place)
    axes.imshow(
        np.linspace(0, 1, 128)[None], cmap=COLOURS, extent=(0, highest, 0, 1), aspect="auto", interpolation="none"
    )
    axes.set_yticks([])
    axes.tick_params(length=2, labelsize=SMALL)
    axes.locator_params(axis="x", nbins=4)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.spines[:].set_visible(False)


def name_width(names: Sequence[str]) -> float:
    """The width of the longest of these names in inches."""
    return max((len(drawn_name(name)) for name in names), default=0) * LETTER_INCHES + 0.15


def notes(width: float, *texts: str) -> list[str]:
    """The notes above the panels of a figure, wrapped to its width in inches."""
    letters = int((width - 0.2) / (LETTER_INCHES * _NOTE / SMALL))
    return [line for text in texts for line in textwrap.wrap(drawable(text), max(letters, 30))]


def notes_height(lines: Sequence[str]) -> float:
    """The height of these notes in inches."""
    return 0.15 + _NOTE_LINE * len(lines)


def write_notes(figure: Figure, lines: Sequence[str], theme: Theme) -> None:
    """Write notes in the upper left corner of a figure."""
    width, height = figure.get_size_inches()
    for number, line in enumerate(lines):
        top = 1 - (0.08 + _NOTE_LINE * number) / height
        figure.text(0.08 / width, top, line, color=theme.quiet, fontsize=_NOTE, va="top")
