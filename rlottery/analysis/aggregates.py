"""Aggregates of the scores of few runs, with bootstrap intervals (Agarwal et al. 2021). Pure functions."""

from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from rlottery.analysis.arrays import FloatArray, checked

Groups: TypeAlias = Sequence[FloatArray]
"""For every task the scores of its runs, shape (runs,). Tasks may have different numbers of runs."""

Statistic: TypeAlias = Callable[[Groups], FloatArray]
"""Maps one array of shape (resamples, runs) per task to an array of shape (resamples,)."""

PairedStatistic: TypeAlias = Callable[[Groups, Groups], FloatArray]
"""The same for two arms with the same tasks."""


class Interval(NamedTuple):
    """A two-sided interval."""

    low: float
    high: float


def mean_over_tasks(tasks: Groups) -> FloatArray:
    """Mean over tasks of the mean score of each task. A `Statistic`."""
    means: FloatArray = np.mean([task.mean(axis=-1) for task in tasks], axis=0)
    return means


def median_over_tasks(tasks: Groups) -> FloatArray:
    """Median over tasks of the mean score of each task, as the Atari papers compute it. A `Statistic`.

    For a single task this is the mean; `median_of_runs` is the median of its runs.
    """
    medians: FloatArray = np.median([task.mean(axis=-1) for task in tasks], axis=0)
    return medians


def median_of_runs(tasks: Groups) -> FloatArray:
    """Median of all runs of all tasks. A `Statistic`."""
    medians: FloatArray = np.median(np.concatenate(tasks, axis=-1), axis=-1)
    return medians


def iqm_of_runs(tasks: Groups) -> FloatArray:
    """Interquartile mean of all runs of all tasks. A `Statistic`.

    Tasks with more runs have more weight.
    """
    runs = np.sort(np.concatenate(tasks, axis=-1), axis=-1)
    cut = runs.shape[-1] // 4
    means: FloatArray = runs[..., cut : runs.shape[-1] - cut].mean(axis=-1)
    return means


def improvement_over_tasks(tasks: Groups, others: Groups) -> FloatArray:
    """`probability_of_improvement` of many resamples. A `PairedStatistic`."""
    shares: FloatArray = np.mean([_share_above(x, y) for x, y in zip(tasks, others, strict=True)], axis=0)
    return shares


def value_of(statistic: Statistic, groups: Sequence[ArrayLike]) -> float:
    """The value of a statistic for the runs themselves.

    Raises:
        ValueError: there are no tasks, a task has no runs, or a score is NaN or infinite.
    """
    return float(statistic([runs[None, :] for runs in _checked_tasks(groups)])[0])


def bootstrap(
    groups: Sequence[ArrayLike], statistic: Statistic, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> Interval | None:
    """Stratified percentile bootstrap: runs are resampled with replacement within each task.

    Tasks are not resampled: the interval is about more seeds of these tasks, not about other tasks. With few runs it is
    too narrow, because the bootstrap underestimates the spread of all runs.

    Args:
        groups: for every task the scores of its runs, shape (runs,).

    Returns:
        None where some task has a single run, which shows no spread.

    Raises:
        ValueError: there are no tasks, a task has no runs, a score is NaN or infinite, or the level is not between 0
            and 1.
    """
    tasks = _checked_tasks(groups)
    if any(task.size == 1 for task in tasks):
        return None
    generator = np.random.default_rng(seed)
    resampled = [task[generator.integers(task.size, size=(resamples, task.size))] for task in tasks]
    low, high = _quantiles(statistic(resampled), level)
    return Interval(float(low), float(high))


def bootstrap_paired(
    groups_x: Sequence[ArrayLike],
    groups_y: Sequence[ArrayLike],
    statistic: PairedStatistic,
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """The bootstrap of a statistic of two arms, whose runs are resampled independently within each task.

    Arguments, result and errors are those of `bootstrap`. Both arms list their tasks in the same order.

    Raises:
        ValueError: also if the arms have different numbers of tasks.
    """
    xs, ys = _checked_pairs(groups_x, groups_y)

    def of_both(tasks: Groups) -> FloatArray:
        return statistic(tasks[: len(xs)], tasks[len(xs) :])

    return bootstrap([*xs, *ys], of_both, seed=seed, resamples=resamples, level=level)


def probability_of_improvement(groups_x: Sequence[ArrayLike], groups_y: Sequence[ArrayLike]) -> float:
    """The probability that a run of X scores higher than a run of Y on the same task; the mean over tasks.

    Ties count half. It is the Mann-Whitney statistic divided by its largest value (Agarwal et al. 2021, section 4.3).

    Raises:
        ValueError: as `bootstrap_paired`.
    """
    xs, ys = _checked_pairs(groups_x, groups_y)
    return float(improvement_over_tasks([x[None, :] for x in xs], [y[None, :] for y in ys])[0])


def performance_profile(
    groups: Sequence[ArrayLike], at: ArrayLike, *, seed: int, resamples: int = 2000, level: float = 0.95
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """The share of all runs of all tasks that score at least each of some values, with a bootstrap band.

    Agarwal et al. (2021, section 4.2) count the runs above a value; here a run that is exactly as good as the dense
    agents has reached it. The band is pointwise: it covers every single point, not the whole curve.

    Args:
        groups: for every task the scores of its runs, shape (runs,).
        at: the values, shape (points,).

    Returns:
        reached, low, high: shape (points,) each. The band is NaN where some task has a single run.

    Raises:
        ValueError: as `bootstrap`, or one of the values is NaN or infinite.
    """
    tasks, points = _checked_tasks(groups), checked(at)
    reaches = (np.concatenate(tasks)[:, None] >= points).astype(np.float64)
    reached: FloatArray = reaches.mean(axis=0)
    if any(task.size == 1 for task in tasks):
        return reached, np.full_like(reached, np.nan), np.full_like(reached, np.nan)
    generator = np.random.default_rng(seed)
    # Only how often each run is drawn matters, so the band is a matrix product.
    drawn = [generator.multinomial(task.size, np.full(task.size, 1 / task.size), size=resamples) for task in tasks]
    low, high = _quantiles(np.concatenate(drawn, axis=1) @ reaches / len(reaches), level)
    return reached, low, high


def _share_above(x: FloatArray, y: FloatArray) -> FloatArray:
    """(resamples, n) and (resamples, m) to (resamples,)."""
    one, other = x[..., :, None], y[..., None, :]
    shares: FloatArray = ((one > other).mean(axis=(-2, -1)) + (one >= other).mean(axis=(-2, -1))) / 2
    return shares


def _quantiles(values: FloatArray, level: float) -> tuple[FloatArray, FloatArray]:
    if not 0 < level < 1:
        raise ValueError(f"The level of an interval must be between 0 and 1, not {level}.")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2], axis=0)
    return low, high


def _checked_tasks(groups: Sequence[ArrayLike]) -> list[FloatArray]:
    if not groups:
        raise ValueError("There are no tasks.")
    return [checked(group) for group in groups]


def _checked_pairs(
    groups_x: Sequence[ArrayLike], groups_y: Sequence[ArrayLike]
) -> tuple[list[FloatArray], list[FloatArray]]:
    xs, ys = _checked_tasks(groups_x), _checked_tasks(groups_y)
    if len(xs) != len(ys):
        raise ValueError(f"The arms have {len(xs)} and {len(ys)} tasks.")
    return xs, ys
