"""Damaged files of finished runs. A job whose files are damaged is run again."""

from rlottery.storage.manifests import DamagedError, Manifest, find_damage
from rlottery.storage.paths import REPLAY_FILES
from rlottery.study.planning.finished_runs import ended_manifest
from rlottery.study.planning.jobs import Job


def damage_of_job(job: Job) -> list[DamagedError]:
    """Files of the job's finished run that are missing or differ from their checksums; they will be regenerated."""
    if job.stage not in ("dense", "ticket"):
        return []
    try:
        manifest = ended_manifest(job.files)
    except DamagedError as error:
        return [error]
    return [] if manifest is None else damage_of_run(job, manifest)


def damage_of_run(job: Job, manifest: Manifest) -> list[DamagedError]:
    """Files of a finished run that are missing or differ from their checksums."""
    found = find_damage(job.files.folder, manifest["files"])
    # A whole replay buffer may be deleted by hand or by keep_replay; a part of one is damage.
    deleted = {job.files.folder / name for name in REPLAY_FILES} if not job.files.replay.exists() else set()
    return [error for error in found if error.file not in deleted]
