"""Parts that figures share: axes, the sparsity scale, rows of names, and names next to lines."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedFormatter, FixedLocator, NullLocator

from rlottery.analysis.arrays import rounding_of
from rlottery.analysis.runs import Metric
from rlottery.analysis.splits import is_uniform
from rlottery.report.arm_styles import ALIKE, Look
from rlottery.report.drawn import Key, Theme
from rlottery.report.labels import broken, drawn_name, text_inches
from rlottery.report.sheets import LINE, SIZE, TITLE, Around, Sheet, panel_width, sheet
from rlottery.report.ticks import TICK_SIZE, label_width, per_cent
from rlottery.report.wording import sparsity_text

METRIC_AXES: dict[Metric, str] = {"success": "success rate", "return": "mean return"}
_BESIDE = 0.3
"""Length of the axis of sparsities before the first and after the last."""
_DODGE = 0.028
"""Distance between the intervals of two lines at the same sparsity, as a share of the axis; less for many lines."""
_TO_NAME = 0.18
"""Inches from the axes to the names at their right."""


def titled_panels(
    titles: Sequence[str],
    height: float,
    labels: tuple[str, str],
    limits: tuple[float, float],
    theme: Theme,
    keys: Sequence[Key] = (),
) -> Sheet:
    """Panels with titles and a legend, which have the same vertical axis.

    Args:
        height: of the axes in inches.
        labels: of the horizontal and the vertical axis.
        limits: of the vertical axis.
    """
    left = 0.42 + label_width(*limits, height)
    lines = [broken(drawn_name(title), panel_width(len(titles)) - left - 0.1, TITLE) for title in titles]
    top = 0.12 + LINE * max(map(len, lines))
    around = Around(left, 0.16, 0.55, top)
    made = sheet(titles, (panel_width(len(titles)) - left - around.right, height), around, theme, keys)
    for panel, title in zip(made.axes, lines, strict=True):
        dress(panel, theme)
        panel.set_ylim(*limits)
        panel.set_title("\n".join(title), loc="left", fontsize=TITLE)
        panel.set_xlabel(labels[0], fontsize=SIZE)
        panel.set_ylabel(labels[1], fontsize=SIZE)
    return made


def keys(looks: Iterable[Look]) -> list[Key]:
    """The legend of these arms: an entry for each line."""
    lines = {look.line: look for look in looks}
    return [Key(line, look.colour, look.dash, 1.6 if look.quiet else 2.4) for line, look in lines.items()]


def dress(axes: Axes, theme: Theme) -> None:
    """Style axes: open to the top and right, with grid lines behind the data."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(length=3, labelsize=TICK_SIZE)
    axes.grid(color=theme.grid, linewidth=0.8)
    axes.set_axisbelow(True)


@dataclass(frozen=True)
class NameRows:
    """Rows with names at the left of the axes, as high as their names.

    Attributes:
        names: each in lines.
        left: inches that they take.
        centres: of the rows, in inches from the top.
        height: of all rows, in inches.
    """

    names: list[list[str]]
    left: float
    centres: list[float]
    height: float


def name_rows(names: Sequence[str], most: float, least: Sequence[float] = ()) -> NameRows:
    """A row for each name, which is at most `most` inches wide; each row has at least its `least` inches of height."""
    lines = [broken(drawn_name(name), most, SIZE) for name in names]
    left = 0.15 + max(text_inches(line, SIZE) for of_name in lines for line in of_name)
    heights = [LINE * len(of_name) + 0.06 for of_name in lines]
    heights = [max(pair) for pair in zip(heights, least or heights, strict=True)]
    centres = [float(end) - height / 2 for end, height in zip(np.cumsum(heights), heights, strict=True)]
    return NameRows(lines, left, centres, sum(heights))


def label_rows(axes: Axes, rows: NameRows, colours: Sequence[str]) -> None:
    """Make the vertical axis one of rows, in inches from the top, with names in these colours."""
    axes.grid(axis="y", visible=False)
    axes.spines["left"].set_visible(False)
    axes.set_ylim(rows.height, 0)
    axes.set_yticks(rows.centres, ["\n".join(lines) for lines in rows.names], fontsize=SIZE)
    axes.tick_params(axis="y", length=0, labelsize=SIZE)
    for text, colour in zip(axes.get_yticklabels(), colours, strict=True):
        text.set_color(readable(colour))


def padded(values: Iterable[float], share: float) -> tuple[float, float]:
    """The ends of an axis that shows these values with room on both sides, as a share of their range."""
    low, high = min(known := list(values)), max(known)
    apart = high - low
    room = share * (apart if apart > rounding_of(known) else max(abs(low), abs(high))) or share
    return low - room, high + room


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


def sparsity_axis(
    axes: Axes, sparsities: Iterable[float], names: Mapping[float, Sequence[str]] | None = None, inches: float = 3.0
) -> None:
    """Label the sparsities, except those too close to their neighbour.

    Args:
        names: sparsity -> what is written there, in lines; the sparsity itself by default.
        inches: the length of the axis.
    """
    ticks = [nominal(cluster) for cluster in clusters(sparsities)]
    low, high = place(ticks[0]) - _BESIDE, place(ticks[-1]) + _BESIDE
    shown: list[float] = []
    labels: list[list[str]] = []
    end = -np.inf
    for tick in ticks:
        lines = list((names or {}).get(tick, [per_cent(tick)]))
        centre = (place(tick) - low) / (high - low) * inches
        half = max(text_inches(line, TICK_SIZE) for line in lines) / 2
        if centre - half > end:
            shown.append(tick)
            labels.append(lines)
            end = centre + half + 0.08
    axes.xaxis.set_major_locator(FixedLocator([place(tick) for tick in shown]))
    axes.xaxis.set_major_formatter(FixedFormatter(["\n".join(lines) for lines in labels]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlim(low, high)
    axes.set_xlabel("sparsity (log scale of the remaining weights)", fontsize=SIZE)


def dodges(sparsities: Iterable[float], number: int) -> list[float]:
    """What this number of lines are moved by on the axis of sparsities, so that their points lie next to each other."""
    places = [place(nominal(cluster)) for cluster in clusters(sparsities)]
    nearest = min((right - left for left, right in pairwise(places)), default=2 * _BESIDE)
    long = places[-1] - places[0] + 2 * _BESIDE
    apart = min(_DODGE * long, 0.75 * min(nearest, 2 * _BESIDE) / max(number, 1))
    return [(index - (number - 1) / 2) * apart for index in range(number)]


@dataclass(frozen=True)
class Name:
    """A name to the right of the axes, and the height of its line, in data coordinates."""

    text: str
    height: float
    colour: str
    dash: Any = "-"
    of_family: bool = False
    weight: str = "normal"


def right_of(names: Iterable[str], height: float, most: float) -> float | None:
    """The width of names at the right of axes of this height, in inches; None if it is above `most` or they overlap."""
    known = [drawn_name(name) for name in names]
    width = _TO_NAME + max((text_inches(name, SIZE, "bold") for name in known), default=0.0) + 0.05
    return width if width <= most and LINE * len(known) <= height else None


def names_at_right(axes: Axes, names: Sequence[Name], panel: tuple[float, float]) -> None:
    """Write names at the right edge, moved apart where they would overlap.

    Args:
        panel: inches of the axes. There is room for all names (`right_of`).
    """
    low, high = axes.get_ylim()
    ends = [min(max((name.height - low) / (high - low), 0.0), 1.0) for name in names]
    wide = panel[0]
    for name, end, at in zip(names, ends, moved_apart(ends, gap=LINE / panel[1]), strict=True):
        # Names are darker than their lines, so that small letters are readable.
        colour = readable(name.colour) if name.of_family else name.colour
        line: dict[str, Any] = {"color": name.colour, "linestyle": name.dash, "linewidth": 1.2}
        axes.plot([1 + 0.02 / wide, 1 + 0.14 / wide], [end, at], transform=axes.transAxes, clip_on=False, **line)
        words: dict[str, Any] = {"color": colour, "va": "center", "weight": name.weight, "fontsize": SIZE}
        axes.text(1 + _TO_NAME / wide, at, drawn_name(name.text), transform=axes.transAxes, **words)


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
