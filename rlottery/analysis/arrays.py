"""Arrays of numbers, as the statistics take them: in any unit, from 1e-300 to 1e300.

Squares of such numbers underflow or overflow. Statistics are therefore computed on `scaled` numbers, divided by a power
of two, which changes no digit.
"""

import math
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]

ROUNDING = 1e-12
"""Differences of at most this share of the largest number are taken for rounding."""

NORMALISED_ROUNDING = 1e-9
"""Normalised differences that differ by no more than this are equal: means of equal scores differ in the last bits."""

_LAST_BITS = 4 * float(np.finfo(np.float64).eps)
"""Sums and means of the same numbers, in another order, differ by no more than this share of the largest."""


def checked(values: ArrayLike, at_least: int = 1) -> FloatArray:
    """The values as an array of shape (n,).

    Raises:
        ValueError: there are fewer than `at_least` numbers, some are NaN or infinite, or there are several dimensions.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < at_least:
        raise ValueError(f"Needs at least {at_least} numbers in one dimension, not an array of shape {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("Some of the numbers are NaN or infinite.")
    return array


def exponent_of(*arrays: FloatArray) -> int:
    """The smallest exponent of two above the magnitude of all numbers; 0 if all are 0."""
    return math.frexp(max((float(np.abs(array).max()) for array in arrays if array.size), default=0.0))[1]


def scaled(values: FloatArray, exponent: int) -> FloatArray:
    """values / 2**exponent, exactly."""
    result: FloatArray = np.ldexp(values, -exponent)
    return result


def mean_of(values: Iterable[float]) -> float:
    """The mean, correctly rounded; also of numbers whose sum would overflow.

    Raises:
        ValueError: there are no numbers.
    """
    known = list(values)
    if not known:
        raise ValueError("There are no numbers to average.")
    exponent = math.frexp(max(map(abs, known)))[1]
    return math.ldexp(math.fsum(math.ldexp(value, -exponent) for value in known) / len(known), exponent)


def rounding_of(values: Iterable[float]) -> float:
    """The difference up to which two of these numbers, or means of them, are equal but for rounding.

    It is absolute: returns near 1e9 have seven digits after the decimal point, whatever they differ by.
    """
    return _LAST_BITS * max(map(abs, values), default=0.0)


def merged(values: Iterable[float]) -> dict[float, float]:
    """Each number -> the smallest of those that are equal to it but for their last bits."""
    found: dict[float, float] = {}
    last = math.nan
    for value in sorted(set(values)):
        found[value] = found[last] if value - last <= rounding_of([value, last]) else value
        last = value
    return found
