"""Dense agents and their tickets beside each other: scores, shares of dense, and what can't be said."""

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlottery.analysis.runs import (
    Evaluation,
    Metric,
    Run,
    Status,
    arm_names,
    metric_of,
    read_runs,
    score_of,
    untrained_evaluations,
)
from rlottery.analysis.scores import gain_of, normalised_scores
from rlottery.config import Config, Task, Training
from rlottery.storage.paths import DENSE, Store

LEAST_SUCCESS_GAINED = 0.05
"""A dense agent whose success rate rises by no more than this did not learn."""


@dataclass(frozen=True)
class SeedResult:
    """What one run of an arm came to. `error` says why it failed.

    `score` is None unless it is done, or diverged: then it is that of untrained agents.
    """

    seed: int
    status: Status
    score: float | None = None
    error: str | None = None


@dataclass(frozen=True)
class ArmResult:
    """One arm of a task over all seeds that the config asks for.

    Attributes:
        sparsity: reached, by group; None for dense agents and where no manifest says it.
        seeds: one for each seed of the config, in its order.
        recipe: what the config says of it beyond criterion and sparsity, as plain values.
        done: how many of them are done.
        mean, low, high: of the scores; None where there are none.
        share: of dense: (mean - untrained) / (dense mean - untrained) over `share_seeds`.
        share_seeds: the seeds that this arm and the dense arm both have.
        no_share: why there is no share.
    """

    name: str
    method: str | None
    criterion: str | None
    sparsity: Mapping[str, float] | None
    seeds: tuple[SeedResult, ...]
    recipe: Mapping[str, Any]
    done: int
    mean: float | None
    low: float | None
    high: float | None
    share: float | None
    share_seeds: tuple[int, ...]
    no_share: str | None

    @property
    def scores(self) -> dict[int, float]:
        """Seed -> score, of the runs that are done."""
        return {result.seed: result.score for result in self.seeds if result.score is not None}

    @property
    def failures(self) -> tuple[SeedResult, ...]:
        """The runs that failed or can't be read."""
        return tuple(result for result in self.seeds if result.error is not None)


@dataclass(frozen=True)
class TaskComparison:
    """All arms of one task.

    Attributes:
        metric: what `score` measures: the success rate, or the return of an episode.
        untrained: mean score of the dense agents before training; None without one.
        least_gain: what a dense agent must gain over `untrained` to count as having learned.
        dense_not_learned: seeds whose dense agent is done and gained no more than that.
        arms: dense first, then by sparsity, then by name.
        notes: what is odd about single runs, in words.
    """

    task: str
    metric: Metric
    untrained: float | None
    least_gain: float
    dense_not_learned: tuple[int, ...]
    arms: tuple[ArmResult, ...]
    notes: tuple[str, ...]

    @property
    def dense(self) -> ArmResult | None:
        """The dense arm, if it has a run."""
        return next((arm for arm in self.arms if arm.name == DENSE), None)

    @property
    def tickets(self) -> tuple[ArmResult, ...]:
        """Every arm but the dense one."""
        return tuple(arm for arm in self.arms if arm.name != DENSE)


@dataclass(frozen=True)
class Comparison:
    """A study's result so far.

    Attributes:
        seeds: those that the config asks for.
        score_evaluations: how many last evaluations make a run's score.
        lists_arms: whether the config lists its arms, in the place of the guide's two.
    """

    seeds: tuple[int, ...]
    score_evaluations: int
    tasks: tuple[TaskComparison, ...]
    lists_arms: bool = False


def compare(store: Store, config: Config) -> Comparison:
    """Compare what the store holds of the config's tasks and seeds. A study half done is as welcome."""
    return compare_runs(config, {task.id: read_runs(store, task.name, config.seeds) for task in config.tasks})


def compare_runs(config: Config, runs: Mapping[str, Sequence[Run]]) -> Comparison:
    """The same of runs that have been read.

    Args:
        runs: task id -> its runs.
    """
    tasks = tuple(_compare_task(config, task, runs[task.id]) for task in config.tasks)
    return Comparison(config.seeds, config.evaluation.score_evaluations, tasks, bool(config.arms))


def to_dict(comparison: Comparison) -> dict[str, Any]:
    """The comparison in plain JSON types."""
    plain: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(comparison), allow_nan=False))
    return plain


def _compare_task(config: Config, task: Task, runs: Sequence[Run]) -> TaskComparison:
    metric, last = metric_of(runs), config.evaluation.score_evaluations
    before = untrained_evaluations(runs)
    starts = {seed: evaluation.scores[metric] for seed, evaluation in before.items()}
    untrained = statistics.fmean(starts.values()) if starts else None
    least_gain = _least_gain(before.values(), metric)
    by_arm = {name: [run for run in runs if run.arm == name] for name in arm_names(runs)}
    results = {
        name: tuple(_seed_result(seed, of_arm, metric, last, untrained) for seed in config.seeds)
        for name, of_arm in by_arm.items()
    }
    scores = {
        name: {result.seed: result.score for result in arm if result.score is not None} for name, arm in results.items()
    }
    dense = scores.get(DENSE, {})
    learned = gain_of(dense, starts, least_gain, config.verdict) is not None or not starts
    return TaskComparison(
        task=task.id,
        metric=metric,
        untrained=untrained,
        least_gain=least_gain,
        dense_not_learned=tuple(
            seed for seed, score in dense.items() if untrained is not None and score - untrained <= least_gain
        ),
        arms=tuple(
            _arm_result(of_arm, results[name], scores[name], dense, starts, least_gain if learned else math.inf)
            for name, of_arm in by_arm.items()
        ),
        notes=_notes(runs, last, config.training_for(task)),
    )


def _seed_result(seed: int, runs: Iterable[Run], metric: Metric, last: int, untrained: float | None) -> SeedResult:
    run = next((run for run in runs if run.seed == seed), None)
    if run is None:
        return SeedResult(seed, "missing")
    score = untrained if run.status == "diverged" else score_of(run, metric, last)
    return SeedResult(seed, run.status, score, run.error)


def _arm_result(
    runs: Sequence[Run],
    seeds: tuple[SeedResult, ...],
    scores: Mapping[int, float],
    dense: Mapping[int, float],
    starts: Mapping[int, float],
    least_gain: float,
) -> ArmResult:
    described = next((run for run in runs if run.sparsity is not None), runs[0])
    normalised = normalised_scores(scores, dense, starts, least_gain)
    return ArmResult(
        name=described.arm,
        method=described.method,
        criterion=described.criterion,
        sparsity=described.sparsity,
        seeds=seeds,
        recipe=described.recipe,
        done=sum(result.status == "done" for result in seeds),
        mean=statistics.fmean(scores.values()) if scores else None,
        low=min(scores.values(), default=None),
        high=max(scores.values(), default=None),
        share=statistics.fmean(normalised.values()) if normalised else None,
        share_seeds=tuple(seed for seed in scores if seed in dense),
        no_share=None if normalised else _why_no_share(scores, dense, starts),
    )


def _why_no_share(scores: Mapping[int, float], dense: Mapping[int, float], starts: Mapping[int, float]) -> str:
    if not scores.keys() & dense.keys():
        return "no seed with both this arm and a dense agent done"
    if not starts:
        return "the untrained policy's score is not known"
    return "dense agents can't be shown to have learned"


def _least_gain(untrained: Iterable[Evaluation], metric: Metric) -> float:
    """For returns: as much as single episodes of the untrained policy scatter by (one standard deviation)."""
    if metric == "success":
        return LEAST_SUCCESS_GAINED
    returns = [value for evaluation in untrained for value in evaluation.returns]
    if not returns:
        return 0.0
    return max(statistics.pstdev(returns), 0.01 * abs(statistics.fmean(returns)))


def _notes(runs: Sequence[Run], last: int, training: Training) -> tuple[str, ...]:
    notes = []
    counted = [run.trained[-last:] for run in runs if run.status == "done" and run.began_at == 0]
    if any(of_run[0].env_steps <= training.warmup_steps for of_run in counted):
        notes.append(
            f"scores take the last {last} evaluations, and some of these were made before the first update (step "
            f"{training.warmup_steps:,}). Train longer, or lower evaluation.interval or evaluation.score_evaluations."
        )
    for run in runs:
        if run.status != "done":
            continue
        where, trained = f"{run.arm}, seed {run.seed}", run.trained
        if len(trained) < last:
            notes.append(f"{where}: the score takes the last {last} evaluations, but there are {len(trained)}.")
        asked = run.env_steps or training.env_steps
        if trained[-1].env_steps != asked:
            ended = trained[-1].env_steps
            notes.append(f"{where}: its last evaluation is at step {ended:,}; the config asks for {asked:,}.")
    return tuple(notes)
