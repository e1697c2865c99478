import json
import math
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.analysis import aggregates
from rlottery.analysis.aggregates import (
    Groups,
    Statistic,
    bootstrap,
    bootstrap_improvement,
    iqm_of_runs,
    mean_over_tasks,
    median_of_runs,
    median_over_tasks,
    performance_profile,
    probability_of_improvement,
    value_of,
)

RLIABLE = json.loads((Path(__file__).parent / "fixtures" / "rliable_scores.json").read_text())
STATISTICS: dict[str, Statistic] = {"mean": mean_over_tasks, "median": median_over_tasks, "iqm": iqm_of_runs}
SIGMAS = 4.0
"""Monte-Carlo errors that are allowed for: with fixed seeds, and one in 16,000 if the seeds were drawn."""

matrices = pytest.mark.parametrize("of", RLIABLE["matrices"].values(), ids=RLIABLE["matrices"])


def tasks_of(matrix: list[list[float]]) -> list[np.ndarray]:
    """(runs, tasks) to a task each."""
    return list(np.array(matrix).T)


def assert_same_quantiles(theirs: list[float], ours_at: Any, resamples: int, ours: int) -> None:
    """Two samples of one distribution: where the one has its 2.5 % quantile, the other has 2.5 % within binomial error.

    The share of n draws below a point has the variance p (1 - p) / n. So their quantile lies between ours at
    p - d and p + d, with d of `SIGMAS` standard deviations of both shares together; whatever the distribution.

    Args:
        theirs: [low, high] at 95 %.
        ours_at: level -> our interval from the same resamples.
    """
    p = 0.025
    d = SIGMAS * math.sqrt(p * (1 - p) * (1 / resamples + 1 / ours))
    wide, narrow = ours_at(1 - 2 * (p - d)), ours_at(1 - 2 * (p + d))
    slack = 1e-9  # rounding, where resamples tie
    assert wide[0] - slack <= theirs[0] <= narrow[0] + slack
    assert narrow[1] - slack <= theirs[1] <= wide[1] + slack


@matrices
@pytest.mark.parametrize("name", STATISTICS)
def test_aggregates_are_those_of_rliable(of: dict[str, Any], name: str) -> None:
    assert value_of(STATISTICS[name], tasks_of(of["x"])) == pytest.approx(of["points"][name], rel=1e-12)


@matrices
@pytest.mark.parametrize("name", STATISTICS)
def test_intervals_are_those_of_rliable_within_monte_carlo_error(of: dict[str, Any], name: str) -> None:
    def at(level: float) -> Any:
        return bootstrap(tasks_of(of["x"]), STATISTICS[name], seed=0, resamples=20_000, level=level)

    assert_same_quantiles(of["intervals"][name], at, RLIABLE["resamples"], 20_000)


@matrices
def test_the_probability_of_improvement_is_that_of_rliable(of: dict[str, Any]) -> None:
    x, y = tasks_of(of["x"]), tasks_of(of["y"])
    assert probability_of_improvement(x, y) == pytest.approx(of["improvement"], rel=1e-12)

    def at(level: float) -> Any:
        return bootstrap_improvement(x, y, seed=0, resamples=20_000, level=level)

    assert_same_quantiles(of["improvement_interval"], at, RLIABLE["resamples"], 20_000)


@matrices
def test_performance_profiles_are_those_of_rliable(of: dict[str, Any]) -> None:
    # rliable counts the runs above a point, as those that reach the next number are.
    above = np.nextafter(RLIABLE["tau"], np.inf)
    reached, _, _ = performance_profile(tasks_of(of["x"]), above, seed=0, resamples=10)
    np.testing.assert_allclose(reached, of["profile"], rtol=1e-12)
    for index, point in enumerate(above):

        def at(level: float, point: float = point) -> Any:
            profile = performance_profile(tasks_of(of["x"]), [point], seed=0, resamples=4_000, level=level)
            return profile[1][0], profile[2][0]

        theirs = [of["profile_band"][0][index], of["profile_band"][1][index]]
        assert_same_quantiles(theirs, at, RLIABLE["profile_resamples"], 4_000)


def test_a_run_that_scores_exactly_a_point_has_reached_it() -> None:
    reached, _, _ = performance_profile([[0.5, 1.0], [1.0, 2.0, 0.0]], [0.0, 0.5, 1.0, 1.5, 2.5], seed=0)
    np.testing.assert_allclose(reached, [1.0, 0.8, 0.6, 0.2, 0.0])


def test_profiles_of_single_runs_have_no_band() -> None:
    reached, low, high = performance_profile([[0.5], [1.0]], [0.7], seed=0)
    assert reached == [0.5] and np.isnan(low).all() and np.isnan(high).all()


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=23))
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert value_of(iqm_of_runs, [values]) == pytest.approx(scipy.stats.trim_mean(values, 0.25), rel=1e-12, abs=1e-12)


def test_statistics_of_tasks_with_unequal_numbers_of_runs_by_hand() -> None:
    tasks = [np.array([0.0, 1.0, 2.0, 9.0]), np.array([4.0]), np.array([5.0, 7.0])]
    assert value_of(mean_over_tasks, tasks) == pytest.approx((3 + 4 + 6) / 3)
    assert value_of(median_over_tasks, tasks) == 4
    assert value_of(median_of_runs, tasks) == 4  # of 0 1 2 4 5 7 9
    assert value_of(median_of_runs, tasks[:1]) == 1.5
    assert value_of(median_over_tasks, tasks[:1]) == 3
    assert value_of(iqm_of_runs, tasks) == pytest.approx((1 + 2 + 4 + 5 + 7) / 5)


def test_runs_are_drawn_within_their_task() -> None:
    # No mean over tasks is left by other draws within them; drawn from all runs, it would scatter.
    tasks = [np.zeros(3), np.full(2, 10.0)]
    assert bootstrap(tasks, mean_over_tasks, seed=0) == (5, 5)
    assert bootstrap_improvement(tasks, [np.ones(2), np.full(4, 9.0)], seed=0) == (0.5, 0.5)


def test_the_bootstrap_of_two_runs_by_hand() -> None:
    # The mean of two draws from 0 and 1: 0 and 1 with a quarter each, else a half.
    def interval(level: float) -> Any:
        return bootstrap([[0.0, 1.0]], mean_over_tasks, seed=0, level=level)

    assert interval(0.95) == (0, 1)
    assert interval(0.4) == (0.5, 0.5)


@pytest.mark.parametrize("statistic", [*STATISTICS.values(), median_of_runs])
def test_the_same_seed_gives_the_same_interval_and_another_one_another(statistic: Statistic) -> None:
    tasks = list(np.random.default_rng(0).normal(size=(3, 7)))
    assert bootstrap(tasks, statistic, seed=3) == bootstrap(tasks, statistic, seed=3)
    assert bootstrap(tasks, statistic, seed=3) != bootstrap(tasks, statistic, seed=4)
    other = [task + 0.1 for task in tasks]
    paired = [bootstrap_improvement(tasks, other, seed=3, resamples=50) for _ in range(2)]
    assert paired[0] == paired[1]
    bands = [performance_profile(tasks, [0.0], seed=3) for _ in range(2)]
    assert all((one == other).all() for one, other in zip(*bands, strict=True))


def test_a_single_run_of_some_task_leaves_no_interval() -> None:
    assert bootstrap([[1.0], [2.0]], mean_over_tasks, seed=0) is None
    assert bootstrap_improvement([[1.0]], [[2.0]], seed=0) is None
    assert bootstrap([[1.0], [2.0, 4.0]], mean_over_tasks, seed=0) is None
    assert bootstrap([[1.0, 1.0], [2.0, 4.0]], mean_over_tasks, seed=0) == (1.5, 2.5)


def test_resamples_are_seen_a_row_each() -> None:
    seen: list[tuple[int, ...]] = []

    def look(tasks: Groups) -> np.ndarray:
        seen.extend(task.shape for task in tasks)
        return mean_over_tasks(tasks)

    bootstrap([[1.0, 2.0, 3.0], [4.0, 5.0]], look, seed=0, resamples=11)
    assert seen == [(11, 3), (11, 2)]


def at_once(tasks: list[np.ndarray], seed: int, resamples: int) -> list[np.ndarray]:
    """All resamples of each task in one array: what the bootstrap is defined by."""
    generator = np.random.default_rng(seed)
    return [task[generator.integers(task.size, size=(resamples, task.size))] for task in tasks]


def compared(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The share of pairs in which x is higher, ties half, by comparing all pairs of each resample."""
    one, other = x[:, :, None], y[:, None, :]
    return ((one > other).mean(axis=(1, 2)) + (one >= other).mean(axis=(1, 2))) / 2


@pytest.mark.parametrize("block", [1, 300, aggregates._BLOCK])
@pytest.mark.parametrize("tasks", [1, 2, 9])  # from nine tasks on, NumPy sums single rows in another order
def test_resamples_in_blocks_are_those_drawn_at_once_to_the_last_bit(
    tasks: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(aggregates, "_BLOCK", block)
    rng, resamples, level = np.random.default_rng(tasks), 333, 0.75
    xs = [rng.normal(size=rng.integers(2, 20)) for _ in range(tasks)]
    ys = [np.round(rng.normal(size=rng.integers(2, 20)), 1) for _ in range(tasks)]
    for statistic in (*STATISTICS.values(), median_of_runs):
        expected = np.quantile(statistic(at_once(xs, 3, resamples)), [0.125, 0.875])
        assert bootstrap(xs, statistic, seed=3, resamples=resamples, level=level) == tuple(expected)
    for x, y in ((xs, ys), (ys, [y[::-1] for y in ys])):  # without ties and with
        drawn = at_once([*x, *y], 3, resamples)
        shares = [compared(*pair) for pair in zip(drawn[:tasks], drawn[tasks:], strict=True)]
        expected = np.quantile(np.mean(shares, axis=0), [0.125, 0.875])
        assert bootstrap_improvement(x, y, seed=3, resamples=resamples, level=level) == tuple(expected)
    reaches = np.concatenate(ys)[:, None] >= [0.0, 0.1, 1.0]
    generator = np.random.default_rng(3)
    drawn = [generator.multinomial(y.size, np.full(y.size, 1 / y.size), size=resamples) for y in ys]
    expected = np.quantile(np.concatenate(drawn, axis=1) @ reaches / len(reaches), [0.125, 0.875], axis=0)
    profile = performance_profile(ys, [0.0, 0.1, 1.0], seed=3, resamples=resamples, level=level)
    np.testing.assert_array_equal(profile[1:], expected)


def test_memory_does_not_grow_with_the_square_of_the_runs() -> None:
    """2,000 resamples of 300 and 600 runs: all at once they take 5 and 10 MB, and their pairs 180 and 720 MB."""
    peaks = []
    for runs in (300, 600):
        x, y = np.random.default_rng(0).normal(size=(2, runs))
        tracemalloc.start()
        bootstrap_improvement([x], [y], seed=0)
        performance_profile([x], [0.0], seed=0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]
    assert peaks[1] < 60e6


@settings(max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_the_probability_of_improvement_is_the_mann_whitney_statistic(x: list[int], y: list[int]) -> None:
    u = scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic if len({*x, *y}) > 1 else len(x) * len(y) / 2
    assert probability_of_improvement([x], [y]) == pytest.approx(u / (len(x) * len(y)))
    assert probability_of_improvement([x], [y]) + probability_of_improvement([y], [x]) == pytest.approx(1)


def test_tasks_weigh_the_same_in_the_probability_of_improvement() -> None:
    assert probability_of_improvement([[1.0], [1.0, 1.0, 1.0]], [[0.0], [2.0, 2.0]]) == 0.5


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0], [[1.0, 2.0]]])
def test_what_is_no_row_of_numbers_is_refused(bad: Any) -> None:
    for call in (
        lambda: value_of(iqm_of_runs, [bad]),
        lambda: bootstrap([bad], mean_over_tasks, seed=0),
        lambda: probability_of_improvement([bad], [[1.0]]),
        lambda: performance_profile([bad], [0.5], seed=0),
        lambda: performance_profile([[0.5]], bad, seed=0),
    ):
        with pytest.raises(ValueError):
            call()


def test_what_makes_no_sense_is_refused() -> None:
    for call in (
        lambda: bootstrap([], mean_over_tasks, seed=0),
        lambda: bootstrap([[1.0, 2.0]], mean_over_tasks, seed=0, level=1.0),
        lambda: probability_of_improvement([[1.0]], [[1.0], [2.0]]),
    ):
        with pytest.raises(ValueError):
            call()
