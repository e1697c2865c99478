"""Ticks of axes: no closer than their labels can be read, and on an axis of shares one at 1, the whole."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, Formatter, FuncFormatter, MaxNLocator

from rlottery.analysis.digits import number_formatter, with_minus
from rlottery.report.labels import text_inches

TICK_SIZE = 9.5
"""Font size of the labels of ticks, in points."""
_APART = 0.36
"""Inches between ticks one above the other."""
_GAP = 0.16
"""Inches between labels next to each other."""
_STEPS = tuple(share * 10.0**power for power in range(-6, 7) for share in (1, 2, 2.5, 5))


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


def share_ticks(low: float, high: float, most: int) -> list[float]:
    """Evenly spaced ticks from `low` to `high`, at most `most` if that is at least 2, of which one is at 1."""
    step = next((step for step in _STEPS if (high - low) / step < most - 1e-9), _STEPS[-1])
    first, last = int(np.ceil((low - 1) / step - 1e-9)), int(np.floor((high - 1) / step + 1e-9))
    return [round(1 + step * number, 9) for number in range(first, last + 1)]


def number_ticks(axes: Axes, side: str, *, share: bool = False, per_cent_signs: bool = False) -> None:
    """Set the ticks of an axis once its limits are set.

    Args:
        side: "x" or "y".
        share: whether 1 is the whole: there is a tick at 1 if it is within the limits.
        per_cent_signs: write shares as per cent.
    """
    axis = axes.xaxis if side == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    formatter: Formatter = FuncFormatter(per_cent) if per_cent_signs else NumberFormatter()
    most = _most_ticks(axes, side, formatter, low, high)
    if share and low <= 1 <= high:
        axis.set_major_locator(FixedLocator(share_ticks(low, high, max(most, 2))))
    else:
        axis.set_major_locator(MaxNLocator(max(most - 1, 1)))
    axis.set_major_formatter(formatter)
    axis.set_tick_params(labelsize=TICK_SIZE)


def step_ticks(axes: Axes) -> None:
    """Set the ticks of an axis of environment steps once its limits are set."""
    formatter = FuncFormatter(steps_text)
    most = _most_ticks(axes, "x", formatter, *axes.get_xlim())
    axes.xaxis.set_major_locator(MaxNLocator(max(min(most - 1, 5), 1), integer=True))
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.set_tick_params(labelsize=TICK_SIZE)


def _most_ticks(axes: Axes, side: str, formatter: Formatter, low: float, high: float) -> int:
    width, height = axes.get_figure().get_size_inches()  # type: ignore[union-attr]
    box = axes.get_position()
    if side == "y":
        return 1 + int(box.height * height / _APART)
    # The labels of five ticks have the digits of most others.
    labels = formatter.format_ticks([float(value) for value in MaxNLocator(4).tick_values(low, high)])
    widest = max(text_inches(label, TICK_SIZE) for label in labels)
    return 1 + int(box.width * width / (widest + _GAP))


def label_width(low: float, high: float, inches: float) -> float:
    """The inches that the labels of a vertical axis take, which has these limits and this height."""
    values = [float(value) for value in MaxNLocator(max(int(inches / _APART), 1)).tick_values(low, high)]
    return max(text_inches(label, TICK_SIZE) for label in NumberFormatter().format_ticks(values))


def per_cent(value: float, _: Any = None) -> str:
    """Format a share for an axis."""
    return with_minus(f"{100 * value:.4g} %")


def steps_text(steps: float, _: Any = None) -> str:
    """Format environment steps for an axis."""
    if steps >= 1e6:
        return f"{steps / 1e6:g}M"
    return f"{steps / 1e3:g}k" if steps >= 1e3 else f"{steps:g}"
