"""Arrays of numbers, as the statistics take them."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]

ROUNDING = 1e-12
"""Differences of at most this share of the largest number are taken for rounding."""


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
