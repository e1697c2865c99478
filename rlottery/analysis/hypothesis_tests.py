"""Tests of paired differences of few seeds, bounds, and the correction for many. They know nothing of studies.

SciPy is imported where it is used: it takes long to load.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from rlottery.analysis.arrays import ROUNDING, FloatArray, checked

EXACT_FLIPS_UP_TO = 16
RANDOM_FLIPS = 100_000


class TTest(NamedTuple):
    """A one-sample t-test, both one-sided ways.

    Attributes:
        n: how many differences.
        mean: of the differences.
        sd: their standard deviation (n - 1 in its denominator); mean - null over sd / sqrt(n) is t.
        df: degrees of freedom.
        p_above: p-value of "the mean is null or less": small where the mean is above null.
        p_below: of "the mean is null or more".
    """

    n: int
    mean: float
    sd: float
    df: float
    p_above: float
    p_below: float


def paired_t(differences: ArrayLike, null: float = 0.0) -> TTest:
    """One-sample t-test of paired differences against `null`, both one-sided ways (Student 1908).

    Without any spread beyond rounding the p-values are 0 and 1 by the side that the mean is on, and 0.5 where it is
    null. Differences of two nearly equal numbers keep the rounding of these numbers: round them before.

    Args:
        differences: shape (n,), a seed each.

    Raises:
        ValueError: fewer than two differences, or some are NaN or infinite.
    """
    values = checked(differences, at_least=2)
    mean, sd = _mean_sd(values)
    return _t_test(values.size, mean, sd, sd / math.sqrt(values.size), values.size - 1, null)


def pooled_t(groups: Sequence[ArrayLike], null: float = 0.0) -> TTest:
    """t-test of the mean over tasks of each task's mean difference, tasks being fixed and their spreads unequal.

    The standard error is sqrt(sum of var_k / n_k) / K; degrees of freedom by Welch 1947 and Satterthwaite 1946. A
    single task gives `paired_t`. In the result n counts all differences, and sd is the standard error times sqrt(n).

    Args:
        groups: a task each, its differences, shape (seeds,).

    Raises:
        ValueError: no tasks, a task with fewer than two differences, or some are NaN or infinite.
    """
    tasks = [checked(group, at_least=2) for group in groups]
    if not tasks:
        raise ValueError("No tasks.")
    moments = [_mean_sd(task) for task in tasks]
    squared = np.array([sd**2 / task.size for task, (_, sd) in zip(tasks, moments, strict=True)])
    n, df = sum(task.size for task in tasks), float(sum(task.size - 1 for task in tasks))
    if (most := squared.max()) > 0:
        # Of the largest, so that squares of small numbers don't vanish.
        relative = squared / most
        df = float(relative.sum() ** 2 / sum(relative**2 / [task.size - 1 for task in tasks]))
    error = math.sqrt(squared.sum()) / len(tasks)
    mean = math.fsum(mean for mean, _ in moments) / len(tasks)
    return _t_test(n, mean, error * math.sqrt(n), error, df, null)


def ratio_bounds(
    numerator: ArrayLike, denominator: ArrayLike, level: float = 0.05
) -> tuple[float | None, float | None]:
    """One-sided bounds, each at `level`, of mean(numerator) / mean(denominator) of paired values (Fieller 1954).

    They invert the t-test of numerator - r x denominator: its p_above is less than `level` for every r below the
    lower bound and for no other, its p_below for every r above the upper one.

    Args:
        numerator, denominator: shape (n,), a seed each.

    Returns:
        low, high: None, both, where the denominator's mean is not above 0 at `level`: the test then rules out no r
        that is far enough away. It may still rule out some nearer one.

    Raises:
        ValueError: fewer than two values, unequal numbers of them, NaN or infinity, or a level not within (0, 0.5).
    """
    from scipy.special import stdtrit

    top, bottom = checked(numerator, at_least=2), checked(denominator, at_least=2)
    if top.size != bottom.size:
        raise ValueError(f"{top.size} numerators and {bottom.size} denominators are no pairs.")
    if not 0 < level < 0.5:
        raise ValueError(f"The level of a bound lies between 0 and 0.5; {level} doesn't.")
    n = top.size
    reach = float(stdtrit(n - 1, 1 - level)) ** 2 / n
    mean, sd = _mean_sd(bottom)
    if mean <= 0 or mean**2 <= reach * sd**2:
        return None, None
    # From the ratio of the means: what is left has the mean 0, and the discriminant becomes a sum of squares.
    ratio = float(top.mean()) / mean
    rest = top - ratio * bottom
    rest = rest - rest.mean()
    square = mean**2 - reach * sd**2
    half = -reach * float(rest @ (bottom - mean)) / (n - 1)
    root = math.sqrt(half**2 + square * reach * float(rest @ rest) / (n - 1))
    return ratio + (half - root) / square, ratio + (half + root) / square


def sign_flip(differences: ArrayLike, null: float = 0.0) -> tuple[float, float]:
    """Sign-flip permutation test of paired differences, both one-sided ways (Fisher 1935).

    Exact over all 2^n signs up to n = 16; beyond, 100,000 random ones from a fixed seed, and the observed ones
    (Phipson and Smyth 2010). Sums that tie with the observed one count. No p-value is below 2^-n.

    Args:
        differences: shape (n,), a seed each.

    Returns:
        p_above, p_below: as in `TTest`, under differences symmetric about `null`.

    Raises:
        ValueError: no differences, or some are NaN or infinite.
    """
    values = checked(differences)
    scale = max(float(np.abs(values).max()), abs(null))
    values = values - null
    if values.size <= EXACT_FLIPS_UP_TO:
        sums = np.zeros(1)
        for value in values:
            sums = np.concatenate([sums + value, sums - value])
    else:
        generator = np.random.default_rng(0)
        sums = np.zeros(RANDOM_FLIPS)
        for value in values:
            sums += np.where(generator.random(RANDOM_FLIPS) < 0.5, value, -value)
        sums = np.append(sums, values.sum())
    observed, tie = values.sum(), ROUNDING * scale * values.size
    return float(np.mean(sums >= observed - tie)), float(np.mean(sums <= observed + tie))


def holm(p_values: Sequence[float]) -> list[float]:
    """p-values adjusted for being many, in the given order: Holm 1979's step-down Bonferroni.

    To reject where the adjusted value is below a level keeps the chance of any false rejection below it, however the
    tests depend on one another.

    Raises:
        ValueError: a p-value not within [0, 1].
    """
    if not all(0 <= p <= 1 for p in p_values):
        raise ValueError(f"p-values lie between 0 and 1, not {list(p_values)}.")
    adjusted, highest = [0.0] * len(p_values), 0.0
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda index: p_values[index])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def _t_test(n: int, mean: float, sd: float, error: float, df: float, null: float) -> TTest:
    from scipy.special import stdtr

    distance = mean - null
    if abs(distance) <= ROUNDING * max(abs(mean), abs(null)):
        distance = 0.0
    if error == 0:
        above = 0.5 if distance == 0 else float(distance < 0)
        return TTest(n, mean, sd, df, above, 1 - above)
    t = distance / error
    return TTest(n, mean, sd, df, float(stdtr(df, -t)), float(stdtr(df, t)))


def _mean_sd(values: FloatArray) -> tuple[float, float]:
    mean, sd = float(values.mean()), float(values.std(ddof=1))
    return mean, sd if np.ptp(values) > ROUNDING * np.abs(values).max() else 0.0
