"""Contrasts of arms, registered and by default, against Welch's test by SciPy."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from scipy import stats

from rlottery.analysis.contrasts import evaluate_contrasts
from rlottery.analysis.scores import TaskScores, task_scores
from rlottery.analysis.verdict import ContrastResult
from rlottery.config import Config, RegisteredContrast
from tests.analysis.made import config, run, ticket
from tests.analysis.made import task as to_judge

ARMS = {
    "dense": [100.0, 102.0, 98.0, 101.0, 99.0],
    "magnitude-80": [95.0, 99.0, 93.0, 97.0, 96.0],
    "taylor-80": [96.0, 98.0, 95.0, 97.5, 94.0],
    "magnitude-95": [20.0, 25.0, 18.0, 22.0, 30.0],
    "taylor-95": [60.0, 70.0, 55.0, 66.0, 71.0],
}
SETTINGS = config(5)


def claims(*lines: Any) -> tuple[RegisteredContrast, ...]:
    arms = [{"name": name, "criterion": name.split("-")[0], "sparsity": 0.5} for name in ARMS if name != "dense"]
    made = Config.model_validate({"tasks": ["a"], "seeds": [0], "arms": arms, "contrasts": list(lines)})
    return made.registered_contrasts


def task(name: str, arms: dict[str, list[float]] | None = None, **more: Any) -> TaskScores:
    return to_judge(name, SETTINGS, arms or ARMS, **more).scores


def evaluated(tasks: Sequence[TaskScores], *lines: Any) -> tuple[ContrastResult, ...]:
    return evaluate_contrasts(tasks, claims(*lines), SETTINGS.verdict)


def welch(one: str, other: str, alternative: str = "greater") -> float:
    return float(stats.ttest_ind(ARMS[one], ARMS[other], equal_var=False, alternative=alternative).pvalue)


def test_a_chain_is_one_sided_tests_with_holms_correction_over_contrasts_and_tasks() -> None:
    found = evaluated([task("a")], "taylor-95 > magnitude-95", "dense > taylor-80 > taylor-95")
    p = [welch("taylor-95", "magnitude-95"), welch("dense", "taylor-80"), welch("taylor-80", "taylor-95")]
    assert [one.p for one in found] == pytest.approx(p)
    ranked = sorted(p)
    assert [one.adjusted for one in found] == pytest.approx([p_ * (3 - ranked.index(p_)) for p_ in p])
    assert [one.outcome for one in found] == ["plus"] * 3
    first = found[0]
    assert (first.text, first.origin, first.plus, first.minus) == (
        "taylor-95 > magnitude-95",
        "registered",
        ("taylor-95",),
        ("magnitude-95",),
    )
    apart = np.mean(ARMS["taylor-95"]) - np.mean(ARMS["magnitude-95"])
    assert first.raw_difference == pytest.approx(apart) and first.difference == pytest.approx(apart / 100)
    two = evaluated([task("a"), task("b")], "taylor-95 > magnitude-95")
    assert [(one.task, one.adjusted) for one in two][:2] == [
        ("a", pytest.approx(2 * p[0])),
        ("b", pytest.approx(2 * p[0])),
    ]


def test_only_two_sided_contrasts_can_show_the_opposite() -> None:
    (one_sided,) = evaluated([task("a")], "magnitude-95 > taylor-95")
    (two_sided,) = evaluated([task("a")], "magnitude-95 vs taylor-95")
    assert (one_sided.p, one_sided.outcome) == (pytest.approx(1 - welch("taylor-95", "magnitude-95")), "open")
    assert (two_sided.p, two_sided.outcome) == (pytest.approx(welch("taylor-95", "magnitude-95", "two-sided")), "minus")


def test_a_difference_of_differences() -> None:
    (found,) = evaluated([task("a")], "taylor-95 - magnitude-95 > taylor-80 - magnitude-80")
    assert (found.plus, found.minus) == (("taylor-95", "magnitude-80"), ("taylor-80", "magnitude-95"))
    values = [np.array(ARMS[arm]) for arm in (*found.plus, *found.minus)]
    estimate = values[0].mean() + values[1].mean() - values[2].mean() - values[3].mean()
    variances = np.array([value.var(ddof=1) / 5 for value in values])
    df = variances.sum() ** 2 / (variances**2 / 4).sum()
    assert found.p == pytest.approx(stats.t.sf(estimate / np.sqrt(variances.sum()), df))


def test_areas_are_compared_where_the_claim_says_so() -> None:
    slow = {arm: [0.1 * end for end in ends] for arm, ends in ARMS.items()}
    fast = {arm: [0.9 * end for end in ends] for arm, ends in ARMS.items()}
    made = task("a", middle={**slow, "taylor-80": fast["taylor-80"]})
    by_score, by_area = evaluated(
        [made], "taylor-80 > magnitude-80", {"claim": "taylor-80 > magnitude-80", "measure": "area"}
    )
    assert (by_score.measure, by_score.outcome) == ("score", "open")
    assert (by_area.measure, by_area.outcome) == ("area", "plus")


def test_the_pool_is_last_with_the_median_and_without_each_task() -> None:
    other = {**ARMS, "taylor-95": [10.0] * 5}
    nothing = {**ARMS, "dense": [1.0, -2.0, 3.0, -1.0, 0.5]}
    *single, pool = evaluated([task("a"), task("b", other), task("c", nothing)], "taylor-95 > magnitude-95")
    assert [one.task for one in (*single, pool)] == ["a", "b", "c", None]
    # Without a scale it is tested in the unit of the metric, and not pooled.
    assert (single[2].difference, single[2].outcome) == (None, "plus")
    assert pool.tasks == ("a", "b") and "no scale" in pool.left_out["c"]
    differences = [one.difference for one in single[:2]]
    assert pool.difference == pytest.approx(np.mean(differences)) and pool.median == pytest.approx(np.mean(differences))
    assert pool.without["a"][:1] == (differences[1],) and pool.without["b"][:1] == (differences[0],)
    assert pool.adjusted == pool.p and pool.runs == {"taylor-95": 10, "magnitude-95": 10}


def test_what_lacks_runs_is_not_tested() -> None:
    few = {**ARMS, "taylor-95": ARMS["taylor-95"][:2]}
    none = {arm: ends for arm, ends in ARMS.items() if arm != "taylor-95"}
    one, other = evaluated([task("a", few), task("b", none)], "taylor-95 > magnitude-95")
    assert one.why == "taylor-95 has 2 of 5 seeds that are needed"
    assert one.p is not None and (one.adjusted, one.outcome) == (None, None)
    assert other.why == "taylor-95 has no finished run" and other.p is None


def test_defaults_compare_what_a_study_contains() -> None:
    """Every kind of arm once, and a control of another ticket that is compared with nothing."""
    of = {"criterion": "taylor", "sparsity": {"actor": 0.9, "critic": 0.9}}
    kinds: dict[str, dict[str, Any]] = {
        "dense": {},
        "taylor-90": ticket("taylor-90"),
        "shuffled-90": {**ticket("taylor-90"), "recipe": {"control": "shuffled", "of": of}},
        "other-90": {**ticket("taylor-90"), "recipe": {"control": "shuffled", "of": {**of, "allocation": "erk"}}},
        "random-90": {**ticket("random-90"), "recipe": {"control": "random", "of": of}},
        "rigl-90": {**ticket("rigl-90"), "recipe": {"schedule": {"rigl": {}}}},
        "set-90": {**ticket("set-90"), "recipe": {"schedule": {"set": {}}}},
        "set-50": {**ticket("set-50"), "recipe": {"schedule": {"set": {}}}},
    }
    runs = [run(arm, seed, 0, 5, 6 + seed, **facts) for arm, facts in kinds.items() for seed in range(5)]
    made = task_scores("a", runs, 0.1, SETTINGS)
    found = evaluate_contrasts([made], (), SETTINGS.verdict)
    by_origin: dict[str, set[str]] = {}
    for one in found:
        by_origin.setdefault(one.origin, set()).add(one.text)
    assert by_origin == {
        "ticket against control": {"taylor-90 vs shuffled-90"},
        "dynamic against static": {"rigl-90 vs random-90", "set-90 vs random-90"},
        "RigL against SET": {"rigl-90 vs set-90"},
        "against dense": {f"{arm} vs dense" for arm in ("random-90", "rigl-90", "set-90", "set-50")},
    }
    assert all(one.two_sided for one in found)
    # Registered contrasts take their place, but for what only defaults say: whether random masks beat dense.
    ranked = next(one for one in found if one.text == "set-90 vs dense")
    registered = (as_registered(found[0]), as_registered(ranked))
    still = evaluate_contrasts([made], registered, SETTINGS.verdict)
    assert [(one.origin, one.text) for one in still] == [
        ("registered", found[0].text),
        ("registered", "set-90 vs dense"),
        *(("against dense", f"{arm} vs dense") for arm in ("random-90", "set-50", "rigl-90")),
    ]


def test_random_masks_are_compared_where_only_their_layer_counts_differ() -> None:
    """Two random masks with one allocation by rule differ in nothing but luck, whatever the criteria of their tickets.

    Those that start from other weights, or have another sparsity, differ in more than the counts.
    """

    def random(criterion: str, share: float = 0.8, kind: str = "random", **more: Any) -> dict[str, Any]:
        sparsity = {"actor": share, "critic": share}
        of = {"criterion": criterion, "sparsity": sparsity, **more}
        return {"criterion": "random", "sparsity": sparsity, "recipe": {"control": kind, "of": of}}

    kinds: dict[str, dict[str, Any]] = {
        "dense": {},
        "of-magnitude": random("magnitude"),
        "of-taylor": random("taylor"),
        "again": random("taylor"),
        "erk-magnitude": random("magnitude", allocation="erk"),
        "erk-taylor": random("taylor", allocation="erk"),
        "erk": random("taylor", kind="random-erk"),
        "sparser": random("taylor", 0.9),
        "rescaled": {**random("magnitude"), "start": {"rescale": True}},
    }
    runs = [run(arm, seed, 0, 5, 6 + seed, **facts) for arm, facts in kinds.items() for seed in range(5)]
    found = evaluate_contrasts([task_scores("a", runs, 0.1, SETTINGS)], (), SETTINGS.verdict)
    pairs = {frozenset(one.plus + one.minus) for one in found if one.origin == "random against random"}
    counts = [["of-magnitude"], ["of-taylor", "again"], ["erk-magnitude", "erk-taylor", "erk"]]
    assert pairs == {frozenset((a, b)) for one, other in combinations(counts, 2) for a in one for b in other}
    assert ("of-taylor",) in {one.plus for one in found if one.minus == ("of-magnitude",)}


def as_registered(of: ContrastResult) -> RegisteredContrast:
    return RegisteredContrast(of.plus, of.minus, of.two_sided, of.measure)


def test_another_recipe_of_the_same_name_is_not_pooled() -> None:
    tasks = [task(name) for name in ("a", "b", "c")]
    runs = {
        arm: tuple(replace(one, recipe={"allocation": "erk"} if arm == "taylor-95" else {}) for one in of_arm)
        for arm, of_arm in tasks[1].runs.items()
    }
    tasks[1] = replace(tasks[1], runs=runs)
    *_, pool = evaluated(tasks, "taylor-95 > magnitude-95")
    assert pool.tasks == ("a", "c") and pool.left_out == {"b": "taylor-95 has another recipe there"}


def test_areas_hardly_above_untrained_make_no_scale() -> None:
    """Dense agents that learn at the end of training: a difference of areas is not divided by almost nothing."""
    made = task("a")
    arms = tuple(
        replace(arm, areas=dict(enumerate([0.3, -0.3, 0.2, -0.2, 0.1] if arm.arm == "dense" else arm.scores.values())))
        for arm in made.arms
    )
    late = replace(made, arms=arms)
    assert late.gain is not None and late.scale("score") and not late.scale("area")
    (found,) = evaluated([late], {"claim": "taylor-95 > magnitude-95", "measure": "area"})
    assert (found.difference, found.outcome) == (None, "plus")
    assert found.raw_difference == pytest.approx(np.mean(ARMS["taylor-95"]) - np.mean(ARMS["magnitude-95"]))


def test_a_task_with_too_few_dense_runs_is_not_pooled() -> None:
    few = {arm: ends[:1] if arm == "dense" else ends for arm, ends in ARMS.items()}
    rows = evaluated([task("a"), task("b", few), task("c")], "taylor-95 > magnitude-95")
    assert [row.task for row in rows] == ["a", "b", "c", None] and rows[1].outcome == "plus"
    assert rows[-1].tasks == ("a", "c") and rows[-1].left_out == {"b": "dense has 1 of 5 seeds that are needed"}


def test_an_arm_without_areas_is_not_compared_by_them() -> None:
    made = task("a")
    arms = tuple(replace(arm, areas={} if arm.arm == "taylor-95" else arm.areas) for arm in made.arms)
    (found,) = evaluated([replace(made, arms=arms)], {"claim": "taylor-95 > magnitude-95", "measure": "area"})
    assert (found.p, found.why) == (None, "taylor-95 has no learning curve from step 0")
