"""The versions that the runs of a command would be made with now."""

from rlottery.storage.trial_record import code_name
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_code
from rlottery.study.versions import worker_versions


def code_of(job: Job) -> dict[str, str]:
    """The digest of the code of the job's task, under its name among versions; empty if it has no code of its own."""
    code = task_code(job.task)
    return {code_name(job.task.id): code} if code else {}


def versions_now(job: Job) -> dict[str, str]:
    """What the manifest of the job's run would record as its versions, in a worker."""
    return worker_versions(job.config.device) | code_of(job)
