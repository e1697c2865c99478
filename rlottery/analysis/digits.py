"""How many digits scores are shown with: as many as it takes to see what differs.

`digits_for` is for tables, whose numbers have the same decimals; `number_formatter` is for axes, labels and sentences,
without zeros at the end. CSV files have every digit. Returns of an ordinary size have three digits or whole numbers
(3,542, -157, 9.31). Those that differ less show more decimals, and very large or very small ones an exponent.
"""

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from rlottery.analysis.arrays import rounding_of
from rlottery.analysis.runs import Metric

MINUS = "\N{MINUS SIGN}"

_STEPS = 3
"""Where the usual digits show no difference, it is shown with at least this many units of the last digit."""
_MOST = 15
"""Decimal digits that a double has for certain."""
_LARGE, _LARGEST, _SMALLEST = 1e10, 1e15, 1e-4
"""Numbers above the first are shown with an exponent if their last digits don't matter; above the second, and below the
third, in any case."""


@dataclass(frozen=True)
class Digits:
    """A format for numbers that are shown together.

    Attributes:
        decimals: digits after the point.
        exponent: whether numbers are shown as ``1.02e+40``.
    """

    decimals: int
    exponent: bool = False

    def __call__(self, value: float, sign: str = "") -> str:
        """``1,234.5``; zero has no sign. With the sign "+", positive numbers have one."""
        if self.exponent or abs(value) >= _LARGEST:
            decimals = self.decimals if self.exponent else 2
            return with_minus(f"{value:{sign}.{decimals}e}") if value else "0"
        rounded = round(value, self.decimals) + 0.0
        return with_minus(f"{rounded:{sign if rounded else ''},.{self.decimals}f}")


def with_minus(text: str) -> str:
    """A formatted number with a minus sign in the place of a hyphen."""
    return text.replace("-", MINUS)


def digits_for(values: Iterable[float], metric: Metric = "return", differences: Iterable[float] = ()) -> Digits:
    """The format of numbers that are shown together.

    Args:
        metric: success rates have two decimals or more.
        differences: what must be visible; by default the range of the values.
    """
    known = [value for value in values if math.isfinite(value)]
    largest = max(map(abs, known), default=0.0)
    if largest == 0:
        return Digits(2)
    first, apart = _place(largest), _apart(known, differences)
    needed = _decimals_for(apart)
    usual = 2 if metric == "success" else 0 if largest >= 100 else 1 if largest >= 10 else 2 if largest >= 0.1 else None
    if usual is not None and apart >= 10.0**-usual:
        needed = min(needed, usual)
    mantissa = min(max(2, first + needed), _MOST)
    if metric == "return" and (
        largest >= _LARGEST or largest < _SMALLEST or (largest >= _LARGE and needed < 0 and mantissa < 6)
    ):
        return Digits(mantissa, exponent=True)
    return Digits(max(2 - first if usual is None else usual, min(needed, _MOST - 1 - first)))


def number_formatter(values: Iterable[float], differences: Iterable[float] = ()) -> Callable[[float], str]:
    """A format with as many significant digits as it takes to tell these numbers apart; three at least.

    Args:
        differences: what must be visible; by default the range of the values.
    """
    known = [value for value in values if math.isfinite(value)]
    largest = max(map(abs, known), default=0.0)
    needed = _place(largest) + _decimals_for(_apart(known, differences)) + 1 if largest else 0
    digits = min(max(3, needed), _MOST)

    def shown(value: float) -> str:
        return with_minus(f"{float(f'{value:.{digits}g}'):,.{max(digits, 10)}g}")

    return shown


def _apart(values: list[float], differences: Iterable[float] = ()) -> float:
    """The largest difference, or else the range of the values; if it is only rounding, the largest value."""
    apart = max(map(abs, differences), default=min(max(values) - min(values), sys.float_info.max))
    return apart if apart > rounding_of(values) else max(map(abs, values))


def _decimals_for(apart: float) -> int:
    """Decimals at which a difference has `_STEPS` units; may be negative."""
    first_digits, _, exponent = f"{apart:e}".partition("e")
    return -int(exponent) + (float(first_digits) < _STEPS)


def _place(value: float) -> int:
    """The exponent of ten of the first digit: 2 for 345, -3 for 0.0042."""
    return int(f"{value:e}".partition("e")[2])
