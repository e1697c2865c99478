"""Figures as panels in a grid below a legend and notes. Each panel is whole by itself, so a page can stack them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from rlottery.report.drawn import Cell, Drawn, Key, Theme, draw
from rlottery.report.figure_data import Block
from rlottery.report.labels import broken, drawable, drawn_name, text_inches

WIDTH = 4.4
"""Inches of a panel with its labels that stands alone: its text is still readable on a telephone of 420 pixels."""
NARROW = 3.15
"""The same of one of many panels."""
SIZE = 10.0
"""Font size of text around panels, in points; nothing in a figure is much smaller."""
TITLE = 10.5
"""Font size of the titles of panels."""
LINE = 0.185
"""Inches from line to line of that size."""
_MANY = 3
"""So many panels or more are narrow."""
_IN_A_ROW = 4
_KEY, _GAP = 0.48, 0.22
"""Inches of a legend: of a line with the gap to its name, and between columns."""
_MOST_COLUMNS = 6


@dataclass(frozen=True)
class Around:
    """Inches around the axes of a panel, for its labels."""

    left: float
    right: float
    bottom: float
    top: float


@dataclass(frozen=True)
class Sheet:
    """A figure with its panels, in the order of reading.

    Attributes:
        around: the room for the labels of each panel.
        keys: the legend above the panels.
    """

    figure: Figure
    axes: list[Axes]
    titles: tuple[str, ...]
    around: Around
    panel: tuple[float, float]
    head: float
    keys: tuple[Key, ...] = ()

    def draw(self, alt: str, blocks: Sequence[Block] = ()) -> Drawn:
        """Draw it, once everything is in it."""
        cells = [self._cell(index) for index in range(len(self.axes))]
        return draw(self.figure, alt, cells, self.keys, blocks)

    def _cell(self, index: int) -> Cell:
        axes = self.axes[index]
        width, height = (72 * inches for inches in self.figure.get_size_inches())
        columns = round(width / 72 / self._size[0])
        row, column = divmod(index, columns)
        box, (low, high), (bottom, top) = axes.get_position(), axes.get_xlim(), axes.get_ylim()
        kx, ky = box.width * width / (high - low), -box.height * height / (top - bottom)
        return Cell(
            title=self.titles[index],
            left=72 * column * self._size[0],
            top=72 * (self.head + row * self._size[1]),
            width=72 * self._size[0],
            height=72 * self._size[1],
            scale=(box.x0 * width - kx * low, kx, (1 - box.y0) * height - ky * bottom, ky),
        )

    @property
    def _size(self) -> tuple[float, float]:
        around = self.around
        return self.panel[0] + around.left + around.right, self.panel[1] + around.top + around.bottom


def title_lines(name: str) -> list[str]:
    """The title of a panel that stands alone, in bold, in as many lines as it needs."""
    return broken(drawn_name(name), WIDTH - 0.15, TITLE, "bold")


def panel_width(number: int) -> float:
    """The inches of each of this number of panels with its labels."""
    return WIDTH if number < _MANY else NARROW


def sheet(
    titles: Sequence[str],
    panel: tuple[float, float],
    around: Around,
    theme: Theme,
    keys: Sequence[Key] = (),
    notes: Sequence[str] = (),
    in_a_row: int = _IN_A_ROW,
) -> Sheet:
    """A panel for each title, whose axes have `panel` inches, below a legend and notes. Titles are not drawn.

    Axes are placed explicitly, because Matplotlib's layout engines draw all text several times.
    """
    number, columns = len(titles), min(len(titles), in_a_row)
    cell = panel[0] + around.left + around.right, panel[1] + around.top + around.bottom
    width, rows = columns * cell[0], -(-number // columns)
    lines = [line for note in notes for line in broken(drawable(note), width - 0.16, SIZE)]
    legend = _Legend(tuple(keys), width - 0.1)
    head = legend.height + (LINE * len(lines) + 0.12 if lines else 0.0)
    height = head + rows * cell[1]
    figure, axes = Figure(figsize=(width, height)), []
    for index in range(number):
        row, column = divmod(index, columns)
        left, bottom = column * cell[0] + around.left, height - head - (row + 1) * cell[1] + around.bottom
        made = figure.add_axes((left / width, bottom / height, panel[0] / width, panel[1] / height))
        made.set_gid(f"panel-{index}")
        # Labels have their places, else every tick is measured to find one.
        made.xaxis.set_label_coords(0.5, -(around.bottom - 0.23) / panel[1])
        made.yaxis.set_label_coords(-(around.left - 0.2) / panel[0], 0.5)
        axes.append(made)
    for place, line in enumerate(lines):
        figure.text(0.08 / width, 1 - (0.08 + LINE * place) / height, line, color=theme.quiet, fontsize=SIZE, va="top")
    legend.draw(figure, head - legend.height, theme)
    return Sheet(figure, axes, tuple(map(drawable, titles)), around, panel, head, tuple(keys))


@dataclass(frozen=True)
class _Legend:
    """Keys in columns, one below the other, each with its whole name, in lines where it is long."""

    keys: tuple[Key, ...]
    width: float

    @property
    def height(self) -> float:
        return sum(self._row_heights()) + 0.16 if self.keys else 0.0

    def draw(self, figure: Figure, above: float, theme: Theme) -> None:
        """Draw it in a figure, `above` inches below its top."""
        width, height = figure.get_size_inches()
        tops = np.cumsum([above + 0.08, *self._row_heights()])
        left = 0.05
        for column in self._columns() if self.keys else ():
            for row, index in enumerate(column):
                key = self.keys[index]
                y = tops[row] + LINE / 2
                ends = [left / width, (left + _KEY - 0.1) / width], [1 - y / height] * 2
                line = Line2D(*ends, color=key.colour, linestyle=key.dash, linewidth=key.width)
                figure.add_artist(line)
                for place, text in enumerate(self._lines(index)):
                    at = (left + _KEY) / width, 1 - (y + LINE * place) / height
                    figure.text(*at, text, color=theme.ink, fontsize=SIZE, va="center")
            left += self._width(column)

    def _lines(self, index: int) -> list[str]:
        return broken(drawn_name(self.keys[index].name), self.width - _KEY, SIZE)

    def _width(self, column: Sequence[int]) -> float:
        return _KEY + _GAP + max(text_inches(line, SIZE) for index in column for line in self._lines(index))

    def _columns(self) -> list[list[int]]:
        """As many columns as fit, filled one after the other."""
        for number in range(min(len(self.keys), _MOST_COLUMNS), 1, -1):
            columns = [part.tolist() for part in np.array_split(np.arange(len(self.keys)), number)]
            if sum(map(self._width, columns)) - _GAP <= self.width:
                return columns
        return [list(range(len(self.keys)))]

    def _row_heights(self) -> list[float]:
        columns = self._columns()
        return [
            LINE * max(len(self._lines(column[row])) for column in columns if row < len(column))
            for row in range(len(columns[0]))
        ]
