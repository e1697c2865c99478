"""Statistics of few seeds: aggregates with bootstrap intervals, tests of means, corrections, seeds that are needed.

Pure functions on NumPy arrays that know nothing of studies. SciPy is imported where it is used: it takes long to load.
"""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

FloatArray: TypeAlias = NDArray[np.float64]

Groups: TypeAlias = Sequence[FloatArray]
"""A task each: the scores of its runs, shape (runs,). Tasks may have unequal numbers of runs."""

Statistic: TypeAlias = Callable[[Groups], FloatArray]
"""Maps tasks, a (resamples, runs) array each, to (resamples,)."""

PairedStatistic: TypeAlias = Callable[[Groups, Groups], FloatArray]
"""The same of two arms, which have the same tasks."""

ROUNDING = 1e-12
"""Differences of this share of the largest number, or less, are rounding."""

EXACT_FLIPS_UP_TO = 16
RANDOM_FLIPS = 100_000
MOST_FURTHER = 100
"""Further seeds up to which it is reckoned how many would decide a verdict."""


class Interval(NamedTuple):
    """A two-sided interval."""

    low: float
    high: float


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


def interquartile_mean(values: ArrayLike) -> float:
    """The mean of the middle half: floor(n / 4) of the n values are cut off at either end.

    The 25 % trimmed mean of Agarwal et al. 2021 ("Deep RL at the Edge of the Statistical Precipice").

    Args:
        values: shape (n,).

    Raises:
        ValueError: no values, or some are NaN or infinite.
    """
    return float(_trimmed_mean(_checked(values)))


def mean_over_tasks(tasks: Groups) -> FloatArray:
    """Mean over tasks of a task's mean score; of one task, the mean of its runs. A `Statistic`."""
    means: FloatArray = np.mean([task.mean(axis=-1) for task in tasks], axis=0)
    return means


def median_over_tasks(tasks: Groups) -> FloatArray:
    """Median over tasks of a task's mean score (Agarwal et al. 2021, as the Atari papers have it). A `Statistic`.

    Of one task it is the mean: the median of a task's runs is `median_of_runs`.
    """
    medians: FloatArray = np.median([task.mean(axis=-1) for task in tasks], axis=0)
    return medians


def median_of_runs(tasks: Groups) -> FloatArray:
    """Median of all runs of all tasks. A `Statistic`."""
    medians: FloatArray = np.median(np.concatenate(tasks, axis=-1), axis=-1)
    return medians


def iqm_of_runs(tasks: Groups) -> FloatArray:
    """Interquartile mean of all runs of all tasks (Agarwal et al. 2021). A `Statistic`.

    Tasks with more runs weigh more.
    """
    return _trimmed_mean(np.concatenate(tasks, axis=-1))


def improvement_over_tasks(tasks: Groups, others: Groups) -> FloatArray:
    """`probability_of_improvement` of many resamples: a `PairedStatistic`."""
    shares: FloatArray = np.mean([_share_above(x, y) for x, y in zip(tasks, others, strict=True)], axis=0)
    return shares


def value_of(statistic: Statistic, groups: Sequence[ArrayLike]) -> float:
    """A statistic of the runs themselves.

    Raises:
        ValueError: no tasks, a task without runs, or a score that is NaN or infinite.
    """
    return float(statistic([runs[None, :] for runs in _checked_tasks(groups)])[0])


def bootstrap(
    groups: Sequence[ArrayLike], statistic: Statistic, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Interval | None:
    """Stratified percentile bootstrap (Agarwal et al. 2021): runs are drawn again, with replacement, within each task.

    Tasks are not drawn again: the interval is about more seeds of these tasks, not about other tasks. It is narrower
    than it says with few runs, for the bootstrap takes their spread for the whole.

    Args:
        groups: a task each, the scores of its runs, shape (runs,).
        seed: the same one gives the same interval.
        level: that the interval is to cover with.

    Returns:
        None where some task has a single run, which tells of no spread.

    Raises:
        ValueError: no tasks, a task without runs, a score that is NaN or infinite, or a level not between 0 and 1.
    """
    tasks = _checked_tasks(groups)
    if any(task.size == 1 for task in tasks):
        return None
    generator = np.random.default_rng(seed)
    return _percentiles(statistic([_resampled(task, resamples, generator) for task in tasks]), level)


def bootstrap_paired(
    groups_x: Sequence[ArrayLike],
    groups_y: Sequence[ArrayLike],
    statistic: PairedStatistic,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """The bootstrap of a statistic of two arms: the runs of each are drawn again, independently, within each task.

    Arguments, result and errors are those of `bootstrap`; tasks come in the same order.

    Raises:
        ValueError: also where the arms have unequal numbers of tasks.
    """
    xs, ys = _checked_pairs(groups_x, groups_y)
    if any(task.size == 1 for task in (*xs, *ys)):
        return None
    generator = np.random.default_rng(seed)
    resampled_x = [_resampled(task, resamples, generator) for task in xs]
    resampled_y = [_resampled(task, resamples, generator) for task in ys]
    return _percentiles(statistic(resampled_x, resampled_y), level)


def probability_of_improvement(groups_x: Sequence[ArrayLike], groups_y: Sequence[ArrayLike]) -> float:
    """How likely a run of X scores above one of Y on the same task, ties counting half; the mean over tasks.

    The Mann-Whitney statistic over its greatest value (Agarwal et al. 2021, section 4.3).

    Raises:
        ValueError: as `bootstrap_paired`.
    """
    xs, ys = _checked_pairs(groups_x, groups_y)
    return float(improvement_over_tasks([x[None, :] for x in xs], [y[None, :] for y in ys])[0])


def performance_profile(
    groups: Sequence[ArrayLike], at: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Share of all runs of all tasks that score at least as much as each of some points, with a bootstrap band.

    Agarwal et al. 2021 (section 4.2) count the runs *above* a point; here a run that is exactly as good as the dense
    agent has reached it. The band is pointwise: each point's is right by itself, the whole curve leaves it more often.

    Args:
        groups: a task each, the scores of its runs, shape (runs,).
        at: shape (points,).

    Returns:
        reached, low, high: shape (points,) each. The band is NaN where some task has a single run.

    Raises:
        ValueError: as `bootstrap`, or a point is NaN or infinite.
    """
    tasks, points = _checked_tasks(groups), _checked(at)
    reaches = (np.concatenate(tasks)[:, None] >= points).astype(np.float64)
    reached: FloatArray = reaches.mean(axis=0)
    if any(task.size == 1 for task in tasks):
        return reached, np.full_like(reached, np.nan), np.full_like(reached, np.nan)
    generator = np.random.default_rng(seed)
    # How often a run is drawn is all that counts here, and makes the band a matrix product.
    drawn = [generator.multinomial(task.size, np.full(task.size, 1 / task.size), size=resamples) for task in tasks]
    low, high = _quantiles(np.concatenate(drawn, axis=1) @ reaches / len(reaches), level)
    return reached, low, high


def paired_t(differences: ArrayLike, null: float = 0.0) -> TTest:
    """One-sample t-test of paired differences against `null`, both one-sided ways (Student 1908).

    Without any spread beyond rounding the p-values are 0 and 1 by the side that the mean is on, and 0.5 where it is
    null. Differences of two nearly equal numbers keep the rounding of these numbers: round them before.

    Args:
        differences: shape (n,), a seed each.

    Raises:
        ValueError: fewer than two differences, or some are NaN or infinite.
    """
    values = _checked(differences, at_least=2)
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
    tasks = [_checked(group, at_least=2) for group in groups]
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

    top, bottom = _checked(numerator, at_least=2), _checked(denominator, at_least=2)
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
    values = _checked(differences)
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


def seeds_needed(
    mean: float, sd: float, n: int, *, level: float, power: float = 0.8, most: int = MOST_FURTHER
) -> int | None:
    """The smallest number of seeds above `n` with which a one-sided t-test of "the mean is above 0" has `power`.

    If mean and sd are the true ones; t is then noncentral with mean / sd x sqrt(seeds) (Johnson and Welch 1940).

    Args:
        n: seeds that there are.
        level: of the test.
        most: further seeds that are looked at.

    Returns:
        The seeds in all; None where the mean is not above 0 or n + most don't do.
    """
    from scipy.special import nctdtr, stdtrit

    if mean <= 0:
        return None
    seeds = _candidates(n, most)
    # Power is 1 to the last digit well before 1e3, and the distribution function fails well beyond.
    effect = min(mean / sd, 1e3) if sd > 0 else 1e3
    reached = 1 - nctdtr(seeds - 1, np.minimum(effect * np.sqrt(seeds), 1e3), stdtrit(seeds - 1, 1 - level))
    return _first(seeds, reached, power)


def seeds_needed_equal(
    mean: float, sd: float, margin: float, n: int, *, level: float, power: float = 0.8, most: int = MOST_FURTHER
) -> int | None:
    """The same for two one-sided t-tests that together say "the mean is within `margin` of 0" (Schuirmann 1987).

    Both reject where the mean's distance from 0 is below margin - t sd / sqrt(seeds); this is integrated over the
    distribution of the sample's sd (Owen 1965), not bounded.

    Returns:
        The seeds in all; None where |mean| is the margin or more, or n + most don't do.
    """
    from scipy.special import gammaincinv, ndtr, stdtrit

    if abs(mean) >= margin:
        return None
    seeds = _candidates(n, most)
    if sd <= 0:
        return _first(seeds, np.ones(seeds.size), power)
    # Gauss-Legendre over the quantiles of the sample's sd, in units of the true one.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    df = (seeds - 1)[:, None]
    sample_sd = np.sqrt(2 * gammaincinv(df / 2, (nodes + 1) / 2) / df)
    room = margin / sd * np.sqrt(seeds)[:, None] - stdtrit(df, 1 - level) * sample_sd
    centre = mean / sd * np.sqrt(seeds)[:, None]
    both = np.maximum(ndtr(room - centre) - ndtr(-room - centre), 0)
    return _first(seeds, both @ (weights / 2), power)


def _candidates(n: int, most: int) -> NDArray[np.int64]:
    return np.arange(max(n + 1, 2), n + most + 1)


def _first(seeds: NDArray[np.int64], reached: FloatArray, power: float) -> int | None:
    enough = np.flatnonzero(reached >= power)
    return int(seeds[enough[0]]) if enough.size else None


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


def _trimmed_mean(values: FloatArray) -> FloatArray:
    """Over the last axis."""
    runs = values.shape[-1]
    cut = runs // 4
    means: FloatArray = np.sort(values, axis=-1)[..., cut : runs - cut].mean(axis=-1)
    return means


def _share_above(x: FloatArray, y: FloatArray) -> FloatArray:
    """(resamples, n) and (resamples, m) to (resamples,)."""
    one, other = x[..., :, None], y[..., None, :]
    shares: FloatArray = ((one > other).mean(axis=(-2, -1)) + (one >= other).mean(axis=(-2, -1))) / 2
    return shares


def _resampled(task: FloatArray, resamples: int, generator: np.random.Generator) -> FloatArray:
    drawn: FloatArray = task[generator.integers(task.size, size=(resamples, task.size))]
    return drawn


def _percentiles(values: FloatArray, level: float) -> Interval:
    low, high = _quantiles(values, level)
    return Interval(float(low), float(high))


def _quantiles(values: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    if not 0 < level < 1:
        raise ValueError(f"An interval's level lies between 0 and 1; {level} doesn't.")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _checked(values: ArrayLike, at_least: int = 1) -> FloatArray:
    array = np.asarray(values, dtype=np.float64)
    if array.ndim != 1 or array.size < at_least:
        raise ValueError(f"At least {at_least} numbers in one dimension are needed, not an array of {array.shape}.")
    if not np.isfinite(array).all():
        raise ValueError("Some of the numbers are NaN or infinite.")
    return array


def _checked_tasks(groups: Sequence[ArrayLike]) -> list[FloatArray]:
    if not groups:
        raise ValueError("No tasks.")
    return [_checked(group) for group in groups]


def _checked_pairs(
    groups_x: Sequence[ArrayLike], groups_y: Sequence[ArrayLike]
) -> tuple[list[FloatArray], list[FloatArray]]:
    xs, ys = _checked_tasks(groups_x), _checked_tasks(groups_y)
    if len(xs) != len(ys):
        raise ValueError(f"The arms have {len(xs)} and {len(ys)} tasks.")
    return xs, ys
