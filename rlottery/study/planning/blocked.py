"""Runs that can't be done because a run that they are made from has failed."""

from collections.abc import Mapping, Sequence

from rlottery.config import Config
from rlottery.study.planning.arms import Arm
from rlottery.study.planning.finished_runs import mask_failed
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
    causes: dict[Key, Job] = {}
    for job in list_jobs(config, arms, STAGES):
        state = states.get(_place(job))
        if state not in (*_ENDED_BADLY, *_TO_DO):
            continue
        cause = next((causes[key] for of in job.needs if (key := of.key) in causes), None)
        if cause is None and state in _ENDED_BADLY and (job.stage != "mask" or mask_failed(job.files)):
            cause = job
        if cause is not None:
            causes[job.key] = cause
            if state in _TO_DO:
                blocked[_place(job)] = f"because {_named(cause, job)} {states[_place(cause)]}"
    return blocked


def _place(job: Job) -> Place:
    return job.task.name, job.seed, job.arm_name


def _named(cause: Job, job: Job) -> str:
    """The job that failed, as `rlottery run` calls it, with its task and seed only where they are others."""
    return cause.label.removeprefix(f"{job.task.name} seed {job.seed} ")
