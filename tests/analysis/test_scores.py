"""Scores of runs and arms, against computations by hand."""

import pytest

from rlottery.analysis.across_tasks import across_tasks
from rlottery.analysis.scores import area_under_curve, steps_to, task_scores
from tests.analysis.made import config, run, task, ticket


def test_area_is_the_time_average() -> None:
    # Trapezoids: (0+4)/2 + (4+8)/2 + (8+8)/2 over three intervals.
    assert area_under_curve(run("dense", 0, 0, 4, 8, 8), "return") == pytest.approx((2 + 6 + 8) / 3)


def test_a_constant_curve_has_itself_as_area() -> None:
    assert area_under_curve(run("dense", 0, 5, 5, 5), "return") == 5


def test_after_a_divergence_the_area_is_that_of_the_untrained() -> None:
    diverged = run("taylor-90", 0, 0, 6, status="diverged", env_steps=None)
    # (0+6)/2 up to step 100, then -1 to step 300.
    assert area_under_curve(diverged, "return", -1.0, 300) == pytest.approx((3 - 1 - 1) / 3)
    assert area_under_curve(run("taylor-90", 0, status="diverged"), "return", -1.0, 300) == -1


def test_steps_to_a_threshold() -> None:
    learner = run("dense", 0, 0, 4, 8, 7)
    assert [steps_to(learner, "return", at) for at in (-1, 4, 4.1, 9)] == [0, 100, 200, None]
    late = run("taylor-90", 0, 0, 4, 8, began_at=50)
    assert steps_to(late, "return", 4) == 150


def test_a_diverged_run_scores_as_untrained_and_a_failed_one_not_at_all() -> None:
    settings = config(3)
    runs = [run("dense", seed, 10, 20, 30, 110) for seed in range(3)]
    facts = ticket("taylor-90")
    runs += [
        run("taylor-90", 0, 10, 20, 30, 60, **facts),
        run("taylor-90", 1, 10, 20, status="diverged", **facts),
        run("taylor-90", 2, 10, 20, status="failed", **facts),
    ]
    found = task_scores("a", runs, 1.0, settings)
    arm = found.arm("taylor-90")
    assert arm is not None and dict(arm.scores) == {0: 60.0, 1: 10.0}
    assert dict(arm.normalised) == {0: 0.5, 1: 0.0}
    assert (found.untrained, found.dense, found.gain, found.threshold) == (10, 110, 100, 100)


def test_one_seed_has_no_interval() -> None:
    settings = config(1)
    arm = task("a", settings, {"dense": [100.0]}).scores.arm("dense")
    assert arm is not None
    assert [(of.value, of.low, of.high) for of in (arm.mean, arm.median, arm.iqm)] == [(100.0, None, None)] * 3


def test_mean_median_and_iqm_of_seeds() -> None:
    settings = config(4)
    arm = task("a", settings, {"dense": [1.0, 2.0, 3.0, 10.0]}).scores.arm("dense")
    assert arm is not None
    assert (arm.mean.value, arm.median.value, arm.iqm.value) == (4.0, 2.5, 2.5)
    assert arm.mean.low is not None and arm.mean.high is not None
    assert 1 <= arm.mean.low <= 4 <= arm.mean.high <= 10


def test_arms_that_start_late_have_no_area() -> None:
    settings = config(1)
    runs = [run("dense", 0, 0, 1, 2, 100), run("taylor-90", 0, 0, 1, 2, began_at=50, **ticket("taylor-90"))]
    arm = task_scores("a", runs, 0.1, settings).arm("taylor-90")
    assert arm is not None and dict(arm.areas) == {} and dict(arm.scores) == {0: 2.0}


@pytest.mark.parametrize(
    ("ends", "imported", "why"),
    [
        (100.0, True, "the dense agents have no learning curve from step 0"),
        (0.001, False, "the dense agents' mean over training is close to untrained"),
    ],
)
def test_why_areas_have_no_scale(ends: float, imported: bool, why: str) -> None:
    """Those of agents that were imported, and those of agents that learn at the end of training."""
    runs = [
        run("dense", seed, 0, -1, ends, 100, imported={"library": "other"} if imported else None) for seed in range(5)
    ]
    of = task_scores("a", runs, 0.1 if imported else 40.0, config(5))
    assert of.scale("score") and not of.why_no_scale("score")
    assert of.why_no_scale("area") == why


def test_across_tasks_is_normalised_and_skips_what_was_not_learned() -> None:
    settings = config(2)
    tasks = [
        task("a", settings, {"dense": [100.0, 100.0], "taylor-90": [50.0, 70.0]}).scores,
        task("b", settings, {"dense": [1.0, 1.0], "taylor-90": [1.0, 0.8]}).scores,
        task("c", settings, {"dense": [5.0, 5.0], "taylor-90": [0.0, 0.0]}, least_gain=10.0).scores,
    ]
    dense, found = across_tasks(tasks, {}, 50)
    assert dense.over_dense is None and found.over_dense is not None
    assert (found.tasks, found.runs) == (("a", "b"), 4)
    assert found.mean.value == pytest.approx((0.6 + 0.9) / 2)
    # On a never better; on b better half as often as there are ties: 0, and (1/2 + 0) / 2.
    assert found.over_dense.value == pytest.approx((0 + 0.25) / 2)
    at = list(found.profile.at)
    reached = found.profile.reached[min(range(len(at)), key=lambda i: abs(at[i] - 0.7))]
    assert reached == pytest.approx(3 / 4)
