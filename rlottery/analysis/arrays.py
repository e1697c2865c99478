"""Rows of numbers: what the statistics take."""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]

ROUNDING = 1e-12
"""Differences of this share of the largest number, or less, are rounding."""


def checked(values: ArrayLike, at_least: int = 1) -> FloatArray:
    """As an array of shape (n,).

    Raises:
        ValueError: fewer numbers than `at_least`, some are NaN or infinite, or there is more than one dimension.
    """
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < at_least:
        raise ValueError(f"At least {at_least} numbers in one dimension are needed, not an array of {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("Some of the numbers are NaN or infinite.")
    return array
