"""Gradient against magnitude, against Welch's test by SciPy."""

from collections.abc import Mapping
from dataclasses import replace
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
    assert [(row.task, row.sparsity["actor"], row.magnitude, row.gradient, row.n) for row in scores] == [
        ("a", 0.8, "magnitude-80", "taylor-80", 5),
        ("a", 0.95, "magnitude-95", "taylor-95", 5),
    ]
    pairs = [(ARMS[f"taylor-{percent}"], ARMS[f"magnitude-{percent}"]) for percent in (80, 95)]
    expected = [stats.ttest_ind(*pair, equal_var=False).pvalue for pair in pairs]
    assert [row.p for row in scores] == pytest.approx(expected)
    assert [row.adjusted for row in scores] == pytest.approx([max(2 * expected[1], expected[0]), 2 * expected[1]])
    gain = np.mean(DENSE)
    assert scores[1].difference == pytest.approx((np.mean(ARMS["taylor-95"]) - np.mean(ARMS["magnitude-95"])) / gain)
    welch = stats.ttest_ind(ARMS["taylor-95"], ARMS["magnitude-95"], equal_var=False).confidence_interval(0.9)
    raw = scores[1].as_difference
    assert (raw.raw_difference, raw.raw_low, raw.raw_high) == pytest.approx((scores[1].difference * gain, *welch))
    (trend,) = (trend for trend in trends if trend.measure == "score")
    arms = [np.array(ARMS[name]) for name in ("taylor-95", "magnitude-80", "magnitude-95", "taylor-80")]
    change = arms[0].mean() + arms[1].mean() - arms[2].mean() - arms[3].mean()
    variances = np.array([arm.var(ddof=1) / 5 for arm in arms])
    df = variances.sum() ** 2 / (variances**2 / 4).sum()
    assert trend.change == pytest.approx(change / gain)
    assert trend.p == pytest.approx(2 * stats.t.sf(change / np.sqrt(variances.sum()), df))
    assert (trend.lowest["actor"], trend.highest["critic"], trend.n) == (0.8, 0.95, 5)


def test_the_pool_is_last_and_is_the_mean_over_tasks() -> None:
    settings = config(5)
    other = {arm: [value / 2 for value in values] for arm, values in ARMS.items()}
    other["taylor-95"] = [10.0] * 5
    tasks = [task("a", settings, ARMS), task("b", settings, other)]
    found, _ = compare_methods(tasks, settings.verdict)
    rows = [row for row in found if row.measure == "score" and row.sparsity["actor"] == 0.95]
    assert [row.task for row in rows] == ["a", "b", None]
    assert rows[2].difference == pytest.approx((rows[0].difference + rows[1].difference) / 2)
    assert rows[2].raw_difference is None
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
    assert {row.sparsity["actor"] for row in found} == {0.8} and trends == ()


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
    rows = [row for row in found if row.measure == "score" and row.sparsity["actor"] == 0.95]
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


def changed(made: TaskScores, arms: Mapping[str, Mapping[str, Any]]) -> TaskScores:
    """The same task with other facts about the runs of these arms."""
    runs = {arm: tuple(replace(run, **arms.get(arm, {})) for run in of_arm) for arm, of_arm in made.runs.items()}
    return replace(made, runs=runs)


def splits(**shares: tuple[float, float]) -> dict[str, dict[str, Any]]:
    """Arm (with _ for -) -> its sparsity of actor and critic."""
    return {
        arm.replace("_", "-"): {"sparsity": {"actor": actor, "critic": critic}}
        for arm, (actor, critic) in shares.items()
    }


def better_and_worse() -> TaskScores:
    """Gradient is 0.30 worse at one split, and 0.30 better at the opposite one; the mean sparsity is that of both."""
    high, low = [90.0, 92.0, 89.0, 91.0, 90.5], [60.0, 61.5, 59.0, 60.5, 61.0]
    ends = {"dense": DENSE, "magnitude-1": high, "taylor-1": low, "magnitude-2": low, "taylor-2": high}
    one, other = (0.9, 0.5), (0.5, 0.9)
    made = task("a", config(5), ends)
    return changed(made, splits(magnitude_1=one, taylor_1=one, magnitude_2=other, taylor_2=other))


def test_opposite_splits_are_two_comparisons_and_no_trend() -> None:
    found, trends = compare_methods([better_and_worse()], config(5).verdict)
    scores = [row for row in found if row.measure == "score"]
    assert [(row.gradient, dict(row.sparsity), row.n) for row in scores] == [
        ("taylor-2", {"actor": 0.5, "critic": 0.9}, 5),
        ("taylor-1", {"actor": 0.9, "critic": 0.5}, 5),
    ]
    assert scores[0].difference == pytest.approx(0.301) and scores[1].difference == pytest.approx(-0.301)
    assert all(row.p is not None and row.p < 1e-4 for row in scores)
    assert trends == ()


@pytest.mark.parametrize("noise", [1e-16, -1e-12, 3e-10])
def test_noise_in_a_sparsity_neither_splits_nor_joins_comparisons(noise: float) -> None:
    settings = config(5)
    facts = {arm: {"sparsity": {"actor": 0.8 + noise, "critic": 0.8 - noise}} for arm in ("taylor-80",)}
    tasks = [task("a", settings, ARMS), changed(task("b", settings, ARMS), facts)]
    found, _ = compare_methods(tasks, settings.verdict)
    pools = [row for row in found if row.measure == "score" and row.task is None]
    assert [(row.gradient, row.tasks) for row in pools] == [("taylor-80", ("a", "b")), ("taylor-95", ("a", "b"))]
    # Another pair at the same sparsity, but for noise, is no higher one.
    ends = {**ARMS, "magnitude-94": ARMS["magnitude-95"], "taylor-94": ARMS["taylor-95"]}
    other = changed(
        task("a", settings, ends), splits(magnitude_94=(0.95 + noise, 0.95), taylor_94=(0.95 + noise, 0.95))
    )
    only = {name: runs for name, runs in other.runs.items() if not name.endswith("80")}
    assert compare_methods([replace(other, runs=only)], settings.verdict)[1] == ()


def test_tasks_reach_a_sparsity_to_within_a_weight() -> None:
    settings = config(5)
    reached = {arm: {"sparsity": {"actor": 0.8013, "critic": 0.7996}} for arm in ("taylor-80", "magnitude-80")}
    tasks = [task("a", settings, ARMS), changed(task("b", settings, ARMS), reached)]
    found, trends = compare_methods(tasks, settings.verdict)
    assert [row.tasks for row in found if row.task is None and row.gradient == "taylor-80"] == [("a", "b")] * 2
    assert [trend.task for trend in trends if trend.measure == "score"] == ["a", "b", None]


def test_nearly_equal_sparsities_that_the_config_asks_for_stay_two() -> None:
    shares = {"80": 0.9, "95": 0.9004}
    asked = {arm: {"actor": shares[arm[-2:]], "critic": shares[arm[-2:]]} for arm in ARMS if arm != "dense"}
    made = changed(task("a", config(5), ARMS), {arm: {"sparsity": split} for arm, split in asked.items()})
    found, _ = compare_methods([replace(made, asked=asked)], config(5).verdict)
    pairs = [(row.magnitude, row.gradient) for row in found if row.measure == "score"]
    assert pairs == [("magnitude-80", "taylor-80"), ("magnitude-95", "taylor-95")]


def test_gradient_arms_of_other_recipes_are_two_comparisons() -> None:
    """Magnitude reads no batches, so both have the same magnitude arm."""
    ends = {"dense": DENSE, "magnitude-80": DENSE, "taylor-80": ARMS["taylor-80"], "taylor-81": ARMS["taylor-95"]}
    facts = splits(taylor_81=(0.8, 0.8)) | {"taylor-80": {"recipe": {"batches": 10}}}
    found, _ = compare_methods([changed(task("a", config(5), ends), facts)], config(5).verdict)
    rows = [(row.magnitude, row.gradient, row.n) for row in found if row.measure == "score"]
    assert sorted(rows) == [("magnitude-80", "taylor-80", 5), ("magnitude-80", "taylor-81", 5)]


def test_splits_that_differ_in_one_group_have_a_trend() -> None:
    ends = {arm: ARMS[arm] for arm in ARMS}
    one, other = (0.8, 0.5), (0.95, 0.5)
    made = changed(
        task("a", config(5), ends), splits(magnitude_80=one, taylor_80=one, magnitude_95=other, taylor_95=other)
    )
    _, trends = compare_methods([made], config(5).verdict)
    (trend,) = (trend for trend in trends if trend.measure == "score")
    assert (trend.lowest["actor"], trend.highest["actor"], trend.arms) == (0.8, 0.95, ("taylor-80", "taylor-95"))
