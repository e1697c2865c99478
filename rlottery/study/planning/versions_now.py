"""The versions that the runs of a command would be made with now."""

from rlottery.config import Config, Task
from rlottery.storage.trial_record import code_name
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_code
from rlottery.study.versions import worker_versions


def code_versions(task: Task) -> dict[str, str]:
    """The digest of a task's code, under its name among versions; empty if it has no code of its own."""
    code = task_code(task)
    return {code_name(task.id): code} if code else {}


def versions_now(job: Job) -> dict[str, str]:
    """What the manifest of the job's run would record as its versions, in a worker."""
    return versions_in_worker(job.config) | code_versions(job.task)


def versions_in_worker(config: Config) -> dict[str, str]:
    """The part of `versions_now` that all jobs share."""
    return worker_versions(config.device)
