"""Tests of paired differences for few seeds, bounds, and the correction for many tests. Pure functions.

SciPy takes long to load, so it is imported where it is used.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlottery.analysis.arrays import ROUNDING, FloatArray, checked, exponent_of, scaled

EXACT_FLIPS_UP_TO = 16
RANDOM_FLIPS = 100_000

_SIGN = np.uint64(2**63)
"""The sign of a number in double precision."""


class TTest(NamedTuple):
    """A one-sample t-test with both one-sided p-values.

    Attributes:
        n: number of differences.
        mean: of the differences.
        sd: their standard deviation (with n - 1); t is mean / (sd / sqrt(n)).
        df: degrees of freedom.
        p_above: p-value against "the mean is 0 or less"; small if the mean is above 0.
        p_below: p-value against "the mean is 0 or more".
    """

    n: int
    mean: float
    sd: float
    df: float
    p_above: float
    p_below: float


def paired_t(differences: ArrayLike, rounding: float = 0.0) -> TTest:
    """One-sample t-test of paired differences against a mean of 0, one-sided both ways (Student 1908).

    Without any spread beyond rounding, the p-values are 0 and 1 depending on the side of the mean, and 0.5 if the mean
    is 0.

    Args:
        differences: one per seed, shape (n,).
        rounding: differences of differences up to this are rounding: those of two nearly equal numbers keep their
            rounding errors. `ROUNDING` times the largest difference is rounding in any case.

    Raises:
        ValueError: there are fewer than two differences, or some are NaN or infinite.
    """
    return pooled_t([differences], [rounding])


def pooled_t(groups: Sequence[ArrayLike], rounding: Sequence[float] | None = None) -> TTest:
    """t-test of the mean over tasks of the mean difference of each task, for fixed tasks with unequal spreads.

    The standard error is sqrt(sum of var_k / n_k) / K, with degrees of freedom by Welch (1947) and Satterthwaite
    (1946). For a single task it is the paired t-test. In the result, n counts all differences, and sd is the standard
    error times sqrt(n).

    Args:
        groups: for every task its differences, shape (seeds,).
        rounding: for every task, as for `paired_t`.

    Raises:
        ValueError: there are no tasks, a task has fewer than two differences, or some are NaN or infinite.
    """
    tasks = [checked(group, at_least=2) for group in groups]
    if not tasks:
        raise ValueError("There are no tasks.")
    exponent = exponent_of(*tasks)
    errors = [math.ldexp(of_task, -exponent) for of_task in rounding or [0.0] * len(tasks)]
    moments = [mean_and_sd(scaled(task, exponent), of_task) for task, of_task in zip(tasks, errors, strict=True)]
    squared = np.array([sd**2 / task.size for task, (_, sd) in zip(tasks, moments, strict=True)])
    n, df = sum(task.size for task in tasks), float(sum(task.size - 1 for task in tasks))
    if (most := squared.max()) > 0:
        # Relative to the largest, so that squares of small numbers do not underflow.
        relative = squared / most
        df = float(relative.sum() ** 2 / sum(relative**2 / [task.size - 1 for task in tasks]))
    error = math.sqrt(squared.sum()) / len(tasks)
    mean = math.fsum(mean for mean, _ in moments) / len(tasks)
    if error == 0 and abs(mean) <= max(*errors, ROUNDING * max(abs(mean) for mean, _ in moments)):
        mean = 0.0
    above, below = _p_values(mean, error, df)
    return TTest(n, math.ldexp(mean, exponent), math.ldexp(error * math.sqrt(n), exponent), df, above, below)


def ratio_bounds(
    numerator: ArrayLike, denominator: ArrayLike, level: float = 0.05
) -> tuple[float | None, float | None]:
    """One-sided bounds, each at `level`, of mean(numerator) / mean(denominator) of paired values (Fieller 1954).

    They invert the t-test of numerator - r x denominator: its p_above is below `level` exactly for every r below the
    lower bound, and its p_below exactly for every r above the upper bound.

    Args:
        numerator, denominator: one value per seed, shape (n,).

    Returns:
        low, high: both None if the denominator's mean is not significantly above 0 at `level`, because the test then
        rejects no r that is far enough away.

    Raises:
        ValueError: there are fewer than two values, the numbers of values differ, some are NaN or infinite, or the
            level is not between 0 and 0.5.
    """
    from scipy.special import stdtrit

    top, bottom = checked(numerator, at_least=2), checked(denominator, at_least=2)
    if top.size != bottom.size:
        raise ValueError(f"{top.size} numerators and {bottom.size} denominators can't be paired.")
    if not 0 < level < 0.5:
        raise ValueError(f"The level of a bound must be between 0 and 0.5, not {level}.")
    n = top.size
    reach = float(stdtrit(n - 1, 1 - level)) ** 2 / n
    of_top, of_bottom = exponent_of(top), exponent_of(bottom)
    top, bottom = scaled(top, of_top), scaled(bottom, of_bottom)
    mean, sd = mean_and_sd(bottom)
    if mean <= 0 or mean**2 <= reach * sd**2:
        return None, None
    # Relative to the ratio of the means, the residuals have mean 0 and the discriminant is a sum of squares.
    ratio = float(top.mean()) / mean
    rest = top - ratio * bottom
    rest = rest - rest.mean()
    square = mean**2 - reach * sd**2
    half = -reach * float(rest @ (bottom - mean)) / (n - 1)
    root = math.sqrt(half**2 + square * reach * float(rest @ rest) / (n - 1))
    low, high = ratio + (half - root) / square, ratio + (half + root) / square
    return math.ldexp(low, of_top - of_bottom), math.ldexp(high, of_top - of_bottom)


def fewest_for_sign_flips(level: float) -> int:
    """The fewest pairs for which a one-sided sign-flip test can reach the level: its smallest p-value is 0.5**n."""
    return next(n for n in itertools.count(1) if 0.5**n <= level)


def sign_flip(differences: ArrayLike, rounding: float = 0.0) -> tuple[float, float]:
    """Sign-flip permutation test of paired differences, one-sided both ways (Fisher 1935).

    Up to n = 16 it is exact, over all 2^n signs. Beyond that it uses 100,000 random signs from a fixed seed, and the
    observed ones (Phipson and Smyth 2010). Sums equal to the observed one count. No p-value is below 2^-n.

    Args:
        differences: one per seed, shape (n,).
        rounding: of a single difference, as for `paired_t`: sums that differ by no more are equal.

    Returns:
        p_above, p_below: as in `TTest`, if the differences are symmetric about 0.

    Raises:
        ValueError: there are no differences, or some are NaN or infinite.
    """
    return sign_flips([differences], rounding)[0]


def sign_flips(of_tests: Sequence[ArrayLike], rounding: float = 0.0) -> list[tuple[float, float]]:
    """`sign_flip` of several differences of the same seeds, whose signs are drawn once.

    Args:
        of_tests: for every test its differences, shape (n,).
    """
    every = [checked(differences) for differences in of_tests]
    exponents = [exponent_of(values) for values in every]
    every = [scaled(values, exponent) for values, exponent in zip(every, exponents, strict=True)]
    flipped = _every_flip if every[0].size <= EXACT_FLIPS_UP_TO else _random_flips
    found = []
    for values, exponent, sums in zip(every, exponents, flipped(every), strict=True):
        error = max(ROUNDING * float(np.abs(values).max()), math.ldexp(rounding, -exponent))
        observed, tie = values.sum(), error * values.size
        found.append((float(np.mean(sums >= observed - tie)), float(np.mean(sums <= observed + tie))))
    return found


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


def mean_and_sd(values: FloatArray, rounding: float = 0.0) -> tuple[float, float]:
    """Mean and standard deviation (with n - 1); 0 where they are nothing but rounding. Shape (n,) with n > 1."""
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    if np.ptp(values) > max(ROUNDING * np.abs(values).max(), rounding):
        return mean, sd
    return mean if abs(mean) > rounding else 0.0, 0.0


def _every_flip(of_tests: Sequence[FloatArray]) -> list[FloatArray]:
    """For every test the sums under all 2^n signs."""
    found = []
    for values in of_tests:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
        found.append(sums)
    return found


def _random_flips(of_tests: Sequence[FloatArray]) -> list[FloatArray]:
    """For every test the sums under `RANDOM_FLIPS` random signs, and the observed sum; equal signs for all tests."""
    generator = np.random.default_rng(0).bit_generator
    found = [np.zeros(RANDOM_FLIPS) for _ in of_tests]
    for values in zip(*(values.view(np.uint64) for values in of_tests), strict=True):
        # The first bit of 64 random ones becomes the sign: minus where they are a number of 0.5 or more, from 0 to 1.
        flips = generator.random_raw(RANDOM_FLIPS) & _SIGN
        for sums, value in zip(found, values, strict=True):
            sums += (flips ^ value).view(np.float64)
    return [np.append(sums, values.sum()) for sums, values in zip(found, of_tests, strict=True)]


def _p_values(mean: float, error: float, df: float) -> tuple[float, float]:
    """p-values against "the mean is 0 or less" and "0 or more"."""
    from scipy.special import stdtr

    if error == 0:
        above = 0.5 if mean == 0 else float(mean < 0)
        return above, 1 - above
    return float(stdtr(df, -mean / error)), float(stdtr(df, mean / error))
