"""Training a run that has an earlier result: aside, so that the result is repaired or kept, and never replaced."""

import contextlib
from collections.abc import Callable

from rlottery.errors import DivergedError
from rlottery.storage.checkpoint_record import newest_checkpoint
from rlottery.storage.fence import check_fence
from rlottery.storage.made_with import changes
from rlottery.storage.manifests import FileEntry, Manifest, find_damage, read_manifest, write_manifest
from rlottery.storage.paths import RunFiles
from rlottery.storage.syncing import make_folder, sync_folder, writing
from rlottery.storage.temporary_files import discard_folder
from rlottery.study.planning.earlier import Earlier, other_result_error, trained_aside
from rlottery.study.planning.fingerprints import Fingerprint
from rlottery.study.planning.finished_runs import check_converged
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.versions_now import code_versions
from rlottery.study.versions import versions


def train_in_place_or_aside(
    job: Job, earlier: Earlier | None, fingerprint: Fingerprint, train: Callable[[RunFiles], None]
) -> None:
    """Train a run in its folder. If it has an earlier result, train it aside, and repair that result if it is the same.

    If the earlier result was discarded, and the run is finished aside, it is put in place.

    Args:
        earlier: `earlier_of(job)`.
        train: trains the run, and writes its files and its manifest, which records `fingerprint`.

    Raises DivergedError or DivergedRunError if it diverged, and StudyError if it came out differently, and the earlier
    result can be read or something was made from it. Then that is kept as it is, and what was trained stays aside.
    """
    aside, again, diverged = job.files.aside, trained_aside(job.files, fingerprint), None
    if earlier is None and again is None:
        with writing(aside.folder):
            discard_folder(aside.folder)
        train(job.files)
        return
    if again is None or not (earlier is None or earlier.allows(again)):
        assert earlier is not None
        if again is not None or _began_with_others(job, earlier):
            with writing(aside.folder):
                discard_folder(aside.folder)
        print(f"This run has an earlier result. It is trained again in {aside.folder}, and compared.", flush=True)
        try:
            train(aside)
        except DivergedError as error:
            diverged = error
        again = read_manifest(aside)
        assert again is not None  # written when the training ended
        if not earlier.allows(again):
            raise other_result_error(job, earlier, again)
    _put_in_place(job.files, earlier, again)
    if diverged is not None:
        raise diverged
    check_converged(job.files, again)


def _began_with_others(job: Job, earlier: Earlier) -> bool:
    """Whether an interrupted run began with other versions than the current ones, which the earlier result has."""
    record, now = newest_checkpoint(job.files.aside), versions() | code_versions(job.task)
    sessions = record["sittings"] if record is not None else []
    return not changes(earlier.versions, now) and any(changes(one.get("versions", {}), now) for one in sessions)


def _put_in_place(files: RunFiles, earlier: Earlier | None, again: Manifest) -> None:
    """Move the files that are missing or damaged to the run's folder, and write its manifest. It may be interrupted.

    Where a run is replaced, all files are moved.
    """
    differing = [] if earlier is None else earlier.differing(again)
    kept: dict[str, FileEntry] = {}
    if earlier is not None and earlier.manifest is not None and not differing:
        entries = earlier.manifest["files"]
        kept = {name: entry for name, entry in entries.items() if not find_damage(files.folder, {name: entry})}
    moved = {name: entry for name, entry in again["files"].items() if name not in kept}
    with writing(files.folder):
        check_fence()
        for name in moved:
            if (files.aside.folder / name).exists():  # else it was moved before the last kill
                make_folder((files.folder / name).parent)
                (files.aside.folder / name).replace(files.folder / name)
        for folder in {(files.folder / name).parent for name in moved}:  # before the manifest says that they are there
            sync_folder(folder)
        if files.aside.tensorboard.is_dir() and (differing or not files.tensorboard.exists()):
            discard_folder(files.tensorboard)
            files.aside.tensorboard.replace(files.tensorboard)
    manifest = _joined(files, earlier, again, {**kept, **moved})
    write_manifest(files, manifest)
    if again["status"] != "diverged":
        files.diverged.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # the run is done: what is left is deleted at the end of the command
        discard_folder(files.aside.folder)
    if differing:
        print(f"It {manifest['replaced']}.", flush=True)
    elif earlier is None:
        print("It was trained already, and has taken the place of the earlier result, which was deleted.", flush=True)
    else:
        print(f"The same bits as before. Repaired: {', '.join([*moved, files.manifest.name])}.", flush=True)


def _joined(files: RunFiles, earlier: Earlier | None, again: Manifest, entries: dict[str, FileEntry]) -> Manifest:
    """The manifest of a run whose files were put in place: the earlier one, with these entries, if there is one."""
    if earlier is not None and earlier.manifest is not None and not earlier.differing(again):
        repaired: Manifest = {**earlier.manifest, "files": entries}
        if "replay" in again:
            repaired["replay"] = again["replay"]
        return repaired
    manifest: Manifest = {**again}
    if "error" in again:
        manifest["error"] = again["error"].replace(str(files.aside.diverged), str(files.diverged))
    if earlier is not None and earlier.differing(again):
        found = ", ".join(changes(earlier.versions, again.get("versions", {})))
        why = "replaced an earlier result that could no longer be read, and from which nothing was made"
        manifest["replaced"] = f"{why}{f' ({found})' if found else ''}"
    return manifest
