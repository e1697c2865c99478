"""Masks that finished results were made with. Another mask never replaces them."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from rlottery.errors import MaskError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Mask
from rlottery.report.wording import some_folders
from rlottery.storage.manifests import Manifest, file_entry, list_differences, write_manifest
from rlottery.storage.paths import RunFiles, Store
from rlottery.study.planning.earlier import inputs_of
from rlottery.study.planning.finished_runs import ended_manifest
from rlottery.study.planning.inputs import expected_mask_fingerprint
from rlottery.study.planning.jobs import Job


def check_nothing_needs_old_mask(job: Job) -> None:
    """Raise StudyError if the arm's mask was made from other files than those here, and something was made with it."""
    try:
        mask = read_mask(job.files.mask)
    except MaskError:
        return
    differences = list_differences(expected_mask_fingerprint(job), mask.metadata["fingerprint"], asker="now they are")
    if differences and (made := list(_made_with(job.store, mask.metadata["digest"]))):
        listed = "\n  ".join(differences)
        raise StudyError(
            f"{job.files.mask} was made from something else:\n  {listed}\n"
            f"Finished results are never replaced, and this mask belongs to {some_folders(made)}. Restore the "
            "files that it was made from, work in another folder with data=ANOTHER_FOLDER, or discard these results: "
            f"delete {some_folders(list(dict.fromkeys([job.files.folder, *made])))}."
        )


def check_ticket_has_mask(job: Job, mask: Mask) -> None:
    """Raise StudyError if the arm's ticket is finished, and was trained with another mask than this one."""
    manifest = ended_manifest(job.files)
    if manifest is not None and _mask_of(manifest) not in (None, mask.metadata["digest"]):
        raise StudyError(
            f"The mask of {job.label} was made again, and differs from the one that its finished ticket was trained "
            "with. Finished results are never replaced, so the mask is not saved. Versions, kernels, XLA flags or a "
            "criterion may have changed: restore them, work in another folder with data=ANOTHER_FOLDER, or discard the "
            f"ticket: delete {job.files.folder}."
        )


def keep_ticket_of(job: Job, mask: Mask) -> None:
    """Let the arm's finished ticket list the mask's file as it is now: the same mask in other bytes is no damage."""
    manifest, name = ended_manifest(job.files), job.files.mask.name
    if manifest is not None and name in manifest["files"] and _mask_of(manifest) == mask.metadata["digest"]:
        entry = file_entry(job.files.mask)
        if entry["sha256"] != manifest["files"][name]["sha256"]:
            write_manifest(job.files, {**manifest, "files": {**manifest["files"], name: entry}})


def _made_with(store: Store, digest: str) -> Iterator[Path]:
    """The folders of all finished runs and masks in the store that were made with the mask of this digest."""
    for folder in sorted(store.runs.glob("*/seed_*/*")):
        files = RunFiles(folder)
        with contextlib.suppress(StudyError):
            manifest = ended_manifest(files)
            if manifest is not None and _mask_of(manifest) == digest:
                yield folder
                continue
        with contextlib.suppress(MaskError):
            if inputs_of(read_mask(files.mask).metadata["fingerprint"]).get("mask") == digest:
                yield folder


def _mask_of(manifest: Manifest) -> str | None:
    return inputs_of(manifest["fingerprint"]).get("mask")
