"""Failure counts next to means, and claims that rest on no failure seen."""

from dataclasses import replace

import pytest
import scipy.stats

from rlottery.analysis.failures import AtRisk, no_failure_seen
from rlottery.analysis.judging import judge
from rlottery.analysis.verdict import ArmVerdict, PooledVerdict
from tests.analysis.made import config, task

SAME_COUNTS = {"random-90": "taylor-90"}
"""Random control -> the arm whose layer counts its masks have."""
DENSE = [100.0, 102.0, 98.0, 101.0, 99.0]
CLOSE = [97.0, 99.0, 96.0, 99.0, 97.0]


def verdict(seeds: int = 5, **arms: list[float]) -> tuple[ArmVerdict, PooledVerdict]:
    settings = config(seeds)
    named = {arm.replace("_", "-"): scores for arm, scores in arms.items()}
    verdicts, pooled = judge([task("a", settings, named, SAME_COUNTS)], settings.verdict)
    return next(arm for arm in verdicts[0].arms if arm.arm == "taylor-90"), next(
        one for one in pooled if one.arm == "taylor-90"
    )


def test_failures_are_counted_and_tested_exactly() -> None:
    arm, _ = verdict(dense=DENSE, taylor_90=[97.0, 3.0, 99.0, 2.0, 49.0], random_90=[96.0, 20.0, 97.0, 95.0, 51.0])
    failures = arm.failures
    assert failures is not None and failures.control is not None
    assert [(of.failed, of.runs) for of in (failures.ticket, failures.dense, failures.control)] == [
        (3, 5),
        (0, 5),
        (1, 5),
    ]
    assert failures.rate_at_most == pytest.approx(scipy.stats.binomtest(3, 5, alternative="less").proportion_ci().high)
    more = (
        scipy.stats.fisher_exact([[3, 2], [0, 5]], "greater")[1],
        scipy.stats.fisher_exact([[3, 2], [1, 4]], "greater")[1],
    )
    assert (failures.p["dense"], failures.p["random"]) == pytest.approx(more)
    assert failures.adjusted == failures.p


def test_a_positive_answer_rests_on_no_failure_where_single_runs_of_the_task_fail() -> None:
    arms = {"dense": DENSE, "taylor_90": CLOSE, "random_90": [40.0, 42.0, 35.0, 41.0, 39.0]}
    arm, pooled = verdict(**arms)
    # Random masks always fail, which says nothing about rare failures.
    assert arm.dense.answer == "non-inferior" and arm.dense.no_failure is None
    sometimes = {"magnitude_90": [97.0, 3.0, 99.0, 98.0, 97.0]}
    arm, pooled = verdict(**arms, **sometimes)
    # One of another arm's runs failed: five tickets without a failure exclude only rates above 1 - 0.05^(1/5).
    for answer in (arm.dense, pooled.dense):
        assert answer.answer == "non-inferior"
        assert answer.no_failure is not None and answer.no_failure.rate == pytest.approx(1 - 0.05 ** (1 / 5))
    # "Better" is no claim of equality.
    assert arm.random.answer == "better" and arm.random.no_failure is None


def test_success_rates_are_all_or_nothing() -> None:
    settings = config(5)
    made = task("a", settings, {"dense": DENSE, "taylor-90": CLOSE})
    (success,), _ = judge([replace(made, scores=replace(made.scores, metric="success"))], settings.verdict)
    (returns,), _ = judge([made], settings.verdict)
    assert success.arms[0].dense.no_failure is not None and returns.arms[0].dense.no_failure is None


@pytest.mark.parametrize(
    ("score", "difference", "seeds"), [(1.0, 0.0, 29), (0.95, -0.05, 56), (1.2, 0.2, 11), (1.0, -0.0999, None)]
)
def test_enough_seeds_exclude_failures(score: float, difference: float, seeds: int | None) -> None:
    """With a ticket as good as dense, rates below 0.10 must be excluded: 0.9^29 is below 5 %."""
    found = no_failure_seen([AtRisk(score, 5, may_fail=True)], difference, 0.1, 0.05)
    assert found is not None and found.seeds == seeds
    if seeds is not None:
        bound = (difference + 0.1) / score
        assert (1 - bound) ** seeds <= 0.05 < (1 - bound) ** (seeds - 1)
        assert no_failure_seen([AtRisk(score, seeds, may_fail=True)], difference, 0.1, 0.05) is None


def test_over_tasks_only_those_where_runs_may_fail_count() -> None:
    safe, at_risk = AtRisk(1.0, 5, may_fail=False), AtRisk(1.0, 5, may_fail=True)
    assert no_failure_seen([safe, safe], 0.0, 0.1, 0.05) is None
    assert no_failure_seen([safe] * 9 + [at_risk], 0.0, 0.1, 0.05) is None  # a tenth of 45 %
    found = no_failure_seen([safe, at_risk], 0.0, 0.1, 0.05)
    # Half of the tasks: a rate of 0.2 takes 0.1 from the mean over both.
    assert found is not None and found.seeds == 14 and 0.8**14 < 0.05 < 0.8**13
