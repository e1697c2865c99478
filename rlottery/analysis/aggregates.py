"""Aggregates of the scores of few runs, with bootstrap intervals. Pure functions that know nothing of studies."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rlottery.analysis.arrays import FloatArray, checked

Groups: TypeAlias = Sequence[FloatArray]
"""A task each: the scores of its runs, shape (runs,). Tasks may have unequal numbers of runs."""

Statistic: TypeAlias = Callable[[Groups], FloatArray]
"""Maps tasks, a (resamples, runs) array each, to (resamples,)."""

PairedStatistic: TypeAlias = Callable[[Groups, Groups], FloatArray]
"""The same of two arms, which have the same tasks."""


class Interval(NamedTuple):
    """A two-sided interval."""

    low: float
    high: float


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
    tasks, points = _checked_tasks(groups), checked(at)
    reaches = (np.concatenate(tasks)[:, None] >= points).astype(np.float64)
    reached: FloatArray = reaches.mean(axis=0)
    if any(task.size == 1 for task in tasks):
        return reached, np.full_like(reached, np.nan), np.full_like(reached, np.nan)
    generator = np.random.default_rng(seed)
    # How often a run is drawn is all that counts here, and makes the band a matrix product.
    drawn = [generator.multinomial(task.size, np.full(task.size, 1 / task.size), size=resamples) for task in tasks]
    low, high = _quantiles(np.concatenate(drawn, axis=1) @ reaches / len(reaches), level)
    return reached, low, high


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


def _checked_tasks(groups: Sequence[ArrayLike]) -> list[FloatArray]:
    if not groups:
        raise ValueError("No tasks.")
    return [checked(group) for group in groups]


def _checked_pairs(
    groups_x: Sequence[ArrayLike], groups_y: Sequence[ArrayLike]
) -> tuple[list[FloatArray], list[FloatArray]]:
    xs, ys = _checked_tasks(groups_x), _checked_tasks(groups_y)
    if len(xs) != len(ys):
        raise ValueError(f"The arms have {len(xs)} and {len(ys)} tasks.")
    return xs, ys
