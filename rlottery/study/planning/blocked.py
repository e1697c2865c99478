"""Runs that can't be done because a run that they are made from has failed."""

from collections.abc import Mapping, Sequence

from rlottery.config import Config
from rlottery.study.planning.arms import Arm
from rlottery.study.planning.jobs import STAGES, Job, Key, list_jobs

Place = tuple[str, int, str]
"""The name of a task, a seed and the name of an arm. They identify a run in its study."""
_ENDED_BADLY = ("failed", "diverged")
_TO_DO = ("to do", "mask made")


def blocked_runs(config: Config, arms: Sequence[Arm], states: Mapping[Place, str]) -> dict[Place, str]:
    """The runs that are to do and are made from one that has failed or diverged, and which one that is.

    Args:
        states: the state of each run, as `rlottery status` calls it.
    """
    blocked: dict[Place, str] = {}
    if not set(_ENDED_BADLY) & set(states.values()):
        return blocked
    bad: dict[Key, Job] = {}
    for job in list_jobs(config, arms, STAGES):
        state = states.get(_place(job))
        if state in _ENDED_BADLY:
            bad[job.key] = job
        elif state in _TO_DO and (cause := next((bad[key] for of in job.needs if (key := of.key) in bad), None)):
            bad[job.key] = cause
            blocked[_place(job)] = f"because {_named(cause, job)} {states[_place(cause)]}"
    return blocked


def _place(job: Job) -> Place:
    return job.task.name, job.seed, job.arm_name


def _named(cause: Job, job: Job) -> str:
    """The run that failed, with its task and seed where they are others."""
    own = (cause.task_index, cause.seed) == (job.task_index, job.seed)
    return cause.arm_name if own else f"{cause.task.name} seed {cause.seed} {cause.arm_name}"
