"""Arms over several tasks, by their normalised scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.aggregates import (
    bootstrap_improvement,
    iqm_of_runs,
    mean_over_tasks,
    median_over_tasks,
    performance_profile,
    probability_of_improvement,
)
from rlottery.analysis.kinds import made_alike
from rlottery.analysis.scores import BOOTSTRAP_SEED, Estimate, TaskScores, estimate_of
from rlottery.storage.paths import DENSE

PROFILE_POINTS = np.round(np.linspace(-0.1, 1.2, 131), 2)
"""Normalised scores at which performance profiles are computed."""


@dataclass(frozen=True)
class Profile:
    """A performance profile: the share of runs that reach at least each normalised score, with its band.

    Attributes:
        at: normalised scores, rising; shape (points,).
        reached, low, high: shape (points,).
    """

    arm: str
    at: NDArray[np.float64]
    reached: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


@dataclass(frozen=True)
class AcrossTasks:
    """One arm over the tasks that the dense agents learned. Means, medians and IQMs are of normalised scores.

    Attributes:
        tasks: where it has normalised scores; runs: how many there are in all.
        over_dense, over_control: probability that a run of this arm scores higher than one of the dense arm, and than
            one of its random control; ties count half. None without the other arm.
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


def across_tasks(
    tasks: Sequence[TaskScores], controls: Mapping[str, str | None], resamples: int
) -> tuple[AcrossTasks, ...]:
    """Every arm over the tasks that the dense agents learned, in the order of the first task that has it.

    Args:
        controls: ticket -> its random control.
    """
    learned = [task for task in tasks if task.gain is not None]
    names = dict.fromkeys(arm.arm for task in learned for arm in task.arms if arm.normalised)
    found = []
    for name in names:
        alike = made_alike(learned, name)
        of_task = {task.task: arm for task in alike if (arm := task.arm(name)) is not None and arm.normalised}
        groups = [list(arm.normalised.values()) for arm in of_task.values()]
        profile = performance_profile(groups, PROFILE_POINTS, seed=BOOTSTRAP_SEED, resamples=resamples)
        found.append(
            AcrossTasks(
                arm=name,
                tasks=tuple(of_task),
                runs=sum(map(len, groups)),
                mean=estimate_of(groups, mean_over_tasks, resamples),
                median=estimate_of(groups, median_over_tasks, resamples),
                iqm=estimate_of(groups, iqm_of_runs, resamples),
                profile=Profile(name, PROFILE_POINTS, *profile),
                over_dense=None if name == DENSE else _improvement(alike, name, DENSE, resamples),
                over_control=_improvement(alike, name, controls.get(name), resamples),
            )
        )
    return tuple(found)


def _improvement(tasks: Sequence[TaskScores], name: str, other: str | None, resamples: int) -> Estimate | None:
    """The probability that a run of one arm scores higher than a run of another, over the tasks that have both."""
    pairs = [
        (list(one.normalised.values()), list(two.normalised.values()))
        for task in tasks
        if other is not None and (one := task.arm(name)) is not None and (two := task.arm(other)) is not None
    ]
    if not pairs:
        return None
    groups = [one for one, _ in pairs], [two for _, two in pairs]
    interval = bootstrap_improvement(*groups, seed=BOOTSTRAP_SEED, resamples=resamples)
    return Estimate(probability_of_improvement(*groups), *(interval or (None, None)))
