"""The record of a run that couldn't write its own: its mask can't be made, or its process ended before it could."""

import contextlib
from collections.abc import Iterator

from rlottery.errors import RlotteryError, located_text
from rlottery.storage.fence import check_fence
from rlottery.storage.manifests import Manifest, read_manifest, write_manifest
from rlottery.storage.syncing import writing
from rlottery.study.planning.earlier import earlier_of
from rlottery.study.planning.fingerprints import dense_fingerprint, ticket_fingerprint
from rlottery.study.planning.finished_runs import manifest_head
from rlottery.study.planning.jobs import TRAINING, Job
from rlottery.study.stages.faults import fault_of


@contextlib.contextmanager
def recording_failure(job: Job) -> Iterator[None]:
    """Record as a failure of the job's run what is raised inside, unless it is a fault of the machine.

    What is recorded of an earlier failure is removed first.
    """
    manifest = None
    with contextlib.suppress(RlotteryError):  # a damaged one is no record of a failure
        manifest = read_manifest(job.files)
    if manifest is not None and manifest["status"] == "failed":
        with writing(job.files.folder):
            check_fence()
            job.files.manifest.unlink(missing_ok=True)
    try:
        yield
    except Exception as error:
        if fault_of(error, job.config.data) is None:
            record_failure(job, located_text(error))
        raise


def record_failure(job: Job, why: str) -> None:
    """Write the manifest of a run that failed, unless it has one.

    A run with an earlier result gets none: it was trained aside, and without a manifest the result is still known.
    """
    if job.stage not in (*TRAINING, "mask") or job.files.manifest.exists():
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
