"""Damaged files of runs that are done or have diverged. A run with a damaged file is repeated."""

from collections.abc import Iterable

from rlottery.storage.manifests import DamagedError, FileEntry, Manifest, find_damage
from rlottery.storage.paths import REPLAY_FILES, RunFiles
from rlottery.study.planning.finished_runs import ended_manifest
from rlottery.study.planning.jobs import Job


def damage_of_job(job: Job) -> list[DamagedError]:
    """Files of the job's run that are missing or differ from their checksums; the job will regenerate them."""
    if job.stage not in ("dense", "ticket"):
        return []
    try:
        manifest = ended_manifest(job.files)
    except DamagedError as error:
        return [error]
    return [] if manifest is None else damage_of_run(job.files, manifest)


def damage_of_run(files: RunFiles, manifest: Manifest, contents: Iterable[str] | None = None) -> list[DamagedError]:
    """Files of a run that are missing or differ from what its manifest records.

    Args:
        contents: names of the files whose checksums are compared too, not only their sizes. None means all.
    """
    return find_damage(files.folder, expected_files(files, manifest), contents)


def expected_files(files: RunFiles, manifest: Manifest) -> dict[str, FileEntry]:
    """The files that the run should have, by name.

    A whole replay buffer may be deleted by hand or by keep_replay, and is then not expected; a part of one is damage.
    """
    has_replay = files.replay.exists()
    return {name: entry for name, entry in manifest["files"].items() if has_replay or name not in REPLAY_FILES}


def replay_was_deleted(files: RunFiles, manifest: Manifest) -> bool:
    """Whether the whole replay buffer was deleted by something other than rlottery."""
    return manifest.get("replay") == "saved" and not files.replay.exists()
