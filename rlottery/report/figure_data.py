"""The numbers that a figure shows: what its page says about a point, and saves as CSV."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rlottery.analysis.digits import Digits, digits_for
from rlottery.safety.printable import on_one_line

Place = str | float | tuple[float, ...] | None
"""Where points are on an axis: at the values of a column, all at one place, each at its own, or along all of it."""

_VALUE = re.compile(r"\{(\w+):v\}")
_CURVE_DIGITS = 7
"""Significant digits of curves: they are the bulk of a page's numbers."""


@dataclass(frozen=True)
class Block:
    """Rows of a figure's data that are alike, such as the points of one curve.

    Attributes:
        panels: where its points are drawn; empty for numbers that have no point of their own.
        same: column -> the value that all its rows have.
        each: column -> the value of each row.
        x, y: where the points are, in the coordinates of the panels' axes.
        words: what is said about a point. ``{column}`` stands for a value as it is, ``{column:v}`` for one with the
            digits of the figure, ``{column:%}`` for a share in per cent.
    """

    panels: tuple[int, ...]
    same: Mapping[str, Any]
    each: Mapping[str, tuple[Any, ...]]
    x: Place = None
    y: Place = None
    words: str = ""


@dataclass
class _Lists:
    """Lists of values, each stored once: many curves have the same steps."""

    places: dict[tuple[Any, ...], int] = field(default_factory=dict)

    def place(self, values: Sequence[Any]) -> int:
        known = tuple(_plain(value) for value in values)
        return self.places.setdefault(known, len(self.places))


def shortened(values: Iterable[float]) -> tuple[float, ...]:
    """Values of a curve, with seven significant digits."""
    return tuple(float(f"{value:.{_CURVE_DIGITS}g}") for value in values)


def data_as_json(blocks: Sequence[Block], scales: Sequence[Sequence[float]]) -> str:
    """The data of a figure for the script of a page: safe inside of an element, and names are printable.

    Args:
        scales: of each panel (`drawn.Cell.scale`).
    """
    digits = _digits(blocks)
    lists = _Lists()
    columns = list(dict.fromkeys(name for block in blocks for name in (*block.same, *block.each)))
    made = [
        {
            "panels": block.panels,
            "same": {name: _plain(value) for name, value in block.same.items()},
            "each": {name: lists.place(values) for name, values in block.each.items()},
            "x": list(block.x) if isinstance(block.x, tuple) else block.x,
            "y": list(block.y) if isinstance(block.y, tuple) else block.y,
            "words": block.words,
        }
        for block in blocks
    ]
    data = {
        "columns": columns,
        "decimals": digits.decimals,
        "exponent": digits.exponent,
        "scales": [[round(part, 6) for part in scale] for scale in scales],
        "blocks": made,
        "lists": list(lists.places),
    }
    return json.dumps(data, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")


def _digits(blocks: Sequence[Block]) -> Digits:
    """The digits of the values that words name."""
    found = (
        value
        for block in blocks
        for column in _VALUE.findall(block.words)
        for value in block.each.get(column, ())
        if value is not None
    )
    return digits_for(found)


def _plain(value: Any) -> Any:
    """A value of JSON; what is not a finite number has none."""
    if isinstance(value, str):
        return on_one_line(value)
    if isinstance(value, float | np.floating):
        return float(value) if np.isfinite(value) else None
    return value
