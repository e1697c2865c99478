"""Numbers as coloured cells, for the figures of masks."""

from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from rlottery.report.drawn import Theme
from rlottery.report.labels import broken, drawn_name, text_inches

COLOURS = matplotlib.colormaps["cividis"]
"""From dark (small) to light (large); readable with any colour vision, and in grey."""
DARK_TEXT, LIGHT_TEXT = "#0A0A0A", "#FAFAFA"
"""Text on cells, which have the same colours on light and dark pages."""

SMALL = 9.5
"""Font size of text in and next to cells, in points."""


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


def name_rows(axes: Axes, names: Sequence[str], theme: Theme, most: float, size: float = SMALL) -> None:
    """Write names to the left of the rows, in lines of at most this width in inches."""
    lines = ["\n".join(_lines(name, most, size)) for name in names]
    axes.set_yticks(np.arange(len(names)) + 0.5, lines, color=theme.ink, fontsize=size)


def name_columns(axes: Axes, names: Sequence[str], theme: Theme) -> None:
    """Write names below the columns, upright."""
    axes.set_xticks(np.arange(len(names)) + 0.5, [drawn_name(name) for name in names], rotation=90, color=theme.ink)


def colour_key(axes: Axes, highest: float) -> None:
    """Draw the scale of colours."""
    axes.imshow(
        np.linspace(0, 1, 128)[None], cmap=COLOURS, extent=(0, highest, 0, 1), aspect="auto", interpolation="none"
    )
    axes.set_yticks([])
    axes.tick_params(length=2, labelsize=SMALL)
    axes.locator_params(axis="x", nbins=3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{100 * value:.3g} %")
    axes.spines[:].set_visible(False)


def name_width(names: Sequence[str], most: float = 100.0, size: float = SMALL) -> float:
    """The inches that the longest of these names takes, in lines of at most `most`."""
    lines = [line for name in names for line in _lines(name, most, size)]
    return max((text_inches(line, size) for line in lines), default=0.0) + 0.1


def row_height(names: Sequence[str], most: float, least: float) -> float:
    """The inches of each row: `least`, or as many lines as the longest name has."""
    return max(least, 0.165 * max((len(_lines(name, most, SMALL)) for name in names), default=1) + 0.05)


def _lines(name: str, most: float, size: float) -> list[str]:
    return broken(drawn_name(name), most, size)
