"""The record of a run that couldn't write its own: its mask can't be made, or its process ended before it could."""

import contextlib
from collections.abc import Iterator

from rlottery.errors import MaskError, RlotteryError
from rlottery.storage.fence import check_fence
from rlottery.storage.manifests import Manifest, read_manifest, write_manifest
from rlottery.storage.syncing import writing
from rlottery.study.planning.earlier import earlier_of
from rlottery.study.planning.fingerprints import dense_fingerprint, ticket_fingerprint
from rlottery.study.planning.finished_runs import manifest_head, mask_failed
from rlottery.study.planning.jobs import TRAINING, Job
from rlottery.study.stages.faults import fault_of


@contextlib.contextmanager
def recording_failure(job: Job) -> Iterator[None]:
    """Record as a failure of the job's run that its mask can't be made; once it is made, remove such a record.

    Faults of the machine and of other files, such as a damaged agent, are no failures of the run.
    """
    try:
        yield
    except MaskError as error:
        if fault_of(error, job.config.data) is None:
            record_failure(job, str(error))
        raise
    if mask_failed(job.files):
        with writing(job.files.folder):
            check_fence()
            job.files.manifest.unlink(missing_ok=True)


def record_failure(job: Job, why: str) -> None:
    """Write the manifest of a run that failed, unless it has one. A mask's failure replaces that of a training before.

    A run with an earlier result gets none: it was trained aside, and without a manifest the result is still known.
    """
    if job.stage not in (*TRAINING, "mask"):
        return
    if job.files.manifest.exists() and (job.stage != "mask" or not _has_failed(job)):
        return
    try:
        if earlier_of(job) is not None:
            return
    except RlotteryError:
        return
    if job.stage == "dense":
        fingerprint = dense_fingerprint(job.config, job.task, job.seed)
    else:
        fingerprint = ticket_fingerprint(job.config, job.task, job.seed, job.ticket_arm, None)
    manifest: Manifest = {**manifest_head(job, "failed", fingerprint), "error": why}
    if job.round_of is not None:
        manifest["round_of"] = job.round_of
    with contextlib.suppress(OSError):  # a full disk: the message is shown all the same
        write_manifest(job.files, manifest)


def _has_failed(job: Job) -> bool:
    """Whether the job's run is recorded as failed."""
    with contextlib.suppress(RlotteryError):  # a damaged manifest is no record of a failure
        manifest = read_manifest(job.files)
        return manifest is not None and manifest["status"] == "failed"
    return False
