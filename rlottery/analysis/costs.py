"""What the runs of an arm cost: wall-clock time from the manifests, and floating-point operations by count."""

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlottery.agents.algorithms import algorithm_of
from rlottery.analysis.kinds import LayerCounts
from rlottery.analysis.runs import Run
from rlottery.config import Config, Task
from rlottery.storage.paths import DENSE


@dataclass(frozen=True)
class ArmCost:
    """What the runs of an arm cost on one task.

    Attributes:
        seconds: wall-clock time, mean over the runs that are done; None where no manifest says it. The earlier rounds
            of an iterative ticket are included.
        flops: floating-point operations of the matrix products in all updates of a run and of its rounds, each at its
            final sparsity; None where the task has no mask to count weights by.
        of_dense: seconds relative to the dense arm's.
        runs: how many runs the seconds are averaged over.
    """

    task: str
    arm: str
    seconds: float | None
    flops: float | None
    of_dense: float | None
    runs: int


def costs_of(
    task: Task, config: Config, by_arm: Mapping[str, Sequence[Run]], counts: Mapping[str, LayerCounts]
) -> tuple[ArmCost, ...]:
    """The cost of every arm of a task that has a finished run.

    Args:
        by_arm: arm -> its runs.
        counts: arm -> its layers; the totals are those of the dense network.
    """
    totals: Counter[str] = Counter()  # kernel weights of the dense network by group
    for path, total in next((of_arm.totals for of_arm in counts.values()), {}).items():
        totals[path.partition(".")[0]] += total
    seconds = {arm: [run_seconds(run) for run in runs if run.status == "done"] for arm, runs in by_arm.items()}
    known = {arm: [value for value in of_arm if value is not None] for arm, of_arm in seconds.items()}
    means = {arm: statistics.fmean(of_arm) if of_arm else None for arm, of_arm in known.items()}
    dense = means.get(DENSE)
    return tuple(
        ArmCost(
            task=task.id,
            arm=arm,
            seconds=(mean := means[arm]),
            flops=_flops(next(run for run in runs if run.status == "done"), task, config, totals),
            of_dense=None if mean is None or not dense else mean / dense,
            runs=len(seconds[arm]),
        )
        for arm, runs in by_arm.items()
        if seconds[arm]
    )


def run_seconds(run: Run) -> float | None:
    """Wall-clock seconds of a run, with its earlier rounds; None where a manifest doesn't say it."""
    of_each = [each.seconds for each in (*run.rounds, run)]
    return None if None in of_each else math.fsum(seconds for seconds in of_each if seconds is not None)


def _flops(run: Run, task: Task, config: Config, totals: Mapping[str, int]) -> float | None:
    algorithm = algorithm_of(config)
    settings = algorithm.settings(config, task)
    operations = algorithm.operations(settings)
    if not totals or totals.keys() - operations.keys():
        return None
    training, flops = config.training_for(task), 0.0
    for each in (*run.rounds, run):
        updates = training.updates_by(each.env_steps or training.env_steps)
        sparsity = each.sparsity or {}
        weights = sum(operations[group] * total * (1 - sparsity.get(group, 0.0)) for group, total in totals.items())
        flops += updates * settings.batch_size * weights
    return flops
