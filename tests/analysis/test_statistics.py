import itertools
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.verdict_errors import flipped_p, normal, success_rates, t_of_claims
from rlottery.analysis.contrasts import contrast, paired
from rlottery.analysis.statistics import (
    RANDOM_FLIPS,
    Groups,
    Statistic,
    bootstrap,
    bootstrap_paired,
    holm,
    improvement_over_tasks,
    interquartile_mean,
    iqm_of_runs,
    mean_over_tasks,
    median_of_runs,
    median_over_tasks,
    paired_t,
    performance_profile,
    pooled_t,
    probability_of_improvement,
    ratio_bounds,
    seeds_needed,
    seeds_needed_equal,
    sign_flip,
    value_of,
)

RLIABLE = json.loads((Path(__file__).parent / "fixtures" / "rliable_scores.json").read_text())
STATISTICS: dict[str, Statistic] = {"mean": mean_over_tasks, "median": median_over_tasks, "iqm": iqm_of_runs}
MARGIN = 0.1
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
        return bootstrap_paired(x, y, improvement_over_tasks, seed=0, resamples=20_000, level=level)

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


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=23))
def test_the_interquartile_mean_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert interquartile_mean(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), rel=1e-12, abs=1e-12)


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
    assert bootstrap_paired(tasks, [np.ones(2), np.full(4, 9.0)], improvement_over_tasks, seed=0) == (0.5, 0.5)


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
    paired = [bootstrap_paired(tasks, other, improvement_over_tasks, seed=3, resamples=50) for _ in range(2)]
    assert paired[0] == paired[1]
    bands = [performance_profile(tasks, [0.0], seed=3) for _ in range(2)]
    assert all((one == other).all() for one, other in zip(*bands, strict=True))


def test_a_single_run_of_some_task_leaves_no_interval() -> None:
    assert bootstrap([[1.0], [2.0]], mean_over_tasks, seed=0) is None
    assert bootstrap_paired([[1.0]], [[2.0]], improvement_over_tasks, seed=0) is None
    assert bootstrap([[1.0], [2.0, 4.0]], mean_over_tasks, seed=0) is None
    assert bootstrap([[1.0, 1.0], [2.0, 4.0]], mean_over_tasks, seed=0) == (1.5, 2.5)


def test_resamples_are_seen_a_row_each() -> None:
    seen: list[tuple[int, ...]] = []

    def look(tasks: Groups) -> np.ndarray:
        seen.extend(task.shape for task in tasks)
        return mean_over_tasks(tasks)

    bootstrap([[1.0, 2.0, 3.0], [4.0, 5.0]], look, seed=0, resamples=11)
    assert seen == [(11, 3), (11, 2)]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=9), st.lists(st.integers(0, 4), min_size=1, max_size=9))
def test_the_probability_of_improvement_is_mann_whitneys_share(x: list[int], y: list[int]) -> None:
    u = scipy.stats.mannwhitneyu(x, y, method="asymptotic").statistic if len({*x, *y}) > 1 else len(x) * len(y) / 2
    assert probability_of_improvement([x], [y]) == pytest.approx(u / (len(x) * len(y)))
    assert probability_of_improvement([x], [y]) + probability_of_improvement([y], [x]) == pytest.approx(1)


def test_tasks_weigh_the_same_in_the_probability_of_improvement() -> None:
    assert probability_of_improvement([[1.0], [1.0, 1.0, 1.0]], [[0.0], [2.0, 2.0]]) == 0.5


@pytest.mark.parametrize("null", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_t_test_is_scipys(n: int, null: float) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1.5, n)
    ours = paired_t(differences, null)
    for p, alternative in ((ours.p_above, "greater"), (ours.p_below, "less")):
        scipys = scipy.stats.ttest_1samp(differences, null, alternative=alternative)
        assert p == pytest.approx(scipys.pvalue, rel=1e-9)
    assert ours[:4] == pytest.approx((n, np.mean(differences), np.std(differences, ddof=1), n - 1))


@pytest.mark.parametrize(
    ("differences", "null", "above"),
    [
        ([0.1] * 3, 0.0, 0.0),
        ([-0.1] * 3, 0.0, 1.0),
        ([0.0, 0.0], 0.0, 0.5),
        ([0.1] * 7, 0.1, 0.5),
        ([0.1] * 3, 0.2, 1.0),
    ],
)
def test_without_spread_the_side_decides(differences: list[float], null: float, above: float) -> None:
    for test in (paired_t(differences, null), pooled_t([differences, differences], null)):
        assert (test.sd, test.p_above, test.p_below) == (0, above, 1 - above)


def test_spread_by_rounding_is_none() -> None:
    # 0.1 + 0.2 and 0.3 differ in the last bit.
    differences = [0.1 + 0.2, 0.3, 0.3]
    assert paired_t(differences, 0.3).p_above == 0.5
    assert (paired_t(differences).sd, paired_t(differences).p_above) == (0, 0)
    assert paired_t([1e-100, 3e-100]).p_above == pytest.approx(paired_t([1.0, 3.0]).p_above)


def test_pooling_one_task_is_the_paired_test() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1.5, 6)
    assert pooled_t([differences], 0.2) == pytest.approx(paired_t(differences, 0.2))


@pytest.mark.parametrize("null", [0.0, 1.5])
def test_pooling_two_tasks_is_welchs_test(null: float) -> None:
    # The mean of x and y is above null just where x is above 2 null - y, and Welch's test has the same error and df.
    generator = np.random.default_rng(1)
    x, y = generator.normal(2, 1, 5), generator.normal(1, 4, 9)
    welch = scipy.stats.ttest_ind(x, 2 * null - y, equal_var=False, alternative="greater")
    ours = pooled_t([x, y], null)
    assert (ours.p_above, ours.p_below, ours.df) == pytest.approx((welch.pvalue, 1 - welch.pvalue, welch.df))
    assert (ours.n, ours.mean) == (14, pytest.approx((x.mean() + y.mean()) / 2))
    assert (ours.mean - null) / (ours.sd / math.sqrt(ours.n)) == pytest.approx(welch.statistic)


def test_a_task_without_spread_adds_its_mean_alone() -> None:
    x = np.array([1.0, 2.0, 4.0])
    pooled, alone = pooled_t([x, [3.0, 3.0]]), paired_t((x + 3) / 2)
    assert (pooled.df, pooled.p_above) == pytest.approx((2, alone.p_above))


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 10_000), st.integers(2, 12), st.sampled_from([0.01, 0.05, 0.2]), st.sampled_from([0.2, 1.0, 5.0]))
def test_fiellers_bounds_agree_with_the_t_test_at_every_ratio(seed: int, n: int, level: float, spread: float) -> None:
    generator = np.random.default_rng(seed)
    denominator = generator.normal(1, spread, n)
    numerator = generator.normal(-0.3, spread, n) + generator.choice([0.0, 1.0]) * denominator
    low, high = ratio_bounds(numerator, denominator, level)
    assert (low is None) == (high is None) == (not paired_t(denominator).p_above < level)
    if low is None or high is None:
        for sign in (-1, 1):
            far = paired_t(numerator + sign * 1e9 * denominator)
            assert (far.p_above if sign > 0 else far.p_below) > level * (1 - 1e-6)
        return
    around = (high - low) * np.concatenate([np.linspace(-3, 3, 60), [-1e-6, 1e-6, 1e3, -1e3]])
    for ratio in (*(low + around), *(high + around)):
        test = paired_t(numerator - ratio * denominator)
        assert (test.p_above < level) == (ratio < low)
        assert (test.p_below < level) == (ratio > high)


def test_the_bounds_of_a_mean_over_a_constant_are_the_t_bounds() -> None:
    differences = np.array([-0.3, 0.1, 0.4, 0.2, 0.0])
    interval = scipy.stats.ttest_1samp(differences, 0).confidence_interval(0.9)
    assert ratio_bounds(differences, np.full(5, 2.0)) == pytest.approx((interval.low / 2, interval.high / 2))


def test_bounds_of_nearly_constant_ratios_keep_their_digits() -> None:
    noise = np.array([-2.0, 1.0, 0.0, 3.0, -2.0])
    low, high = ratio_bounds(1e3 + 1e-6 * noise, np.full(5, 1.0))
    width = 2 * scipy.stats.t.ppf(0.95, 4) * 1e-6 * np.std(noise, ddof=1) / math.sqrt(5)
    assert low is not None and high is not None
    assert high - low == pytest.approx(width, rel=1e-5)
    assert ratio_bounds([2.0, 4.0, 6.0], [1.0, 2.0, 3.0], 0.1) == pytest.approx((2, 2))


def test_a_denominator_around_zero_bounds_nothing() -> None:
    assert ratio_bounds([1.0, 2.0, 3.0], [1.0, -1.0, 0.5]) == (None, None)
    assert ratio_bounds([1.0, 2.0, 3.0], [-1.0, -1.0, -1.1]) == (None, None)
    assert ratio_bounds([1.0, 2.0, 3.0], [0.0, 0.0, 0.0]) == (None, None)


@pytest.mark.parametrize("null", [0.0, 0.5])
@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_flipped_signs_are_scipys_permutation_test(n: int, null: float) -> None:
    # Of few whole numbers, so that sums tie.
    differences = np.random.default_rng(n).integers(-2, 5, n).astype(np.float64)
    for p, alternative in zip(sign_flip(differences, null), ("greater", "less"), strict=True):
        if n == 1:
            assert p == (0.5 if (differences[0] > null) == (alternative == "greater") else 1.0)
            continue
        scipys = scipy.stats.permutation_test(
            (differences - null,),
            lambda x, axis: x.sum(axis=axis),
            permutation_type="samples",
            n_resamples=10**6,
            alternative=alternative,
            vectorized=True,
        )
        assert p == pytest.approx(scipys.pvalue, rel=1e-12)


def test_flips_of_sixteen_are_exact_and_ties_count() -> None:
    assert sign_flip([1.0] * 16) == (2.0**-16, 1.0)
    assert sign_flip([0.1] * 16, 0.1) == (1, 1)
    assert sign_flip([0.0, 0.0]) == (1, 1)
    # 0.1 + 0.2 - 0.3 is not 0 in binary, but it ties with -0.1 - 0.2 + 0.3.
    assert sign_flip([0.1, 0.2, -0.3]) == (0.625, 0.625)


def test_random_flips_are_exact_within_monte_carlo_error() -> None:
    differences = np.random.default_rng(5).integers(-3, 6, 24)
    # How many sign choices give each sum, by multiplying out the product of (x^-d + x^d).
    counts = {0: 1}
    for value in differences.tolist():
        grown: dict[int, int] = {}
        for total, count in counts.items():
            for flipped in (total + value, total - value):
                grown[flipped] = grown.get(flipped, 0) + count
        counts = grown
    exact = sum(count for total, count in counts.items() if total >= differences.sum()) / 2**24
    above, below = sign_flip(differences)
    assert 0.001 < exact < 0.5
    assert above == pytest.approx(exact, abs=SIGMAS * math.sqrt(exact * (1 - exact) / RANDOM_FLIPS) + 1 / RANDOM_FLIPS)
    assert above + below >= 1
    assert sign_flip(differences) == (above, below)
    # Of 2^40 signs none of the drawn ones reaches the observed sum, which counts itself.
    assert sign_flip([1.0] * 40) == (1 / (RANDOM_FLIPS + 1), 1)


def test_holm_by_hand() -> None:
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1, and never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2, 0.9, 0.5]) == pytest.approx([0.6, 1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=5))
def test_holm_is_the_closed_test_of_bonferronis(p_values: list[float]) -> None:
    # A hypothesis' adjusted p is the largest Bonferroni p of all sets that hold it (Marcus, Peritz and Gabriel 1976).
    sets = [s for size in range(1, len(p_values) + 1) for s in itertools.combinations(range(len(p_values)), size)]
    closed = [
        max(min(1.0, len(s) * min(p_values[i] for i in s)) for s in sets if index in s)
        for index in range(len(p_values))
    ]
    assert holm(p_values) == pytest.approx(closed)


@pytest.mark.parametrize("effect", [0.15, 0.4, 0.8, 2.0, 7.0])
@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
@pytest.mark.parametrize("n", [0, 3, 12])
def test_needed_seeds_have_the_power_and_one_less_has_not(effect: float, level: float, n: int) -> None:
    def power(seeds: int) -> float:
        critical = scipy.stats.t.ppf(1 - level, seeds - 1)
        return float(scipy.stats.nct.sf(critical, seeds - 1, effect * math.sqrt(seeds)))

    needed = seeds_needed(3 * effect, 3.0, n, level=level, power=0.9, most=60)
    if needed is None:
        assert power(n + 60) < 0.9
    else:
        assert power(needed) >= 0.9
        assert needed == max(n + 1, 2) or power(needed - 1) < 0.9


def test_needed_seeds_of_a_textbook() -> None:
    # An effect of half a standard deviation, 5 % one-sided, 80 %: 27 (Cohen 1988's d in any table of the paired test).
    assert seeds_needed(0.5, 1.0, 3, level=0.05) == 27
    assert seeds_needed(0.5, 1.0, 30, level=0.05) == 31
    assert [seeds_needed(0.5, 1.0, 20, level=0.05, most=most) for most in (6, 7)] == [None, 27]


def test_no_number_of_seeds_shows_what_is_not_there() -> None:
    assert seeds_needed(0.0, 1.0, 5, level=0.05) is None
    assert seeds_needed(-1.0, 0.0, 5, level=0.05) is None
    assert seeds_needed(0.01, 1.0, 5, level=0.05) is None
    assert seeds_needed_equal(0.5, 0.1, 0.5, 5, level=0.05) is None
    assert seeds_needed_equal(0.0, 10.0, 0.5, 5, level=0.05) is None


def test_without_spread_one_more_seed_is_enough() -> None:
    assert seeds_needed(0.1, 0.0, 5, level=0.05) == 6
    assert seeds_needed_equal(0.1, 0.0, 0.5, 0, level=0.05) == 2


@pytest.mark.parametrize(("mean", "margin"), [(0.0, 0.5), (0.3, 0.8), (-0.3, 0.8), (0.0, 3.0), (0.9, 1.4)])
@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
def test_seeds_needed_to_be_equal_have_the_power_and_one_less_has_not(mean: float, margin: float, level: float) -> None:
    def power(seeds: int) -> float:
        df, root = seeds - 1, math.sqrt(seeds)
        critical = scipy.stats.t.ppf(1 - level, df)
        largest = margin * root / critical  # of sample sds with which anything is rejected

        def given_sd(sd: float) -> float:
            density = sd * df * scipy.stats.chi2.pdf(df * sd**2, df) * 2
            high, low = margin * root - critical * sd, critical * sd - margin * root
            share = scipy.stats.norm.cdf(high - mean * root) - scipy.stats.norm.cdf(low - mean * root)
            return float(density * share)

        # Where the density is, lest the integration miss it.
        ends = np.clip(np.sqrt(scipy.stats.chi2.ppf([1e-12, 0.5, 1 - 1e-12], df) / df), 0, largest)
        return sum(scipy.integrate.quad(given_sd, *piece)[0] for piece in itertools.pairwise(ends))

    needed = seeds_needed_equal(2 * mean, 2.0, 2 * margin, 3, level=level)
    assert needed is not None
    assert power(needed) >= 0.8
    assert needed == 4 or power(needed - 1) < 0.8


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0], [[1.0, 2.0]]])
def test_what_is_no_row_of_numbers_is_refused(bad: Any) -> None:
    calls = [
        lambda: interquartile_mean(bad),
        lambda: bootstrap([bad], mean_over_tasks, seed=0),
        lambda: probability_of_improvement([bad], [[1.0]]),
        lambda: performance_profile([bad], [0.5], seed=0),
        lambda: performance_profile([[0.5]], bad, seed=0),
        lambda: paired_t(bad),
        lambda: pooled_t([bad]),
        lambda: ratio_bounds(bad, [1.0, 2.0]),
        lambda: sign_flip(bad),
    ]
    for call in calls:
        with pytest.raises(ValueError):
            call()


def test_what_makes_no_sense_is_refused() -> None:
    for call in (
        lambda: paired_t([1.0]),
        lambda: pooled_t([[1.0, 2.0], [3.0]]),
        lambda: pooled_t([]),
        lambda: bootstrap([], mean_over_tasks, seed=0),
        lambda: bootstrap([[1.0, 2.0]], mean_over_tasks, seed=0, level=1.0),
        lambda: probability_of_improvement([[1.0]], [[1.0], [2.0]]),
        lambda: ratio_bounds([1.0, 2.0], [1.0, 2.0, 3.0]),
        lambda: ratio_bounds([1.0, 2.0], [1.0, 2.0], level=0.5),
        lambda: holm([0.5, 1.5]),
        lambda: holm([math.nan]),
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize(("correlation", "spread"), [(0.0, 1.0), (0.9, 0.1)])
def test_false_claims_at_the_margin_are_as_rare_as_the_level_says(
    seeds: int, correlation: float, spread: float
) -> None:
    draws, level = 3000, 0.05
    draw = normal(np.random.default_rng(seeds), (draws, seeds), (1 - MARGIN, 1.0), correlation, spread)
    contrasts = draw.ticket - draw.dense + MARGIN * (draw.dense - draw.untrained)
    tests = [paired_t(contrast) for contrast in contrasts]
    # The t-test is exact on normal data: each count is binomial.
    allowed = SIGMAS * math.sqrt(level * (1 - level) / draws)
    assert np.mean([test.p_above < level for test in tests]) == pytest.approx(level, abs=allowed)
    assert np.mean([test.p_below < level for test in tests]) == pytest.approx(level, abs=allowed)


def test_the_simulated_claims_are_those_of_the_verdict() -> None:
    # Normal scores, and success rates with every kind of tie.
    generator = np.random.default_rng(0)
    draws = [
        normal(generator, (60, 5), (0.95, 0.85), 0.5, 0.1),
        *(success_rates(generator, kind, (60, 5), 0.8, 0.5) for kind in ("0 or 1", "mixture", "noise")),
    ]
    critical = scipy.stats.t.ppf(0.95, 4)
    for draw in draws:
        t = t_of_claims(draw)
        for study in range(60):
            of_arm = [dict(enumerate(scores[study].tolist())) for scores in draw]
            untrained, dense, ticket, control = of_arm
            to_dense = paired("dense", ticket, dense, dense, untrained)
            to_control = paired("control", ticket, control, dense, untrained)
            if to_dense is None or to_control is None:
                continue
            beside, above = (contrast(of, MARGIN, 0.05) for of in (to_dense, to_control))
            p_of = {
                "not worse": [beside.p_not_worse],
                "losing": [beside.p_worse],
                "winning": [beside.p_not_worse, above.p_above],
                "sparse": [beside.p_not_worse, above.p_equal],
            }
            for claim, p_values in p_of.items():
                made = all(p is not None and p <= 0.05 for p in p_values)
                assert made == (t[claim][study] >= critical), (claim, study)


def test_simulated_flips_are_those_of_the_sign_flip_test() -> None:
    values = np.random.default_rng(0).choice([-0.9, 0.0, 0.1, 1.0], (40, 6))
    np.testing.assert_allclose(flipped_p(values), [sign_flip(row)[0] for row in values])


def test_what_is_simulated_lies_on_the_margin() -> None:
    generator, shape = np.random.default_rng(0), (20_000, 10)
    for kind, share in (("0 or 1", 0.8), ("mixture", 1.0), ("mixture", 0.5), ("noise", 0.95)):
        draw = success_rates(generator, kind, shape, share, 0.5)
        beyond = (draw.ticket - (1 - MARGIN) * draw.dense).mean(axis=1)
        assert beyond.mean() == pytest.approx(0, abs=SIGMAS * beyond.std() / math.sqrt(len(beyond)))
