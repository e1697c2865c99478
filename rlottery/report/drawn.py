"""Drawn figures: PNG, SVG and alternative text; and the colours of light and dark pages."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rlottery.report.figure_data import Block
from rlottery.report.labels import FONT
from rlottery.safety.printable import printable

DOTS_PER_INCH = 150


@dataclass(frozen=True)
class Theme:
    """Colours of a page, as `#RRGGBB`.

    Attributes:
        ink: text, and marks that do not belong to an arm.
        quiet: secondary text, axes and ticks.
        grid: lines behind the data.
        background: of the page. Figures are transparent; this is for parts that must cover others.
    """

    ink: str
    quiet: str
    grid: str
    background: str


LIGHT = Theme(ink="#1F1F1F", quiet="#5A5A5A", grid="#E6E6E6", background="#FFFFFF")
DARK = Theme(ink="#ECECEC", quiet="#A8A8A8", grid="#3A3A3A", background="#161616")


@dataclass(frozen=True)
class Key:
    """An entry of a legend: a name, and the line that it explains.

    Attributes:
        dash: Matplotlib's line style. width: of the line, in points.
    """

    name: str
    colour: str
    dash: Any
    width: float


@dataclass(frozen=True)
class Cell:
    """The part of a figure that shows one panel with its labels, in points from the upper left.

    Attributes:
        scale: (x0, kx, y0, ky): the value (x, y) of the panel's axes is at (x0 + kx x, y0 + ky y) of the figure.
    """

    title: str
    left: float
    top: float
    width: float
    height: float
    scale: tuple[float, float, float, float]


@dataclass(frozen=True)
class Drawn:
    """One figure.

    Attributes:
        png: 150 dpi, transparent.
        svg: an `<svg>` document; equal figures give equal text. What belongs to panel i is in a `<g id="panel-i">`.
        alt: what it shows, for screen readers.
        cells: its panels, which a page may put below each other. Legend and notes lie outside of them.
        keys: its legend.
        blocks: the numbers that it shows.
    """

    png: bytes
    svg: str
    alt: str
    cells: tuple[Cell, ...] = ()
    keys: tuple[Key, ...] = ()
    blocks: tuple[Block, ...] = ()


@contextmanager
def themed(theme: Theme) -> Iterator[None]:
    """A context in which figures use the colours of the theme, and Matplotlib's defaults otherwise."""
    style = {
        "font.family": [FONT],
        "font.size": 10,
        "text.color": theme.ink,
        "axes.edgecolor": theme.quiet,
        "axes.facecolor": "none",
        "axes.labelcolor": theme.quiet,
        "axes.titlecolor": theme.ink,
        "axes.titley": 1.0,  # else every tick is measured to find a place
        "figure.facecolor": "none",
        "grid.color": theme.grid,
        "legend.edgecolor": theme.grid,
        "legend.facecolor": theme.background,
        "text.parse_math": False,  # names may contain dollars
        "xtick.color": theme.quiet,
        "ytick.color": theme.quiet,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()  # a `matplotlibrc` in the current folder could start LaTeX
        with matplotlib.rc_context(style):  # type: ignore[arg-type]
            yield


def draw(
    figure: Figure,
    alt: str,
    cells: Sequence[Cell] = (),
    keys: Sequence[Key] = (),
    blocks: Sequence[Block] = (),
) -> Drawn:
    """Draw a figure as PNG and SVG.

    The same figure gives the same bytes: the SVG has no date, and its ids depend only on its content. Its text is drawn
    as outlines, because labels are placed by the widths of a font that the reader's machine may not have.
    """
    FigureCanvasAgg(figure)
    with matplotlib.rc_context({"svg.hashsalt": "rlottery", "svg.fonttype": "path"}):
        png, svg = io.BytesIO(), io.BytesIO()
        for stream, form, metadata in ((png, "png", None), (svg, "svg", {"Date": None})):
            figure.savefig(stream, format=form, dpi=DOTS_PER_INCH, facecolor=figure.get_facecolor(), metadata=metadata)
    drawn = printable(svg.getvalue().decode())
    return Drawn(png.getvalue(), drawn, printable(alt), tuple(cells), tuple(keys), tuple(blocks))
