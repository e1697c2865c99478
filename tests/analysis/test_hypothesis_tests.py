import itertools
import math
from typing import Any

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.analysis import hypothesis_tests
from rlottery.analysis.hypothesis_tests import fails_more_often, holm, rank_sum_above, rate_at_most


def every_division(one: list[float], other: list[float]) -> float:
    """The share of divisions into groups of these sizes whose first rank sum is as large, tried one by one."""
    ranks = scipy.stats.rankdata([*one, *other])
    observed = ranks[: len(one)].sum()
    divisions = itertools.combinations(ranks.tolist(), len(one))
    return float(np.mean([sum(chosen) >= observed - 1e-9 for chosen in divisions]))


@settings(max_examples=30)
@given(st.lists(st.integers(0, 6), min_size=1, max_size=5), st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_rank_sums_with_ties_are_those_of_every_division(one: list[float], other: list[float]) -> None:
    assert rank_sum_above(one, other) == pytest.approx(every_division(one, other))


@pytest.mark.parametrize(("n", "m"), [(5, 100), (100, 5), (10, 30)])
def test_rank_sums_without_ties_are_scipys_exact_test(n: int, m: int) -> None:
    generator = np.random.default_rng(n)
    one, other = generator.normal(0.5, 1, n), generator.normal(0, 1, m)
    scipys = scipy.stats.mannwhitneyu(one, other, alternative="greater", method="exact")
    assert rank_sum_above(one, other) == pytest.approx(scipys.pvalue)


def test_many_values_are_approximated(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    for n, m in ((40, 60), (60, 40)):
        one, other = generator.integers(2, 12, n), generator.integers(0, 11, m)
        exact = rank_sum_above(one, other)
        with monkeypatch.context() as patched:
            patched.setattr(hypothesis_tests, "_MOST_CELLS", 0)
            approximate = rank_sum_above(one, other)
            assert rank_sum_above([1.0], [1.0]) == 1
        scipys = scipy.stats.mannwhitneyu(one, other, alternative="greater", method="asymptotic")
        assert approximate == pytest.approx(scipys.pvalue)
        assert approximate == pytest.approx(exact, abs=0.01) and approximate != exact


def test_ranks_ignore_rounding_and_how_far_an_outlier_is() -> None:
    assert rank_sum_above([1e9 + 1e-7] * 3, [1e9] * 3, rounding=1e-6) == 1
    assert rank_sum_above([3.0, 4.0], [1.0, 2.0]) == rank_sum_above([3.0, 4.0], [-1e9, 2.0]) == pytest.approx(1 / 6)


@settings(max_examples=30)
@given(st.integers(0, 12), st.integers(1, 12), st.sampled_from([0.01, 0.05, 0.2]))
def test_failure_rates_are_clopper_and_pearsons(failed: int, runs: int, level: float) -> None:
    failed = min(failed, runs)
    found = rate_at_most(failed, runs, level)
    scipys = scipy.stats.binomtest(failed, runs, alternative="less").proportion_ci(1 - level)
    assert found == pytest.approx(scipys.high)
    # At the bound, so few failures have just this probability.
    assert failed == runs or scipy.stats.binom.cdf(failed, runs, found) == pytest.approx(level)


@settings(max_examples=30)
@given(st.integers(0, 9), st.integers(1, 9), st.integers(0, 9), st.integers(1, 9))
def test_more_failures_are_fishers_exact_test(failed: int, runs: int, others: int, of: int) -> None:
    failed, others = min(failed, runs), min(others, of)
    table = [[failed, runs - failed], [others, of - others]]
    assert fails_more_often(failed, runs, others, of) == pytest.approx(scipy.stats.fisher_exact(table, "greater")[1])


def test_holm_by_hand() -> None:
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1, and never falling.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2, 0.9, 0.5]) == pytest.approx([0.6, 1.0, 1.0])
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


@settings(max_examples=50)
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
    for call in (lambda: rank_sum_above(bad, [1.0]), lambda: rank_sum_above([1.0], bad)):
        with pytest.raises(ValueError):
            call()
    for p_values in ([0.5, 1.5], [math.nan]):
        with pytest.raises(ValueError):
            holm(p_values)
