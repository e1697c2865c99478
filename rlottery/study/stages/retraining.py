"""Training a run that has an earlier result: aside, so that the result is repaired or kept, and never replaced."""

import shutil
from collections.abc import Callable

from rlottery.errors import DivergedError
from rlottery.storage.checkpoint_record import newest_checkpoint
from rlottery.storage.made_with import changes
from rlottery.storage.manifests import FileEntry, Manifest, find_damage, read_manifest, write_manifest
from rlottery.storage.paths import RunFiles
from rlottery.storage.syncing import make_folder, sync_folder, writing
from rlottery.study.planning.earlier import Earlier, earlier_of, other_result_error, trained_aside
from rlottery.study.planning.fingerprints import Fingerprint
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.versions_now import code_of
from rlottery.study.versions import versions


def train_in_place_or_aside(job: Job, fingerprint: Fingerprint, train: Callable[[RunFiles], None]) -> None:
    """Train a run in its folder. If it has an earlier result, train it aside, and repair that result if it is the same.

    Args:
        train: trains the run, and writes its files and its manifest, which records `fingerprint`.

    Raises StudyError if the run came out differently, and the earlier result can be read or something was made from it.
    What was there is then kept as it is, and what was trained stays aside.
    """
    earlier, aside = earlier_of(job), job.files.aside
    if earlier is None:
        shutil.rmtree(aside.folder, ignore_errors=True)
        train(job.files)
        return
    again, diverged = trained_aside(job.files, fingerprint), None
    if again is None or not earlier.allows(again):
        if again is not None or _began_with_others(job, earlier):
            with writing(aside.folder):
                shutil.rmtree(aside.folder)
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


def _began_with_others(job: Job, earlier: Earlier) -> bool:
    """Whether an interrupted run began with other versions than those of now, which are those of the earlier result."""
    record, now = newest_checkpoint(job.files.aside), versions() | code_of(job)
    sessions = record["sittings"] if record is not None else []
    return not changes(earlier.versions, now) and any(changes(one.get("versions", {}), now) for one in sessions)


def _put_in_place(files: RunFiles, earlier: Earlier, again: Manifest) -> None:
    """Move the files that are missing or damaged to the run's folder, and write its manifest. It may be interrupted.

    Where a run is replaced, all files are moved.
    """
    differing = earlier.differing(again)
    kept: dict[str, FileEntry] = {}
    if earlier.manifest is not None and not differing:
        entries = earlier.manifest["files"]
        kept = {name: entry for name, entry in entries.items() if not find_damage(files.folder, {name: entry})}
    moved = {name: entry for name, entry in again["files"].items() if name not in kept}
    with writing(files.folder):
        for name in moved:
            if (files.aside.folder / name).exists():  # else it was moved before the last kill
                make_folder((files.folder / name).parent)
                (files.aside.folder / name).replace(files.folder / name)
        for folder in {(files.folder / name).parent for name in moved}:  # before the manifest says that they are there
            sync_folder(folder)
    if files.aside.tensorboard.is_dir() and (differing or not files.tensorboard.exists()):
        shutil.rmtree(files.tensorboard, ignore_errors=True)
        files.aside.tensorboard.replace(files.tensorboard)
    if differing:
        found = ", ".join(changes(earlier.versions, again.get("versions", {})))
        why = "replaced an earlier result that could no longer be read, and from which nothing was made"
        manifest: Manifest = {**again, "replaced": f"{why}{f' ({found})' if found else ''}"}
    elif earlier.manifest is None:
        manifest = again
    else:
        manifest = {**earlier.manifest, "files": {**kept, **moved}}
        if "replay" in again:
            manifest["replay"] = again["replay"]
    write_manifest(files, manifest)
    if again["status"] != "diverged":
        files.diverged.unlink(missing_ok=True)
    shutil.rmtree(files.aside.folder, ignore_errors=True)  # what is left of it is removed by the command
    if differing:
        print(f"It {manifest['replaced']}.", flush=True)
    else:
        print(f"The same bits as before. Repaired: {', '.join([*moved, files.manifest.name])}.", flush=True)
