"""Gradient against magnitude, against paired tests computed by hand."""

from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlottery.analysis.method_contrasts import compare_methods
from rlottery.analysis.scores import TaskScores
from tests.analysis.made import config
from tests.analysis.made import task as to_judge


def task(*of: Any, **more: Any) -> TaskScores:
    return to_judge(*of, **more).scores


DENSE = [100.0, 102.0, 98.0, 101.0, 99.0]
ARMS = {
    "dense": DENSE,
    "magnitude-80": [95.0, 99.0, 93.0, 97.0, 96.0],
    "taylor-80": [96.0, 98.0, 95.0, 97.5, 94.0],
    "magnitude-95": [20.0, 25.0, 18.0, 22.0, 30.0],
    "taylor-95": [60.0, 70.0, 55.0, 66.0, 71.0],
}


def test_differences_on_one_task() -> None:
    settings = config(5)
    found, trends = compare_methods([task("a", settings, ARMS)], settings.verdict)
    scores = [row for row in found if row.measure == "score"]
    assert [(row.task, row.sparsity, row.magnitude, row.gradient, row.n) for row in scores] == [
        ("a", 0.8, "magnitude-80", "taylor-80", 5),
        ("a", 0.95, "magnitude-95", "taylor-95", 5),
    ]
    expected = [stats.ttest_rel(ARMS[f"taylor-{percent}"], ARMS[f"magnitude-{percent}"]).pvalue for percent in (80, 95)]
    assert [row.p for row in scores] == pytest.approx(expected)
    assert [row.adjusted for row in scores] == pytest.approx([max(2 * expected[1], expected[0]), 2 * expected[1]])
    gain = np.mean(DENSE)
    assert scores[1].difference == pytest.approx((np.mean(ARMS["taylor-95"]) - np.mean(ARMS["magnitude-95"])) / gain)
    (trend,) = (trend for trend in trends if trend.measure == "score")
    change = (np.array(ARMS["taylor-95"]) - ARMS["magnitude-95"]) - (np.array(ARMS["taylor-80"]) - ARMS["magnitude-80"])
    assert trend.change == pytest.approx(change.mean() / gain)
    assert trend.p == pytest.approx(stats.ttest_1samp(change, 0).pvalue)
    assert (trend.lowest, trend.highest, trend.n) == (0.8, 0.95, 5)


def test_the_pool_is_last_and_is_the_mean_over_tasks() -> None:
    settings = config(5)
    other = {arm: [value / 2 for value in values] for arm, values in ARMS.items()}
    other["taylor-95"] = [10.0] * 5
    tasks = [task("a", settings, ARMS), task("b", settings, other)]
    found, _ = compare_methods(tasks, settings.verdict)
    rows = [row for row in found if row.measure == "score" and row.sparsity == 0.95]
    assert [row.task for row in rows] == ["a", "b", None]
    assert rows[2].difference == pytest.approx((rows[0].difference + rows[1].difference) / 2)
    assert rows[2].n == 10 and rows[0].difference > 0 > rows[1].difference


def test_a_single_seed_has_a_difference_and_no_interval() -> None:
    settings = config(1)
    found, trends = compare_methods([task("a", settings, {arm: v[:1] for arm, v in ARMS.items()})], settings.verdict)
    assert all((row.low, row.high, row.p, row.adjusted, row.n) == (None, None, None, None, 1) for row in found)
    assert trends[0].p is None


def test_arms_that_differ_in_more_than_the_criterion_are_no_pair() -> None:
    settings = config(5)
    made = task("a", settings, ARMS)
    for runs in made.runs["taylor-95"]:
        object.__setattr__(runs, "recipe", {"allocation": "erk"})
    found, trends = compare_methods([made], settings.verdict)
    assert {row.sparsity for row in found} == {0.8} and trends == ()


def test_only_equal_sparsity_makes_a_pair() -> None:
    settings = config(5)
    made = task("a", settings, {name: ARMS[name] for name in ("dense", "magnitude-80", "taylor-95")})
    assert compare_methods([made], settings.verdict) == ((), ())


def test_a_task_that_was_not_learned_shows_nothing() -> None:
    settings = config(5)
    assert compare_methods([task("a", settings, ARMS, least_gain=1000.0)], settings.verdict) == ((), ())


def test_two_pairs_at_one_sparsity_stay_two() -> None:
    """The same criteria with other layer counts are another comparison, not another task."""
    settings = config(5)
    other = {"magnitude-94": ARMS["magnitude-95"], "taylor-94": ARMS["taylor-95"]}
    made = task("a", settings, {**ARMS, **other})
    for name in other:
        for run in made.runs[name]:
            object.__setattr__(run, "recipe", {"allocation": "erk"})
            object.__setattr__(run, "sparsity", {"actor": 0.95, "critic": 0.95})
    found, _ = compare_methods([made], settings.verdict)
    rows = [row for row in found if row.measure == "score" and row.sparsity == 0.95]
    assert sorted((row.gradient, row.n, row.fewest) for row in rows) == [("taylor-94", 5, 5), ("taylor-95", 5, 5)]


def test_trends_are_corrected_over_tasks_and_the_pool_by_itself() -> None:
    settings = config(5)
    _, trends = compare_methods([task("a", settings, ARMS), task("b", settings, ARMS)], settings.verdict)
    *of_tasks, pool = (trend for trend in trends if trend.measure == "score")
    assert [trend.adjusted for trend in of_tasks] == [pytest.approx(2 * trend.p) for trend in of_tasks]
    assert (pool.task, pool.adjusted) == (None, pool.p)


def test_the_fewest_seeds_of_any_task_are_reported() -> None:
    settings = config(5)
    few = {arm: values[:2] for arm, values in ARMS.items()}
    found, trends = compare_methods([task("a", settings, ARMS), task("b", settings, few)], settings.verdict)
    pool = next(row for row in found if row.task is None)
    assert (pool.n, pool.fewest, pool.tasks) == (7, 2, ("a", "b"))
    assert next(trend for trend in trends if trend.task is None).fewest == 2
