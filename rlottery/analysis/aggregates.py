"""Aggregates of the scores of few runs, with bootstrap intervals (Agarwal et al. 2021). Pure functions."""

from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlottery.analysis.arrays import FloatArray, checked

Groups: TypeAlias = Sequence[FloatArray]
"""For every task the scores of its runs, shape (runs,). Tasks may have different numbers of runs."""

Statistic: TypeAlias = Callable[[Groups], FloatArray]
"""Maps one array of shape (resamples, runs) per task to an array of shape (resamples,)."""

_BLOCK = 2**19
"""How many drawn runs are in memory at one time. Ordinary studies are one block."""

_FEWEST_ROWS = 16
"""Of a block. A single row would be summed in another order than several, and so differ in the last bits."""


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
    return _interval(tasks, statistic, seed, resamples, level)


def bootstrap_improvement(
    groups_x: Sequence[ArrayLike],
    groups_y: Sequence[ArrayLike],
    *,
    seed: int,
    resamples: int = 2000,
    level: float = 0.95,
) -> Interval | None:
    """The bootstrap of `probability_of_improvement`: the runs of both arms are resampled independently in each task.

    Arguments, result and errors are those of `bootstrap`. Both arms list their tasks in the same order.

    Raises:
        ValueError: also if the arms have different numbers of tasks.
    """
    xs, ys = _checked_pairs(groups_x, groups_y)
    if any(task.size == 1 for task in (*xs, *ys)):
        return None
    ranked = [_ranks(x, y) for x, y in zip(xs, ys, strict=True)]

    def of_both(tasks: Sequence[NDArray[Any]]) -> FloatArray:
        return _improvement(tasks[: len(xs)], tasks[len(xs) :])

    return _interval([*(x for x, _ in ranked), *(y for _, y in ranked)], of_both, seed, resamples, level)


def probability_of_improvement(groups_x: Sequence[ArrayLike], groups_y: Sequence[ArrayLike]) -> float:
    """The probability that a run of X scores higher than a run of Y on the same task; the mean over tasks.

    Ties count half. It is the Mann-Whitney statistic divided by its largest value (Agarwal et al. 2021, section 4.3).

    Raises:
        ValueError: as `bootstrap_improvement`.
    """
    xs, ys = _checked_pairs(groups_x, groups_y)
    ranked = [_ranks(x, y) for x, y in zip(xs, ys, strict=True)]
    return float(_improvement([x[None, :] for x, _ in ranked], [y[None, :] for _, y in ranked])[0])


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
    reaches = [(task[:, None] >= points).astype(np.float64) for task in tasks]
    runs = sum(map(len, reaches))
    reached: FloatArray = np.concatenate(reaches).mean(axis=0)
    if any(task.size == 1 for task in tasks):
        return reached, np.full_like(reached, np.nan), np.full_like(reached, np.nan)
    generator = np.random.default_rng(seed)
    # How many of the drawn runs reach each point. These are whole numbers, so their sums are exact in any order.
    drawn = np.zeros((resamples, points.size))
    for of_task in reaches:
        each, first = np.full(len(of_task), 1 / len(of_task)), 0
        for rows in _block_sizes(len(of_task), resamples):
            drawn[first : first + rows] += generator.multinomial(len(of_task), each, size=rows) @ of_task
            first += rows
    low, high = _quantiles(drawn / runs, level)
    return reached, low, high


def _interval(
    tasks: Sequence[NDArray[Any]],
    statistic: Callable[[Sequence[NDArray[Any]]], FloatArray],
    seed: int,
    resamples: int,
    level: float,
) -> Interval:
    values = [statistic(block) for block in _resampled(tasks, seed, resamples)]
    low, high = _quantiles(np.concatenate(values), level)
    return Interval(float(low), float(high))


def _resampled(tasks: Sequence[NDArray[Any]], seed: int, resamples: int) -> Iterator[list[NDArray[Any]]]:
    """The resamples in blocks: for each task an array of shape (rows, runs).

    They are those of one generator that draws all resamples of the first task, then all of the next, however many
    blocks there are. Only one block is in memory.
    """
    sizes = _block_sizes(sum(task.size for task in tasks), resamples)
    generators = [np.random.default_rng(seed)]
    for task in tasks[:-1]:
        generators.append(deepcopy(generators[-1]))
        for rows in sizes:  # to where the next task's draws begin
            generators[-1].integers(task.size, size=(rows, task.size))
    for rows in sizes:
        drawn = zip(tasks, generators, strict=True)
        yield [task[generator.integers(task.size, size=(rows, task.size))] for task, generator in drawn]


def _block_sizes(runs: int, resamples: int) -> list[int]:
    """The rows of each block; their sum is `resamples`."""
    blocks = max(1, resamples // max(_FEWEST_ROWS, _BLOCK // runs))
    return [resamples * (block + 1) // blocks - resamples * block // blocks for block in range(blocks)]


def _ranks(x: FloatArray, y: FloatArray) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The ranks of two groups of runs among each other, from 0; equal runs have equal ranks."""
    _, ranks = np.unique(np.concatenate([x, y]), return_inverse=True)
    return ranks[: x.size], ranks[x.size :]


def _improvement(tasks: Sequence[NDArray[np.intp]], others: Sequence[NDArray[np.intp]]) -> FloatArray:
    """`probability_of_improvement` of many resamples of ranks; (resamples, runs) for each task to (resamples,)."""
    shares: FloatArray = np.mean([_share_above(x, y) for x, y in zip(tasks, others, strict=True)], axis=0)
    return shares


def _share_above(x: NDArray[np.intp], y: NDArray[np.intp]) -> FloatArray:
    """(resamples, n) and (resamples, m) ranks to (resamples,). Counts the pairs without comparing them one by one."""
    of_x, of_y = (_counts(ranks, 1 + int(max(x.max(), y.max()))) for ranks in (x, y))
    up_to = of_y.cumsum(axis=1)
    pairs = x.shape[1] * y.shape[1]
    above, at_least = (of_x * (up_to - of_y)).sum(axis=1), (of_x * up_to).sum(axis=1)
    shares: FloatArray = (above / pairs + at_least / pairs) / 2
    return shares


def _counts(ranks: NDArray[np.intp], most: int) -> NDArray[np.intp]:
    """How often each rank below `most` occurs in each row; (rows, most)."""
    places = ranks + most * np.arange(len(ranks))[:, None]
    return np.bincount(places.ravel(), minlength=most * len(ranks)).reshape(len(ranks), most)


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
