import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.integrate
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.analysis.hypothesis_tests import (
    RANDOM_FLIPS,
    holm,
    paired_t,
    pooled_t,
    ratio_bounds,
    sign_flip,
    sign_flips,
)

SIGMAS = 4.0
"""Monte-Carlo errors that are allowed for: with fixed seeds, and one in 16,000 if the seeds were drawn."""


@pytest.mark.parametrize("null", [0.0, 0.7, -2.0])
@pytest.mark.parametrize("n", [2, 3, 5, 20])
def test_the_t_test_is_scipys(n: int, null: float) -> None:
    differences = np.random.default_rng(n).normal(0.5, 1.5, n)
    ours = paired_t(differences - null)
    for p, alternative in ((ours.p_above, "greater"), (ours.p_below, "less")):
        scipys = scipy.stats.ttest_1samp(differences, null, alternative=alternative)
        assert p == pytest.approx(scipys.pvalue, rel=1e-9)
    assert ours[:4] == pytest.approx((n, np.mean(differences) - null, np.std(differences, ddof=1), n - 1))


@pytest.mark.parametrize(
    ("differences", "above"), [([0.1] * 3, 0.0), ([-0.1] * 3, 1.0), ([0.0, 0.0], 0.5), ([0.1] * 7, 0.0)]
)
def test_without_spread_the_side_decides(differences: list[float], above: float) -> None:
    for test in (paired_t(differences), pooled_t([differences, differences])):
        assert (test.sd, test.p_above, test.p_below) == (0, above, 1 - above)


def test_spread_by_rounding_is_none() -> None:
    # 0.1 + 0.2 and 0.3 differ in the last bit.
    differences = [0.1 + 0.2, 0.3, 0.3]
    assert (paired_t(differences).sd, paired_t(differences).p_above) == (0, 0)
    assert paired_t([1e-100, 3e-100]).p_above == pytest.approx(paired_t([1.0, 3.0]).p_above)


def test_pooling_one_task_is_the_paired_test() -> None:
    differences = np.random.default_rng(0).normal(0.5, 1.5, 6)
    assert pooled_t([differences]) == pytest.approx(paired_t(differences))


@pytest.mark.parametrize("null", [0.0, 1.5])
def test_pooling_two_tasks_is_welchs_test(null: float) -> None:
    # The mean of x and y is above null just where x is above 2 null - y, and Welch's test has the same error and df.
    generator = np.random.default_rng(1)
    x, y = generator.normal(2, 1, 5), generator.normal(1, 4, 9)
    welch = scipy.stats.ttest_ind(x, 2 * null - y, equal_var=False, alternative="greater")
    ours = pooled_t([x - null, y - null])
    assert (ours.p_above, ours.p_below, ours.df) == pytest.approx((welch.pvalue, 1 - welch.pvalue, welch.df))
    assert (ours.n, ours.mean) == (14, pytest.approx((x.mean() + y.mean()) / 2 - null))
    assert ours.mean / (ours.sd / math.sqrt(ours.n)) == pytest.approx(welch.statistic)


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
    for p, alternative in zip(sign_flip(differences - null), ("greater", "less"), strict=True):
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
    assert sign_flip([0.0, 0.0]) == (1, 1)
    # 0.1 + 0.2 - 0.3 is not 0 in binary, but it ties with -0.1 - 0.2 + 0.3.
    assert sign_flip([0.1, 0.2, -0.3]) == (0.625, 0.625)


@pytest.mark.parametrize("n", [16, 17, 40])
def test_flips_of_several_tests_are_those_of_each_and_add_up_in_order(n: int) -> None:
    """Random signs are minus where a random number is 0.5 or more, drawn value by value."""
    rng = np.random.default_rng(n)
    tests = [rng.normal(size=n), rng.integers(-2, 4, n) / 10, 1e-200 * rng.normal(size=n)]
    found = sign_flips(tests)
    assert found == [sign_flip(values) for values in tests]
    if n > 16:
        for values, (above, below) in zip(tests, found, strict=True):
            generator, sums = np.random.default_rng(0), np.zeros(RANDOM_FLIPS)
            for value in values:
                sums += np.where(generator.random(RANDOM_FLIPS) < 0.5, value, -value)
            sums, tie = np.append(sums, values.sum()), 1e-12 * np.abs(values).max() * n
            assert above == np.mean(sums >= values.sum() - tie) and below == np.mean(sums <= values.sum() + tie)


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


@pytest.mark.parametrize("bad", [[], [math.nan, 1.0], [math.inf, 1.0], [[1.0, 2.0]]])
def test_what_is_no_row_of_numbers_is_refused(bad: Any) -> None:
    for call in (
        lambda: paired_t(bad),
        lambda: pooled_t([bad]),
        lambda: ratio_bounds(bad, [1.0, 2.0]),
        lambda: sign_flip(bad),
    ):
        with pytest.raises(ValueError):
            call()


def test_what_makes_no_sense_is_refused() -> None:
    for call in (
        lambda: paired_t([1.0]),
        lambda: pooled_t([[1.0, 2.0], [3.0]]),
        lambda: pooled_t([]),
        lambda: ratio_bounds([1.0, 2.0], [1.0, 2.0, 3.0]),
        lambda: ratio_bounds([1.0, 2.0], [1.0, 2.0], level=0.5),
        lambda: holm([0.5, 1.5]),
        lambda: holm([math.nan]),
    ):
        with pytest.raises(ValueError):
            call()


@pytest.mark.parametrize("unit", [1e-305, 1e-170, 3e-170, 0.1, 1e150, 1e307])
def test_the_unit_changes_no_p_value_and_no_ratio(unit: float) -> None:
    differences, others = np.array([1.0, 2.5, -0.5, 3.0, 2.5]), np.array([4.0, 5.0, 3.5, 4.5, 5.0])
    close = {"rel": 1e-9}
    one, other = paired_t(differences), paired_t(differences * unit)
    assert (other.p_above, other.p_below) == pytest.approx((one.p_above, one.p_below), **close)
    assert (other.mean / unit, other.sd / unit) == pytest.approx((one.mean, one.sd), **close)
    one, other = pooled_t([differences, others]), pooled_t([differences * unit, others * unit])
    assert (other.p_above, other.df) == pytest.approx((one.p_above, one.df), **close)
    assert sign_flip(differences * unit) == sign_flip(differences)
    for of_top, of_bottom in ((unit, unit), (unit, 1.0), (1.0, unit)):
        bounds = ratio_bounds(differences * of_top, others * of_bottom)
        assert np.array(bounds) / of_top * of_bottom == pytest.approx(ratio_bounds(differences, others), **close)


def test_what_is_only_rounding_is_no_difference() -> None:
    """Differences of numbers near 1e9 that are equal, but for their last digits."""
    noise = [1e-7, -1e-7, 0.0, 1e-7, 2e-7]
    assert paired_t(noise, rounding=1e-6)[-2:] == (0.5, 0.5)
    assert pooled_t([noise, [0.5, 0.5]], [1e-6, 0.0])[-2:] == (0, 1)
    assert sign_flip(noise, rounding=1e-6) == (1, 1) and sign_flip(noise)[0] < 1
    # Means of tasks that cancel each other are 0, also if they were rounded.
    assert pooled_t([[0.1 + 0.2] * 3, [-0.3] * 3])[-2:] == (0.5, 0.5)
