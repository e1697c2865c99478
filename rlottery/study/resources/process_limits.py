"""The limits of `ulimit` that a study can't work with, found before it starts."""

import math
import resource
from collections.abc import Sequence

from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.wording import plural
from rlottery.study.planning.jobs import UNTRAINED, Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.resources.disk_space import agent_bytes, size

SMALL_FILES = ("mask", UNTRAINED)
"""Stages whose files are small."""
OWN_FILES, FILES_EACH = 16, 4
"""Open files of the command or of a worker, and for each worker or each run of one; rounded up."""


def check_process_limits(config: Config, jobs: Sequence[Job], workers: int, together: int) -> None:
    """Raise StudyError if `ulimit` doesn't allow the open files or the file sizes that these jobs need."""
    files = OWN_FILES + FILES_EACH * max(workers, together)
    if (allowed := _limit(resource.RLIMIT_NOFILE)) < files:
        raise StudyError(
            f"This study needs {files} open files with {plural(workers, 'worker')}, but `ulimit -n` allows only "
            f"{allowed:.0f}. Run this first: ulimit -n {files}"
        )
    largest = max((largest_file(job, task_spec(job.task)) for job in jobs if job.stage not in SMALL_FILES), default=0.0)
    if (allowed := _limit(resource.RLIMIT_FSIZE)) < largest:
        raise StudyError(
            f"This study writes files of up to {size(largest)}, but `ulimit -f` allows only {size(allowed)}. Run this "
            "first: ulimit -f unlimited"
        )


def largest_file(job: Job, spec: Spec) -> float:
    """Bytes of the largest file that a training job writes: its agent, or the observations of its replay buffer."""
    agent, training = agent_bytes(job.config, job.task, spec), job.config.training_for(job.task)
    replay = 4.0 * spec.observation_size * min(training.capacity, training.env_steps) if job.stage == "dense" else 0.0
    return max(agent, replay)


def address_space() -> float:
    """Bytes of address space that each process may reserve (`ulimit -v`)."""
    return _limit(resource.RLIMIT_AS)


def _limit(which: int) -> float:
    soft, _ = resource.getrlimit(which)
    return math.inf if soft == resource.RLIM_INFINITY else soft
