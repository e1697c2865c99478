"""Which k scores are highest: the rule for ties that allocation and selection share."""

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlottery.errors import MaskError

RealArray: TypeAlias = NDArray[np.floating[Any]]
BoolArray: TypeAlias = NDArray[np.bool_]

Scores: TypeAlias = Mapping[str, RealArray]
"""Layer path -> a score for every kernel weight (inputs, outputs); layers from input to output."""


def keep_highest(scores: RealArray, count: int) -> BoolArray:
    """Marks exactly `count` of the highest scores; among equal scores the lowest index wins.

    Args:
        scores: shape (n,).
        count: from 0 to n.

    Returns:
        Shape (n,), true where the score is among the highest.

    Raises:
        MaskError: a score is NaN, which has no rank, or `count` is out of range.
    """
    if not 0 <= count <= scores.size:
        raise MaskError(f"Can't keep {count} of {scores.size} weights.")
    if np.isnan(scores).any():
        raise MaskError("NaN scores can't be ranked.")
    if count == 0:
        return np.zeros(scores.shape, dtype=np.bool_)
    # A partition finds the lowest surviving score in linear time. A stable sort takes 50 times as long.
    lowest_kept = np.partition(scores, scores.size - count)[scores.size - count]
    kept: BoolArray = scores > lowest_kept
    ties = np.flatnonzero(scores == lowest_kept)
    kept[ties[: count - np.count_nonzero(kept)]] = True
    return kept
