"""A mask as a picture: every weight of the actor is a point, drawn if it remains."""

from collections.abc import Mapping
from dataclasses import dataclass

import matplotlib.colors
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from rlottery.analysis.mask_analysis import ArmMasks
from rlottery.report.arm_styles import Look
from rlottery.report.cells import name_rows, name_width
from rlottery.report.drawn import DOTS_PER_INCH, Cell, Drawn, Theme, draw, themed
from rlottery.report.figure_data import Block
from rlottery.report.labels import broken, drawable, drawn_name

_NEUTRAL = "#0072B2"
_GAP = 105
"""Pixels between layers, for their titles and labels."""
_FEW, _SOME, _MANY = 20, 60, 512
"""Up to this many rows or columns, a weight is 14, 8 or 2 pixels high or wide; beyond, it is one pixel."""
_TEXT, _LINE = 11.5, 0.21
"""Font size of all text in points, and inches from line to line: a page may show the picture smaller than it is."""
_NAMED = 28
"""Height in pixels of a row with a name."""


@dataclass(frozen=True)
class _Placed:
    """A layer in the picture; positions are pixels from the upper left corner."""

    path: str
    left: int
    top: int
    points: NDArray[np.bool_]
    scale: tuple[int, int]

    @property
    def width(self) -> int:
        return int(self.points.shape[1] * self.scale[1])

    @property
    def height(self) -> int:
        return int(self.points.shape[0] * self.scale[0])

    @property
    def title(self) -> str:
        return f"{drawn_name(self.path)}:\n{int(self.points.sum()):,} of {self.points.size:,}"


def mask_picture(arm: ArmMasks, looks: Mapping[str, Look], theme: Theme) -> Drawn | None:
    """The actor's mask of the first seed, with every weight at least one pixel of the PNG. None without a mask.

    Layers alternate: the columns of the first are its outputs, and the second layer below it has the same units as
    columns and its outputs as rows, and so on. So every unit is one column or row through both of its layers, and a
    unit without input or output is an empty line.
    """
    if not arm.picture:
        return None
    rows = _input_names(arm, next(iter(arm.picture.values())).shape[0])
    placed = _place(arm.picture, named=bool(rows))
    look = looks.get(arm.arm)
    kept = sum(int(layer.sum()) for layer in arm.picture.values())
    total = sum(layer.size for layer in arm.picture.values())
    left = max(name_width(rows, size=_TEXT), 0.6) + 0.1
    ends = [
        (la.left / DOTS_PER_INCH + max(la.width / DOTS_PER_INCH, name_width(la.title.split("\n"), size=_TEXT)))
        for la in placed
    ]
    width = left + max(ends) + 0.1
    texts = broken(
        drawable(
            f"{arm.arm} on {arm.task}, seed {arm.seeds[0]} (n = 1): the weights that remain in the {arm.acting}, "
            f"{kept:,} of {total:,}. One point is one weight."
        ),
        width - 0.16,
        _TEXT,
    )
    head, foot = 0.12 + _LINE * len(texts) + 0.5, 0.4
    height = head + max(layer.top + layer.height for layer in placed) / DOTS_PER_INCH + foot
    # Whole pixels, so that the edges of weights are sharp.
    pixels = (round(width * DOTS_PER_INCH), round(height * DOTS_PER_INCH))
    with themed(theme):
        figure = Figure(figsize=(pixels[0] / DOTS_PER_INCH, pixels[1] / DOTS_PER_INCH))
        for place, line in enumerate(texts):
            at = 0.08 / width, 1 - (0.08 + _LINE * place) / height
            figure.text(*at, line, color=theme.quiet, fontsize=_TEXT, va="top")
        corner, colour = (round(left * DOTS_PER_INCH), round(head * DOTS_PER_INCH)), look.colour if look else _NEUTRAL
        for number, layer in enumerate(placed):
            axes = _draw_layer(figure, layer, corner, pixels, colour, theme)
            onward = "outputs" if layer is placed[-1] else f"units of hidden layer {number + 1}"
            (axes.set_ylabel if number % 2 else axes.set_xlabel)(onward, fontsize=_TEXT, labelpad=5)
        if rows:
            name_rows(figure.axes[0], rows, theme, most=100.0, size=_TEXT)
        counts = ", ".join(f"{path} {int(m.sum()):,} of {m.size:,}" for path, m in arm.picture.items())
        for place, part in enumerate(figure.get_children()):
            part.set_gid(f"panel-0-{place}")
        points = 72 / DOTS_PER_INCH
        whole = pixels[0] * points, pixels[1] * points
        cell = Cell(f"{arm.arm} on {arm.task}", 0.0, 0.0, *whole, scale=(0.0, 1.0, 0.0, 1.0))
        same = {"task": arm.task, "arm": arm.arm, "seed": arm.seeds[0]}
        each = {
            "layer": tuple(arm.picture),
            "kept": tuple(int(layer.sum()) for layer in arm.picture.values()),
            "total": tuple(layer.size for layer in arm.picture.values()),
        }
        alt = f"Weights that remain in the {arm.acting} of {arm.arm} on {arm.task}: {counts}"
        return draw(figure, alt, [cell], blocks=[Block((), same, each)])


def _place(picture: Mapping[str, NDArray[np.bool_]], *, named: bool) -> list[_Placed]:
    found: list[_Placed] = []
    for number, (path, layer) in enumerate(picture.items()):
        points = layer if number % 2 == 0 else layer.T
        scale = (_pixels(points.shape[0]), _pixels(points.shape[1]))
        left, top = (found[-1].left, found[-1].top) if found else (0, 0)
        if not found:
            scale = (_NAMED if named else scale[0], scale[1])
        elif number % 2:  # below, units in the same columns
            top += found[-1].height + _GAP
        else:  # to the right, units in the same rows
            left += found[-1].width + _GAP
        found.append(_Placed(path, left, top, points, scale))
    return found


def _pixels(number: int) -> int:
    if number <= _FEW:
        return 14
    if number <= _SOME:
        return 8
    return 2 if number <= _MANY else 1


def _draw_layer(
    figure: Figure, layer: _Placed, corner: tuple[int, int], pixels: tuple[int, int], colour: str, theme: Theme
) -> Axes:
    left = corner[0] + layer.left
    bottom = pixels[1] - corner[1] - layer.top - layer.height
    size = (layer.width / pixels[0], layer.height / pixels[1])
    axes = figure.add_axes((left / pixels[0], bottom / pixels[1], *size))
    rows, columns = layer.points.shape
    # Pruned weights are transparent: they have the colour of the page.
    image = np.zeros((rows, columns, 4))
    image[layer.points] = matplotlib.colors.to_rgba(colour)
    axes.imshow(image, extent=(0, columns, rows, 0), aspect="auto", interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.tick_params(length=0, labelsize=_TEXT)
    axes.spines[:].set_visible(False)
    axes.set_title(layer.title, fontsize=_TEXT, loc="left", pad=6)
    # The frame is around the points, not over them.
    place = ((left - 2) / pixels[0], (bottom - 2) / pixels[1])
    size = ((layer.width + 4) / pixels[0], (layer.height + 4) / pixels[1])
    figure.add_artist(Rectangle(place, *size, fill=False, edgecolor=theme.quiet, linewidth=0.8))
    return axes


def _input_names(arm: ArmMasks, inputs: int) -> list[str]:
    if len(arm.inputs) != inputs or inputs > _SOME:
        return []
    return [f"{entry.index}  {entry.name}" if entry.name else str(entry.index) for entry in arm.inputs]
