"""Doing one job: the stage that it asks for. A stage reads files, writes files, and can be repeated safely."""

from collections.abc import Callable

from rlottery.storage.disk import remove_partials
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.dense import train_dense
from rlottery.study.stages.masking import create_mask
from rlottery.study.stages.rewind import add_rewind_points
from rlottery.study.stages.ticket import train_ticket
from rlottery.training.learner import CpuLearner, Learner

STALE_SECONDS = 3600.0
"""Age at which a half-written mask is removed. A younger one may be in use: other processes write to that folder."""


def run_stage(
    job: Job, stop_wanted: Callable[[], bool] = lambda: False, make_learner: Callable[..., Learner] = CpuLearner
) -> None:
    """Do one job.

    Args:
        stop_wanted: called after each training episode; if it returns True, the run saves a checkpoint and stops.
        make_learner: makes the learner of a dense agent or a ticket, from the arguments of `CpuLearner`.

    Raises:
        RlotteryError: the job failed. For a training stage, the run's manifest records it.
        StoppedError: `stop_wanted` returned True.
    """
    remove_partials(job.files.folder)
    if job.stage == "dense":
        train_dense(job, stop_wanted, make_learner)
    elif job.stage == "rewind":
        add_rewind_points(job, stop_wanted)
    elif job.stage == "mask":
        remove_partials(job.mask_path.parent, older_than=STALE_SECONDS)
        create_mask(job)
    else:
        train_ticket(job, stop_wanted, make_learner)
