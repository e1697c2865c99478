"""Studies beside each other, against SciPy."""

import pytest
from scipy import stats

from rlottery.analysis.beside import study_differences
from rlottery.analysis.scores import TaskScores
from tests.analysis.made import config, task

A = {"dense": [100.0, 104.0, 97.0], "taylor-90": [90.0, 80.0, 85.0]}
B = {"dense": [120.0, 110.0, 119.0, 115.0], "taylor-90": [89.0, 84.0, 80.0, 87.0], "magnitude-90": [1.0] * 4}


def scores(name: str, arms: dict[str, list[float]]) -> TaskScores:
    return task(name, config(4), arms).scores


def test_shared_arms_by_welch_and_holm() -> None:
    rows = study_differences({"one": [scores("a", A)], "two": [scores("a", B)]})
    assert [(row.task, row.arm, row.one, row.other, row.n_one, row.n_other) for row in rows] == [
        ("a", "dense", "one", "two", 3, 4),
        ("a", "taylor-90", "one", "two", 3, 4),
    ]
    for row in rows:
        test = stats.ttest_ind(B[row.arm], A[row.arm], equal_var=False)
        interval = test.confidence_interval(0.95)
        assert row.p == pytest.approx(test.pvalue)
        assert (row.low, row.high) == pytest.approx((interval.low, interval.high))
    smaller, larger = sorted(row.p or 0.0 for row in rows)
    assert sorted(row.adjusted or 0.0 for row in rows) == pytest.approx([2 * smaller, max(2 * smaller, larger)])


def test_the_first_stands_against_each_of_the_others() -> None:
    rows = study_differences({name: [scores("a", A)] for name in ("one", "two", "three")})
    assert [(row.one, row.other) for row in rows if row.arm == "dense"] == [("one", "two"), ("one", "three")]
    assert all(row.difference == 0 and row.p == pytest.approx(1) for row in rows)


def test_a_single_run_has_no_test_and_no_interval() -> None:
    (row, *_) = study_differences({"one": [scores("a", {"dense": [5.0]})], "two": [scores("a", B)]})
    assert (row.low, row.high, row.p, row.adjusted) == (None, None, None, None)


def test_without_spread_there_is_no_interval_and_p_is_that_of_the_orders() -> None:
    ones, zeros = {"dense": [1.0] * 4}, {"dense": [0.5] * 4}
    (row,) = study_differences({"one": [scores("a", ones)], "two": [scores("a", zeros)]})
    assert (row.low, row.high) == (None, None)
    # All four of one study below all of the other: 2 of 70 orders.
    assert row.p == pytest.approx(2 / 70)
    (same,) = study_differences({"one": [scores("a", ones)], "two": [scores("a", ones)]})
    assert same.p == 1.0


def test_other_tasks_and_arms_are_left_out() -> None:
    assert study_differences({"one": [scores("a", A)], "two": [scores("b", B)]}) == ()
