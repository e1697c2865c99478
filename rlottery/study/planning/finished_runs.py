"""Finished runs: their manifests, compared with what the config asks for, and their damaged files."""

import contextlib
from collections.abc import Iterable
from pathlib import Path

from rlottery.config import ON_POLICY
from rlottery.errors import StudyError
from rlottery.storage.manifests import (
    MANIFEST_FORMAT,
    DamagedError,
    FileEntry,
    Manifest,
    ManifestStatus,
    algorithm_in,
    find_damage,
    read_imported,
    read_manifest,
)
from rlottery.storage.paths import REPLAY_FILES, RunFiles, replay_is_saved
from rlottery.storage.untrained_record import untrained_damage
from rlottery.study.planning.fingerprints import Fingerprint, dense_fingerprint, differing_keys
from rlottery.study.planning.jobs import TRAINING, UNTRAINED, Job
from rlottery.study.planning.read_once import once

_IMPORT_AGAIN = "can't be trained again here. Import it again, as before: rlottery import"


class DivergedRunError(StudyError):
    """A run that ended in NaN or infinity. This is its result: the run is not repeated, and it counts as diverged."""

    def __init__(self, files: RunFiles, reason: str):
        super().__init__(
            f"{reason}\nThis is the run's result, so it is not run again. To repeat it anyway, delete {files.folder}."
        )
        self.files = files


def check_same_study(files: RunFiles, manifest: Manifest, asked: Fingerprint) -> None:
    """Raise StudyError unless a finished run was made from what the config asks for. Lists each difference."""
    if differences := differing_keys(asked, manifest["fingerprint"]):
        listed = "\n  ".join(differences)
        if all(line.startswith("inputs.") for line in differences):
            raise StudyError(
                f"{files.folder} holds a finished run that was made from other files:\n  {listed}\n"
                "Finished results are never replaced. Restore these files, work in another folder with "
                f"data=ANOTHER_FOLDER, or discard this run: delete {files.folder}."
            )
        raise StudyError(
            f"{files.folder} holds a run of another study:\n  {listed}\n"
            "Restore the values, rename the arm, store this study in another folder with data=ANOTHER_FOLDER, or "
            "delete that folder."
        )


def ended_manifest(files: RunFiles) -> Manifest | None:
    """The manifest of a run that is done or has diverged, or None if there is no such run."""
    manifest = once(("manifest", files), lambda: read_manifest(files))
    return None if manifest is None or manifest["status"] == "failed" else manifest


def matching_manifest(files: RunFiles, asked: Fingerprint) -> Manifest | None:
    """The manifest of the finished run in `files`, or None if there is no finished run.

    Raises DivergedRunError if it diverged, and StudyError if it was made from something other than `asked`.
    """
    manifest = ended_manifest(files)
    if manifest is not None:
        check_same_study(files, manifest, asked)
        check_converged(files, manifest)
    return manifest


def dense_manifest(job: Job) -> Manifest:
    """The manifest of the job's dense run.

    Raises StudyError if the run isn't finished, or has files that are missing or have the wrong size.
    """
    return once(("dense", job.dense_files), lambda: _dense_manifest(job))


def _dense_manifest(job: Job) -> Manifest:
    fix = "Train it first: main(train_agent=True), or this command with: --stages dense"
    check_imported_has_manifest(job.dense_files)
    manifest = matching_manifest(job.dense_files, dense_fingerprint(job.config, job.task, job.seed))
    if manifest is None:
        raise StudyError(f"Dense agent not found: {job.dense_files.folder}\n{fix}")
    needed = {name: entry for name, entry in manifest["files"].items() if name not in REPLAY_FILES}
    for error in find_damage(job.dense_files.folder, needed, contents=()):
        raise StudyError(f"Dense agent not found: {error.file} is damaged: {error.why}.\n{fix}")
    return manifest


def imported_manifest(job: Job) -> Manifest | None:
    """The manifest of the job's dense run if another tool trained it; it can't be trained again here.

    Raises StudyError if another tool trained it, and the manifest is missing or damaged.
    """
    check_imported_has_manifest(job.files)
    with contextlib.suppress(DamagedError):
        manifest = ended_manifest(job.files)
        if manifest is not None and "imported" in manifest:
            return manifest
    return None


def check_imported_has_manifest(files: RunFiles) -> None:
    """Raise StudyError if another tool trained a run's agent, and the run's manifest is missing or damaged."""
    why = "it is missing"
    try:
        if ended_manifest(files) is not None:
            return
    except DamagedError as error:
        why = error.why
    if files.imported.exists():
        record = read_imported(files)
        source = "" if record is None else f" from {record['agent']['file']}"
        raise StudyError(f"{files.manifest} is damaged: {why}. The agent was imported{source} and {_IMPORT_AGAIN}")


def check_imported_is_intact(files: RunFiles, manifest: Manifest) -> None:
    """Raise StudyError if files of an imported run are missing, or differ from their checksums."""
    for error in damage_of_run(files, manifest):
        source = manifest["imported"]["agent"]["file"]
        raise StudyError(
            f"{error.file} is damaged: {error.why}. The agent was imported from {source} and {_IMPORT_AGAIN}"
        )


def run_manifest(job: Job) -> Manifest:
    """The manifest of a run that another job reads files of. Raises StudyError if it isn't finished or has diverged."""
    if job.stage == "dense":
        return dense_manifest(job)
    manifest = ended_manifest(job.files)
    if manifest is None:
        raise StudyError(f"Run not found: {job.files.folder}\nTrain it first: this command with: --stages mask,ticket")
    check_converged(job.files, manifest)
    return manifest


def saved_digest(job: Job, path: Path) -> str:
    """The SHA-256 of a file of a finished run, from the run's manifest."""
    files = run_manifest(job)["files"]
    if path.name not in files:
        raise StudyError(f"{path} is missing. Create it: this command with: --stages dense")
    return files[path.name]["sha256"]


def missing_rewind_points(job: Job, manifest: Manifest) -> list[int]:
    """The steps that some arm rewinds to and for which the finished dense run has no saved agent."""
    saved = manifest["files"]
    return [step for step in job.config.rewind_steps if job.dense_files.rewind_point(step).name not in saved]


def damage_of_job(job: Job) -> list[DamagedError]:
    """Files of the job's run that are missing or differ from their checksums; the job will regenerate them."""
    if job.stage == UNTRAINED:
        return untrained_damage(job.untrained_files)
    if job.stage not in TRAINING:
        return []
    try:
        manifest = ended_manifest(job.files)
    except DamagedError as error:
        return [error]
    return [] if manifest is None else damage_of_run(job.files, manifest)


def damage_of_run(files: RunFiles, manifest: Manifest, contents: Iterable[str] | None = None) -> list[DamagedError]:
    """Files of a run that are missing or differ from what its manifest records. `contents` is as for `find_damage`."""
    return find_damage(files.folder, expected_files(files, manifest), contents)


def expected_files(files: RunFiles, manifest: Manifest) -> dict[str, FileEntry]:
    """The files that the run should have, by name.

    A whole replay buffer may be deleted by hand or by keep_replay, and is then not expected; a part of one is damage.
    """
    exists = files.replay.exists()
    return {name: entry for name, entry in manifest["files"].items() if exists or name not in REPLAY_FILES}


def replay_was_deleted(files: RunFiles, manifest: Manifest) -> bool:
    """Whether the whole replay buffer was deleted by something other than rlottery."""
    return manifest.get("replay") == "saved" and not files.replay.exists()


def collected_data(fingerprint: Fingerprint) -> str:
    """What a run with this fingerprint keeps for criteria to read: ``replay buffer`` or ``rollouts``."""
    return "rollouts" if algorithm_in(fingerprint) in ON_POLICY else "replay buffer"


def has_replay(job: Job, manifest: Manifest) -> bool:
    """Whether every file of the dense run's replay buffer exists and has the right size.

    Contents are compared where the dense run itself is checked and where the buffer is read. Format 1 recorded neither
    sizes nor checksums of the buffer.
    """
    entries = {name: entry for name, entry in manifest["files"].items() if name in REPLAY_FILES}
    if manifest.get("replay") == "released":
        return False  # a process killed while deleting it may have left some of the files
    return replay_is_saved(job.dense_files, entries) and not find_damage(job.dense_files.folder, entries, contents=())


def missing_data(job: Job) -> str:
    """What a dense job's finished run no longer has: ``replay buffer`` or ``rollouts``; "" if it lacks nothing else.

    The job, which is to do, trains the agent again for it. Damaged files are the concern of `damage_of_job`.
    """
    if job.stage != "dense":
        return ""
    with contextlib.suppress(DamagedError):
        manifest = ended_manifest(job.files)
        if manifest is not None and not has_replay(job, manifest) and not damage_of_run(job.files, manifest, ()):
            return collected_data(manifest["fingerprint"])
    return ""


def manifest_head(job: Job, status: ManifestStatus, fingerprint: Fingerprint) -> Manifest:
    """What every manifest of the job's run begins with, however the run ended. It has no files yet."""
    return {
        "format_version": MANIFEST_FORMAT,
        "status": status,
        "stage": job.stage,
        "task": job.task.id,
        "task_name": job.task.name,
        "seed": job.seed,
        "arm": job.arm_name,
        "fingerprint": fingerprint,
        "files": {},
    }


def mask_failed(files: RunFiles) -> bool:
    """Whether a run has failed because its mask couldn't be made, not in its training. A damaged manifest says no."""
    with contextlib.suppress(StudyError):
        manifest = read_manifest(files)
        return manifest is not None and manifest["status"] == "failed" and manifest.get("stage") == "mask"
    return False


def check_converged(files: RunFiles, manifest: Manifest) -> None:
    """Raises DivergedRunError if the run diverged."""
    if manifest["status"] == "diverged":
        raise DivergedRunError(files, manifest.get("error", "It diverged."))
