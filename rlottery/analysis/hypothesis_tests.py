"""Exact tests for few runs, and the correction for many tests. Pure functions.

SciPy takes long to load, so it is imported where it is used.
"""

import math
from collections.abc import Collection, Sequence

import numpy as np

from rlottery.analysis.arrays import FloatArray, checked

_MOST_CELLS = 50_000_000
"""How many additions an exact rank-sum test may take: well under a second."""


def rank_sum_above(one: Collection[float], other: Collection[float], rounding: float = 0.0) -> float:
    """p-value against "`one` is not larger than `other`": the rank-sum test, one-sided (Wilcoxon 1945).

    It is the exact permutation test, also with ties: of all ways to divide the values into groups of these sizes, the
    share that has a rank sum of the first group as large as the observed one. Of many values it is the normal
    approximation with corrections for ties and continuity. Ranks don't mind how far away an outlier is.

    Args:
        one, other: independent values.
        rounding: values that differ by no more are ties.

    Raises:
        ValueError: one of the groups is empty, or some values are NaN or infinite.
    """
    from scipy.special import ndtr

    first, second = checked(list(one)), checked(list(other))
    n, total = first.size, first.size + second.size
    doubled = _doubled_ranks(np.concatenate([first, second]), rounding)
    # The smaller group is as informative, and takes less time. Its rank sum is small where the other's is large.
    sign, group = (1, doubled[:n]) if 2 * n <= total else (-1, doubled[n:])
    few, observed = group.size, int(group.sum())
    sums = int(np.sort(doubled)[-few:].sum())
    if few * sums * total > _MOST_CELLS:
        mean, variance = few * (total + 1), few * (total - few) * float(np.var(doubled)) / (total - 1)
        return float(ndtr(-(sign * (observed - mean) - 1) / math.sqrt(variance))) if variance > 0 else 1.0
    # ways[k, s]: in how many ways k of the values so far have the rank sum s.
    ways = np.zeros((few + 1, sums + 1))
    ways[0, 0] = 1
    for rank in doubled.tolist():
        ways[1:, rank:] += ways[:-1, : sums + 1 - rank]
    counted = ways[few, observed:] if sign > 0 else ways[few, : observed + 1]
    return min(1.0, float(counted.sum() / ways[few].sum()))


def rate_at_most(failed: int, runs: int, level: float) -> float:
    """The exact one-sided upper bound of a failure rate (Clopper and Pearson 1934): larger rates are excluded.

    Args:
        level: the probability of seeing so few failures, if the rate is the bound.
    """
    from scipy.special import betaincinv

    return 1.0 if failed >= runs else float(betaincinv(failed + 1, runs - failed, 1 - level))


def fails_more_often(failed: int, runs: int, other_failed: int, other_runs: int) -> float:
    """p-value against "the first arm fails no more often than the other": Fisher's exact test, one-sided (1934)."""
    total = failed + other_failed
    ways = [math.comb(runs, k) * math.comb(other_runs, total - k) for k in range(failed, min(runs, total) + 1)]
    return sum(ways) / math.comb(runs + other_runs, total)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """p-values after Holm's (1979) step-down correction for multiple tests, in the given order. None is not a test.

    Rejecting where the adjusted value is at most a level keeps the probability of any false rejection at most at that
    level, whatever the dependence between the tests.

    Raises:
        ValueError: a p-value is not between 0 and 1.
    """
    tests = sorted((p, index) for index, p in enumerate(p_values) if p is not None)
    if not all(0 <= p <= 1 for p, _ in tests):
        raise ValueError(f"p-values must be between 0 and 1, not {list(p_values)}.")
    adjusted: list[float | None] = [None] * len(p_values)
    highest = 0.0
    for rank, (p, index) in enumerate(tests):
        highest = max(highest, min(1.0, (len(tests) - rank) * p))
        adjusted[index] = highest
    return adjusted


def _doubled_ranks(values: FloatArray, rounding: float) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    """Twice the rank of each value, where ties share the mean of their ranks: whole numbers."""
    order = np.argsort(values, kind="stable")
    starts = np.flatnonzero(np.concatenate([[True], np.diff(values[order]) > rounding]))
    sizes = np.diff(np.append(starts, values.size))
    ranks = np.empty(values.size, dtype=np.int64)
    ranks[order] = np.repeat(2 * starts + sizes + 1, sizes)
    return ranks
