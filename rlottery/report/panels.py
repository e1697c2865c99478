"""Parts that figures share: axes, the sparsity scale, legends, and names next to lines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedFormatter, FixedLocator, Formatter, NullLocator

from rlottery.analysis.arrays import rounding_of
from rlottery.analysis.digits import number_formatter, with_minus
from rlottery.analysis.runs import Metric
from rlottery.analysis.splits import is_uniform
from rlottery.report.arm_styles import ALIKE, Look
from rlottery.report.drawn import Theme
from rlottery.report.labels import drawn_name
from rlottery.report.wording import sparsity_text

METRIC_AXES: dict[Metric, str] = {"success": "success rate", "return": "mean return"}
PANELS_IN_A_ROW = 4
_KEY_INCHES, _LETTER_INCHES, _ROW_INCHES = 0.8, 0.092, 0.24
"""Of a legend: the width of a line with its gaps, of a letter, and the height of a row."""
_ROWS_IN_MARGIN = 2
"""Rows of a legend that fit above titled panels."""


@dataclass(frozen=True)
class Margins:
    """Inches around the axes of a figure."""

    left: float
    right: float
    bottom: float
    top: float
    between: float = 0.3
    under: float = 0.7


def grid(number: int, columns: int, panel: tuple[float, float], margins: Margins) -> tuple[Figure, list[Axes]]:
    """A figure with this number of axes of `panel` inches each, row by row.

    Axes are placed explicitly, because Matplotlib's layout engines draw all text several times.
    """
    rows = -(-number // columns)
    width = margins.left + columns * panel[0] + (columns - 1) * margins.between + margins.right
    height = margins.bottom + rows * panel[1] + (rows - 1) * margins.under + margins.top
    figure = Figure(figsize=(width, height))
    axes = []
    for index in range(rows * columns):
        row, column = divmod(index, columns)
        left = margins.left + column * (panel[0] + margins.between)
        bottom = margins.bottom + (rows - 1 - row) * (panel[1] + margins.under)
        axes.append(figure.add_axes((left / width, bottom / height, panel[0] / width, panel[1] / height)))
    for unused in axes[number:]:
        unused.set_axis_off()
    return figure, axes[:number]


def titled_panels(
    titles: Sequence[str], height: float, label: str, theme: Theme, left: float = 0.85
) -> tuple[Figure, list[Axes]]:
    """Panels of one height in inches, four in a row, with one label for all vertical axes and room for a legend.

    Args:
        left: inches for the label and the numbers of the vertical axes.
    """
    columns = min(len(titles), PANELS_IN_A_ROW)
    figure, axes = grid(len(titles), columns, (2.78, height), Margins(left, 0.15, 0.55, 0.72, 0.22, 0.75))
    for index, (panel, title) in enumerate(zip(axes, titles, strict=True)):
        dress(panel, theme)
        panel.set_title(drawn_name(title), loc="left", fontsize=11)
        if index % columns:
            panel.tick_params(labelleft=False)
        else:
            panel.set_ylabel(label)
    return figure, axes


def dress(axes: Axes, theme: Theme) -> None:
    """Style axes: open to the top and right, with grid lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=3, labelsize=10)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)


def padded(values: Iterable[float], share: float) -> tuple[float, float]:
    """The ends of an axis that shows these values with room on both sides, as a share of their range."""
    low, high = min(known := list(values)), max(known)
    apart = high - low
    room = share * (apart if apart > rounding_of(known) else max(abs(low), abs(high))) or share
    return low - room, high + room


class NumberFormatter(Formatter):
    """Numbers of an axis, with as many digits as its ticks need."""

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """The labels of these ticks, which are evenly apart."""
        apart = max(values) / max(len(values) - 1, 1) - min(values) / max(len(values) - 1, 1)
        shown = number_formatter(values, [0.1 * apart])  # ticks are multiples of numbers such as 2.5
        return [shown(value) for value in values]

    def __call__(self, value: float, pos: int | None = None) -> str:
        """The label of a tick by itself."""
        return number_formatter([value])(value)


def label_width(values: Iterable[float]) -> float:
    """The inches that the numbers of an axis of these values take, about."""
    known = list(values)
    return 0.08 * (2 + max(len(number_formatter(known)(value)) for value in (min(known), max(known))))


def per_cent(value: float, _: Any = None) -> str:
    """Format a share for an axis."""
    return with_minus(f"{100 * value:.4g} %")


def steps_text(steps: float, _: Any = None) -> str:
    """Format environment steps for an axis."""
    if steps >= 1e6:
        return f"{steps / 1e6:g}M"
    return f"{steps / 1e3:g}k" if steps >= 1e3 else f"{steps:g}"


def clusters(sparsities: Iterable[float]) -> list[tuple[float, ...]]:
    """Groups of nearly equal sparsities, rising."""
    found: list[list[float]] = []
    for sparsity in sorted(set(sparsities)):
        if found and 1 - sparsity > (1 - found[-1][0]) * (1 - ALIKE):
            found[-1].append(sparsity)
        else:
            found.append([sparsity])
    return [tuple(cluster) for cluster in found]


def nominal(cluster: Iterable[float]) -> float:
    """The sparsity that names a group: the one with the fewest digits."""
    return min(cluster, key=lambda sparsity: (len(f"{100 * sparsity:.6g}"), sparsity))


def sparsity_groups(looks: Iterable[Look]) -> list[tuple[str, list[str]]]:
    """The arms of nearly equal sparsity, under its name: ``90 %``, or ``90 / 50 %`` for each split; rising."""
    known = [(look, look.sparsity) for look in looks if look.sparsity is not None]
    uniform = {look.arm: sparsity for look, sparsity in known if is_uniform(look.split)}
    groups = {cluster: per_cent(nominal(cluster)) for cluster in clusters(uniform.values())}
    found = [
        (cluster[0], title, [arm for arm in uniform if uniform[arm] in cluster]) for cluster, title in groups.items()
    ]
    splits: dict[str, list[tuple[float, str]]] = {}
    for look, sparsity in known:
        if look.arm not in uniform:
            splits.setdefault(sparsity_text(look.split), []).append((sparsity, look.arm))
    found += [(of_split[0][0], title, [arm for _, arm in of_split]) for title, of_split in splits.items()]
    return [(title, arms) for _, title, arms in sorted(found, key=lambda group: group[:2])]


def place(sparsity: float) -> float:
    """The position of a sparsity on an axis where each halving of the remaining weights takes the same length."""
    return -float(np.log2(max(1 - sparsity, 1e-4)))


def sparsity_axis(axes: Axes, sparsities: Iterable[float], names: Mapping[float, Sequence[str]] | None = None) -> None:
    """Label the sparsities, except those too close to their neighbour.

    Args:
        names: sparsity -> what is written there, in lines; the sparsity itself by default.
    """
    ticks = [nominal(cluster) for cluster in clusters(sparsities)]
    apart = 0.07 * max(place(ticks[-1]) - place(ticks[0]), 1.0)
    shown: list[float] = []
    for tick in ticks:
        if not shown or place(tick) - place(shown[-1]) >= apart:
            shown.append(tick)
    axes.xaxis.set_major_locator(FixedLocator([place(tick) for tick in shown]))
    labels = ["\n".join((names or {}).get(tick, [per_cent(tick)])) for tick in shown]
    axes.xaxis.set_major_formatter(FixedFormatter(labels))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(place(ticks[0]) - 0.3, place(ticks[-1]) + 0.3)
    axes.set_xlabel("sparsity (log scale of the remaining weights)")


@dataclass(frozen=True)
class Name:
    """A name to the right of the axes, and the height of its line, in data coordinates."""

    text: str
    height: float
    colour: str
    dash: Any = "-"
    of_family: bool = False
    weight: str = "normal"


def names_at_right(axes: Axes, names: Sequence[Name], *, gap: float = 0.085) -> None:
    """Write names at the right edge, moved apart where they would overlap."""
    low, high = axes.get_ylim()
    ends = [min(max((name.height - low) / (high - low), 0.0), 1.0) for name in names]
    for name, end, at in zip(names, ends, moved_apart(ends, gap=gap), strict=True):
        # Names are darker than their lines, so that small letters are readable.
        colour = readable(name.colour) if name.of_family else name.colour
        line: dict[str, Any] = {"color": name.colour, "linestyle": name.dash, "linewidth": 1.2}
        axes.plot([1.005, 1.045], [end, at], transform=axes.transAxes, clip_on=False, **line)
        words: dict[str, Any] = {"color": colour, "va": "center", "weight": name.weight}
        axes.text(1.055, at, drawn_name(name.text), transform=axes.transAxes, **words)


def legend(figure: Figure, entries: Mapping[str, Look]) -> None:
    """Add a legend above the panels, in the order of the entries, in as many columns as fit.

    A figure becomes wider for a very long name, and higher for more rows than its upper margin has room for.
    """
    lines = [
        Line2D([], [], color=a.colour, linestyle=a.dash, linewidth=1.6 if a.quiet else 2.4, label=drawn_name(line))
        for line, a in entries.items()
    ]
    widths = [_KEY_INCHES + _LETTER_INCHES * len(drawn_name(line)) for line in entries]
    width = figure.get_size_inches()[0]
    columns = next((n for n in range(min(len(widths), 6), 1, -1) if _columns_width(widths, n) <= width), 1)
    rows = -(-len(widths) // columns)
    _grow(figure, max(0.0, max(widths, default=0.0) - width), _ROW_INCHES * max(0, rows - _ROWS_IN_MARGIN))
    figure.legend(
        handles=lines,
        loc="upper left",
        bbox_to_anchor=(0.0, 1.0),
        ncols=columns,
        frameon=False,
        fontsize=10.5,
        handlelength=2.6,
        borderpad=0.1,
        columnspacing=1.5,
    )


def _columns_width(widths: Sequence[float], columns: int) -> float:
    """The inches of a legend whose entries fill the columns one after the other."""
    return sum(float(column.max()) for column in np.array_split(np.array(widths), columns)) + 0.05


def _grow(figure: Figure, right: float, top: float) -> None:
    """Add these inches to a figure, and leave its axes as they are."""
    width, height = figure.get_size_inches()
    for axes in figure.axes:
        box = axes.get_position()
        across, up = width / (width + right), height / (height + top)
        axes.set_position((box.x0 * across, box.y0 * up, box.width * across, box.height * up))
    figure.set_size_inches(width + right, height + top)


def readable(colour: str) -> str:
    """A darker shade for text on white, so that even the lightest colour of the palette is readable."""
    return "#" + "".join(f"{round(0.68 * int(colour[at : at + 2], 16)):02X}" for at in (1, 3, 5))


def moved_apart(heights: Sequence[float], gap: float) -> list[float]:
    """Heights from 0 to 1, moved to be at least `gap` apart; each group that moves stays around its mean.

    The order is kept; of equal heights the first becomes the highest.
    """
    gap = min(gap, 1 / max(len(heights) - 1, 1))
    groups: list[list[int]] = []
    for index in sorted(range(len(heights)), key=lambda index: (heights[index], -index)):
        groups.append([index])
        while len(groups) > 1 and (
            _places(groups[-1], heights, gap)[0] - _places(groups[-2], heights, gap)[-1] < gap * (1 - 1e-9)
        ):
            upper = groups.pop()
            groups[-1] += upper
    moved = {index: place for group in groups for index, place in zip(group, _places(group, heights, gap), strict=True)}
    return [moved[index] for index in range(len(heights))]


def _places(group: Sequence[int], heights: Sequence[float], gap: float) -> list[float]:
    reach = gap * (len(group) - 1) / 2
    centre = min(max(sum(heights[index] for index in group) / len(group), reach), 1 - reach)
    return [centre - reach + gap * place for place in range(len(group))]
