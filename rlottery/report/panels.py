"""What the report's figures have in common: axes, sparsity scales, names beside lines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from rlottery.analysis.runs import Metric
from rlottery.report.drawn import Theme
from rlottery.report.families import ALIKE, Look
from rlottery.report.figures import spread

METRIC_AXES: dict[Metric, str] = {"success": "success rate", "return": "mean return"}


@dataclass(frozen=True)
class Margins:
    """Inches around the axes of a figure."""

    left: float
    right: float
    bottom: float
    top: float
    between: float = 0.3
    under: float = 0.7


def grid(rows: int, columns: int, panel: tuple[float, float], margins: Margins) -> tuple[Figure, list[Axes]]:
    """A figure with axes of `panel` inches each, row by row.

    Placed by hand: Matplotlib's own layouts draw all text several times over.
    """
    width = margins.left + columns * panel[0] + (columns - 1) * margins.between + margins.right
    height = margins.bottom + rows * panel[1] + (rows - 1) * margins.under + margins.top
    figure = Figure(figsize=(width, height))
    axes = []
    for row in range(rows):
        for column in range(columns):
            left = margins.left + column * (panel[0] + margins.between)
            bottom = margins.bottom + (rows - 1 - row) * (panel[1] + margins.under)
            axes.append(figure.add_axes((left / width, bottom / height, panel[0] / width, panel[1] / height)))
    return figure, axes


def dress(axes: Axes, theme: Theme) -> None:
    """Open axes with quiet lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=3, labelsize=10)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)


def thousands(value: float, _: Any = None) -> str:
    """A return as an axis shows it."""
    return f"{value:,.10g}".replace("-", "\N{MINUS SIGN}")


def per_cent(value: float, _: Any = None) -> str:
    """A share as an axis shows it."""
    return f"{100 * value:.4g} %".replace("-", "\N{MINUS SIGN}")


def steps_text(steps: float, _: Any = None) -> str:
    """Environment steps as an axis shows them."""
    if steps >= 1e6:
        return f"{steps / 1e6:g}M"
    return f"{steps / 1e3:g}k" if steps >= 1e3 else f"{steps:g}"


def clusters(sparsities: Iterable[float]) -> list[tuple[float, ...]]:
    """Sparsities that stand together, rising."""
    found: list[list[float]] = []
    for sparsity in sorted(set(sparsities)):
        if found and 1 - sparsity > (1 - found[-1][0]) * (1 - ALIKE):
            found[-1].append(sparsity)
        else:
            found.append([sparsity])
    return [tuple(cluster) for cluster in found]


def nominal(cluster: Iterable[float]) -> float:
    """The sparsity that a cluster is called by: the one with the fewest digits."""
    return min(cluster, key=lambda sparsity: (len(f"{100 * sparsity:.6g}"), sparsity))


def place(sparsity: float) -> float:
    """Where a sparsity stands on an axis that gives each halving of what is left the same room."""
    return -float(np.log2(max(1 - sparsity, 1e-4)))


def sparsity_axis(axes: Axes, sparsities: Iterable[float]) -> None:
    """Label the sparsities that there are, those too near their neighbour to be read left out."""
    ticks = [nominal(cluster) for cluster in clusters(sparsities)]
    apart = 0.07 * max(place(ticks[-1]) - place(ticks[0]), 1.0)
    shown: list[float] = []
    for tick in ticks:
        if not shown or place(tick) - place(shown[-1]) >= apart:
            shown.append(tick)
    axes.xaxis.set_major_locator(FixedLocator([place(tick) for tick in shown]))
    axes.xaxis.set_major_formatter(FixedFormatter([per_cent(tick) for tick in shown]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(place(ticks[0]) - 0.3, place(ticks[-1]) + 0.3)
    axes.set_xlabel("pruned weights (log scale of what is left)")


@dataclass(frozen=True)
class Name:
    """What stands to the right of the axes, and the height that it belongs to, in data."""

    text: str
    height: float
    colour: str
    dash: Any = "-"
    of_family: bool = False
    weight: str = "normal"

    @property
    def text_colour(self) -> str:
        """Darker than the line, for small letters to be read."""
        return readable(self.colour) if self.of_family else self.colour


def names_at_right(axes: Axes, names: Sequence[Name], *, gap: float = 0.085) -> None:
    """Names at the right edge, moved apart where they would collide."""
    low, high = axes.get_ylim()
    ends = [min(max((name.height - low) / (high - low), 0.0), 1.0) for name in names]
    for name, end, at in zip(names, ends, spread(ends, gap=gap), strict=True):
        axes.plot(
            [1.005, 1.045],
            [end, at],
            transform=axes.transAxes,
            clip_on=False,
            color=name.colour,
            linestyle=name.dash,
            linewidth=1.2,
        )
        axes.text(
            1.055,
            at,
            plain(name.text),
            color=name.text_colour,
            transform=axes.transAxes,
            va="center",
            weight=name.weight,
        )


def legend_entry(look: Look, label: str, *, marked: bool = True) -> Line2D:
    """A line of a legend."""
    return Line2D(
        [],
        [],
        color=look.colour,
        linestyle=look.dash,
        linewidth=1.6 if look.quiet else 2.4,
        marker=(look.marker if marked else "") or None,
        markersize=6,
        label=plain(label),
    )


def legend(figure: Figure, entries: Mapping[str, Look]) -> None:
    """A legend of lines without markers, above the panels, in the entries' order."""
    figure.legend(
        handles=[legend_entry(look, label, marked=False) for label, look in entries.items()],
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=min(len(entries), 6),
        frameon=False,
        fontsize=10.5,
        handlelength=2.6,
        borderpad=0.1,
    )


def readable(colour: str) -> str:
    """A colour for text on white: a third darker, so that the lightest of the palette can be read too."""
    return "#" + "".join(f"{round(0.68 * int(colour[at : at + 2], 16)):02X}" for at in (1, 3, 5))


def plain(text: str) -> str:
    """Text that Matplotlib takes for text, and not for mathematics."""
    return text.replace("$", r"\$")
