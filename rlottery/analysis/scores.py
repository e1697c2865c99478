"""Scores: of a run, of an arm on a task, and of arms across tasks."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.aggregates import (
    Statistic,
    bootstrap,
    bootstrap_paired,
    improvement_over_tasks,
    iqm_of_runs,
    mean_over_tasks,
    median_of_runs,
    median_over_tasks,
    performance_profile,
    probability_of_improvement,
    value_of,
)
from rlottery.analysis.hypothesis_tests import paired_t, sign_flip
from rlottery.analysis.runs import Metric, Run, arm_names, metric_of, score_of, untrained_evaluations
from rlottery.config import Config, Verdict
from rlottery.storage.paths import DENSE

SEED = 0
"""Of every bootstrap: the same runs give the same intervals."""

AT = np.round(np.linspace(-0.1, 1.2, 131), 2)
"""Shares of dense at which performance profiles are drawn."""


@dataclass(frozen=True)
class Estimate:
    """A number with its bootstrap interval; None where there are too few seeds for one."""

    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class ArmScores:
    """One arm on one task.

    Attributes:
        scores: seed -> the run's score: the mean of its last evaluations. One that diverged scores as untrained agents.
        areas: seed -> area under the curve: the time average of the score from step 0 to the end, in the same unit.
            Arms that begin later have none: it would leave out the steps before.
        steps: seed -> the first step with an evaluation at or above the task's threshold; None: never reached.
        normalised: seed -> normalised score (`normalised_scores`); empty where the dense agents did not learn.
        mean, median, iqm: of the scores.
        before: seed -> the score before training, of runs that begin at step 0.
    """

    arm: str
    scores: Mapping[int, float]
    areas: Mapping[int, float]
    steps: Mapping[int, int | None]
    normalised: Mapping[int, float]
    mean: Estimate
    median: Estimate
    iqm: Estimate
    before: Mapping[int, float] = field(default_factory=dict)

    @property
    def normalised_score(self) -> float | None:
        """The mean of the normalised scores of its runs; None where there are none."""
        return statistics.fmean(self.normalised.values()) if self.normalised else None


@dataclass(frozen=True)
class TaskScores:
    """All arms of one task that have a score, in the order of the comparison.

    Attributes:
        untrained, dense: mean scores before and after training; None where not known.
        gain: dense - untrained; None where the dense agents did not learn.
        starts: seed -> the dense agent's score before training.
        threshold: the score that `ArmScores.steps` is about; None where the dense agents did not learn.
    """

    task: str
    metric: Metric
    untrained: float | None
    dense: float | None
    gain: float | None
    threshold: float | None
    starts: Mapping[int, float]
    arms: tuple[ArmScores, ...]

    @property
    def zero(self) -> Mapping[int, float]:
        """Seed -> the score that counts as nothing gained: for each seed the mean of all untrained policies.

        Untrained policies of single seeds differ more than trained agents do, by chance alone.
        """
        return {} if self.untrained is None else dict.fromkeys(self.starts, self.untrained)

    def arm(self, name: str) -> ArmScores | None:
        """The arm of that name, if it has a score."""
        return next((arm for arm in self.arms if arm.arm == name), None)


@dataclass(frozen=True)
class Profile:
    """Share of runs that reach at least each share of dense: a performance profile with its band.

    Attributes:
        at: (points,) shares of dense, rising.
        reached, low, high: (points,).
    """

    arm: str
    at: NDArray[np.float64]
    reached: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class AcrossTasks:
    """One arm over the tasks that the dense agents learned, in shares of dense.

    Attributes:
        tasks, runs: how many it rests on.
        over_dense, over_control: probability that a run of this arm scores above one of the other; ties count half.
            None without the other arm.
    """

    arm: str
    tasks: tuple[str, ...]
    runs: int
    mean: Estimate
    median: Estimate
    iqm: Estimate
    profile: Profile
    over_dense: Estimate | None
    over_control: Estimate | None


def task_scores(task: str, runs: Sequence[Run], least_gain: float, config: Config) -> TaskScores:
    """Score the runs of one task.

    Args:
        runs: in any order; those that are neither done nor diverged have no score.
        least_gain: what dense agents must gain on average to count as having learned, in the unit of the metric.
    """
    metric, rules = metric_of(runs), config.verdict
    starts = {seed: evaluation.scores[metric] for seed, evaluation in untrained_evaluations(runs).items()}
    untrained = statistics.fmean(starts.values()) if starts else None
    steps = {run.seed: run.env_steps for run in runs if run.arm == DENSE}
    ended = {
        arm: {run.seed: run for run in runs if run.arm == arm and _has_ended(run, untrained)} for arm in arm_names(runs)
    }
    last = config.evaluation.score_evaluations
    scores = {
        arm: {seed: _score(run, metric, last, untrained) for seed, run in of.items()} for arm, of in ended.items()
    }
    dense = statistics.fmean(scores[DENSE].values()) if scores.get(DENSE) else None
    gain = gain_of(scores.get(DENSE, {}), starts, least_gain, rules)
    threshold = None if gain is None or untrained is None else untrained + rules.threshold * gain
    return TaskScores(
        task=task,
        metric=metric,
        untrained=untrained,
        dense=dense,
        gain=gain,
        threshold=threshold,
        starts=starts,
        arms=tuple(
            ArmScores(
                arm=arm,
                scores=scores[arm],
                areas={
                    seed: area_under_curve(run, metric, untrained, steps.get(seed))
                    for seed, run in ended[arm].items()
                    if run.began_at == 0
                },
                steps={seed: steps_to(run, metric, threshold) for seed, run in ended[arm].items()}
                if threshold is not None
                else {},
                normalised=normalised_scores(scores[arm], scores.get(DENSE, {}), starts, least_gain)
                if gain is not None
                else {},
                mean=_estimate([list(scores[arm].values())], mean_over_tasks, rules.resamples),
                median=_estimate([list(scores[arm].values())], median_of_runs, rules.resamples),
                iqm=_estimate([list(scores[arm].values())], iqm_of_runs, rules.resamples),
                before={
                    seed: run.evaluations[0].scores[metric]
                    for seed, run in ended[arm].items()
                    if run.began_at == 0 and run.evaluations and run.evaluations[0].env_steps == 0
                },
            )
            for arm in ended
            if scores[arm]
        ),
    )


def normalised_scores(
    scores: Mapping[int, float], dense: Mapping[int, float], starts: Mapping[int, float], least_gain: float
) -> dict[int, float]:
    """Normalised scores of an arm's runs, by seed: (score - untrained) / (dense - untrained).

    `untrained` is the mean over all untrained agents. `dense` is the mean over the seeds that this arm and the dense
    arm both have: in a study that is not finished, an arm is compared only with the dense agents of its own seeds. Runs
    of other seeds have no normalised score. This is the only definition; every table, figure and data frame reads it.

    Args:
        scores, dense: seed -> score, of the arm and of the dense arm.
        starts: seed -> score of the untrained dense agent.
        least_gain: what these dense agents must gain on average for the scale to mean anything.

    Returns:
        Seed -> normalised score, rounded to nine decimals so that equal scores stay equal; empty without a scale.
    """
    shared = [seed for seed in scores if seed in dense and seed in starts]
    if not shared:
        return {}
    untrained = statistics.fmean(starts.values())
    gain = statistics.fmean(dense[seed] for seed in shared) - untrained
    if gain <= least_gain:
        return {}
    return {seed: round((scores[seed] - untrained) / gain, 9) for seed in shared}


def area_under_curve(run: Run, metric: Metric, untrained: float | None = None, env_steps: int | None = None) -> float:
    """The time average of the score over a run's evaluations: the area under its curve by trapezoids, over its length.

    Args:
        untrained: what counts from a divergence to the end of a run that diverged.
        env_steps: the length of the run if it had not diverged.
    """
    steps = [float(evaluation.env_steps) for evaluation in run.evaluations]
    values = [evaluation.scores[metric] for evaluation in run.evaluations]
    if run.status == "diverged" and untrained is not None:
        end = float(run.env_steps or env_steps or 0)
        steps, values = (steps, values) if steps else ([0.0], [untrained])
        if end > steps[-1]:
            steps, values = [*steps, steps[-1], end], [*values, untrained, untrained]
    if steps[-1] <= steps[0]:
        return values[-1]
    return float(np.trapezoid(values, steps)) / (steps[-1] - steps[0])


def steps_to(run: Run, metric: Metric, threshold: float) -> int | None:
    """The first step, counted from the dense run's start, with an evaluation at or above the threshold."""
    reached = (run.began_at + e.env_steps for e in run.evaluations if e.scores[metric] >= threshold)
    return next(reached, None)


def across_tasks(
    tasks: Sequence[TaskScores], controls: Mapping[str, str | None], resamples: int
) -> tuple[AcrossTasks, ...]:
    """Every arm over the tasks that the dense agents learned, in the order of the first task that has it.

    Args:
        controls: ticket -> its random control.
    """
    learned = [task for task in tasks if task.gain is not None]
    names = dict.fromkeys(arm.arm for task in learned for arm in task.arms if arm.normalised)
    normalised = {
        name: {
            task.task: list(arm.normalised.values())
            for task in learned
            for arm in task.arms
            if arm.arm == name and arm.normalised
        }
        for name in names
    }
    # Which of two runs is better is a question of scores on one scale, whatever seeds the two arms share with dense.
    ranked = {
        name: {task.task: _on_the_scale(task, arm) for task in learned for arm in task.arms if arm.arm == name}
        for name in names
    }
    return tuple(
        AcrossTasks(
            arm=name,
            tasks=tuple(of),
            runs=sum(map(len, of.values())),
            mean=_estimate(list(of.values()), mean_over_tasks, resamples),
            median=_estimate(list(of.values()), median_over_tasks, resamples),
            iqm=_estimate(list(of.values()), iqm_of_runs, resamples),
            profile=Profile(name, AT, *performance_profile(list(of.values()), AT, seed=SEED, resamples=resamples)),
            over_dense=None if name == DENSE else _improvement(ranked[name], ranked.get(DENSE), resamples),
            over_control=_improvement(ranked[name], ranked.get(controls.get(name) or ""), resamples),
        )
        for name, of in normalised.items()
    )


def _on_the_scale(task: TaskScores, arm: ArmScores) -> list[float]:
    """All scores of an arm in units of the task's gain, rounded so that equal scores stay equal."""
    assert task.gain is not None and task.untrained is not None
    return [round((score - task.untrained) / task.gain, 9) for score in arm.scores.values()]


def gain_of(dense: Mapping[int, float], starts: Mapping[int, float], least_gain: float, rules: Verdict) -> float | None:
    """What the dense agents gained; None where they did not learn: too little, or by chance as far as can be told."""
    if not dense or not starts:
        return None
    gain = statistics.fmean(dense.values()) - statistics.fmean(starts.values())
    seeds, p = learning_test(dense, starts, rules.level)
    by_chance = p is not None and seeds >= rules.least_seeds and p > rules.level
    return None if gain <= least_gain or by_chance else gain


def learning_test(dense: Mapping[int, float], starts: Mapping[int, float], level: float) -> tuple[int, float | None]:
    """How many seeds have a dense agent before and after, and the p-value of "training changed nothing", one-sided.

    Sign flips: had training changed nothing, before and after could be exchanged in each seed. Untrained scores have
    far outliers, which a t-test takes for doubt about the trained. With so few seeds that no flips can reach the level,
    it is the t-test all the same; None with fewer than two.
    """
    gains = [score - starts[seed] for seed, score in dense.items() if seed in starts]
    if len(gains) < 2:
        return len(gains), None
    return len(gains), sign_flip(gains)[0] if 0.5 ** len(gains) <= level else paired_t(gains).p_above


def _has_ended(run: Run, untrained: float | None) -> bool:
    return run.status == "done" or (run.status == "diverged" and untrained is not None)


def _score(run: Run, metric: Metric, last: int, untrained: float | None) -> float:
    score = score_of(run, metric, last)
    if score is None:
        assert untrained is not None  # a run that diverged has no policy left
        return untrained
    return score


def _estimate(groups: Sequence[Sequence[float]], statistic: Statistic, resamples: int) -> Estimate:
    if not any(groups):
        return Estimate(math.nan, None, None)
    interval = bootstrap(groups, statistic, seed=SEED, resamples=resamples)
    return Estimate(value_of(statistic, groups), *(interval or (None, None)))


def _improvement(
    of: Mapping[str, Sequence[float]], other: Mapping[str, Sequence[float]] | None, resamples: int
) -> Estimate | None:
    both = [task for task in of if other and task in other]
    if other is None or not both:
        return None
    groups = [of[task] for task in both], [other[task] for task in both]
    interval = bootstrap_paired(*groups, improvement_over_tasks, seed=SEED, resamples=resamples)
    return Estimate(probability_of_improvement(*groups), *(interval or (None, None)))
