"""Scores: of a run, of an arm on a task, and of arms across tasks."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.runs import Metric


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
        scores: seed -> the run's score: the mean of its last evaluations. A run that diverged scores as an untrained one.
        areas: seed -> area under the curve: the time average of the score from step 0 to the end, in the same unit.
        steps: seed -> the first step with an evaluation at or above the task's threshold; None: never reached.
        shares: seed -> (score - untrained) / (dense - untrained); empty where the dense agents did not learn.
        mean, median, iqm: of the scores.
    """

    arm: str
    scores: Mapping[int, float]
    areas: Mapping[int, float]
    steps: Mapping[int, int | None]
    shares: Mapping[int, float]
    mean: Estimate
    median: Estimate
    iqm: Estimate


@dataclass(frozen=True)
class TaskScores:
    """All arms of one task that have a score, in the order of the comparison.

    Attributes:
        untrained, dense: mean scores before and after training; None where not known.
        threshold: the score that `ArmScores.steps` is about; None where the dense agents did not learn.
    """

    task: str
    metric: Metric
    untrained: float | None
    dense: float | None
    threshold: float | None
    arms: tuple[ArmScores, ...]


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
