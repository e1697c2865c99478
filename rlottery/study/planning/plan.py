"""The plan: which jobs of a study are done, and what each of the others will be made from.

Everything that can be wrong with the config or with the files is found here, before any work starts. Nothing here
imports JAX.
"""

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

import numpy as np

from rlottery.errors import MaskError, StudyError
from rlottery.pruning.mask_file import mask_from_bytes, read_mask, read_mask_bytes
from rlottery.pruning.masks import Mask, check_shapes
from rlottery.storage.checkpoint_record import newest_checkpoint, other_config_error
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import DamagedError, Manifest, check_files, find_damage, list_differences, read_manifest
from rlottery.storage.paths import REPLAY_FILES, RunFiles, replay_is_saved
from rlottery.study.planning.fingerprints import Fingerprint, dense_fingerprint, mask_fingerprint, ticket_fingerprint
from rlottery.study.planning.jobs import Job, Key


def is_done(job: Job, waits: Collection[Key] = ()) -> bool:
    """Whether the job's files are there, whole, and are what its config and its inputs ask for.

    Files are compared with their checksums.

    Args:
        waits: jobs that it needs and that are still to do: what they will make can't be compared.

    Raises:
        DivergedRunError: the run has ended, and is no use: it diverged.
        StudyError: files are there that another config made, or an input is missing that no job will make.
        MaskError: a mask that can't be read or used.
    """
    done = {
        "dense": _dense_is_done,
        "rewind": _rewind_points_are_done,
        "mask": _mask_is_done,
        "ticket": _ticket_is_done,
    }
    return done[job.stage](job, waits)


def damaged_files(job: Job) -> list[DamagedError]:
    """What the job will make anew because it is not what was written, or not there any more."""
    if job.stage not in ("dense", "ticket"):
        return []
    try:
        manifest = read_manifest(job.files)
    except DamagedError as error:
        return [error]
    if manifest is None or manifest["status"] == "failed":
        return []
    return _damage(job, manifest)


def _dense_is_done(job: Job, waits: Collection[Key]) -> bool:
    asked = dense_fingerprint(job.config, job.task, job.seed)
    manifest = _sound_manifest(job, asked)
    if manifest is None:
        _compare_checkpoint(job, asked)
        return False
    return _replay_is_there(job, manifest) or (_replay_released(manifest) and not job.config.keep_replay)


def missing_rewind_points(job: Job, manifest: Manifest) -> list[int]:
    """The steps that some arm goes back to and that the finished dense run has no agent of."""
    return [
        step for step in job.config.rewind_steps if job.dense_files.rewind_point(step).name not in manifest["files"]
    ]


def _sound_manifest(job: Job, asked: Fingerprint, *, compare_inputs: bool = True) -> Manifest | None:
    """The manifest of the finished run in the job's files; None where there is none, or where files are damaged."""
    try:
        manifest = read_manifest(job.files)
    except DamagedError:
        return None
    if manifest is None or manifest["status"] == "failed":
        return None
    _check_same_study(job.files, manifest, asked, compare_inputs)
    if _damage(job, manifest):
        return None
    return matching_manifest(job.files, asked, compare_inputs=compare_inputs)


def _damage(job: Job, manifest: Manifest) -> list[DamagedError]:
    """What is damaged of a finished run."""
    found = find_damage(job.files.folder, manifest["files"])
    # A whole buffer may be deleted by hand or by keep_replay; part of one is damage.
    without_replay = {job.files.folder / name for name in REPLAY_FILES} if not job.files.replay.exists() else set()
    return [error for error in found if error.file not in without_replay]


def _compare_checkpoint(job: Job, asked: Fingerprint, *, compare_inputs: bool = True) -> None:
    """Raises StudyError if there is an unfinished run of another config, naming each difference."""
    record = newest_checkpoint(job.files)
    if record is not None and (differences := _differences(asked, record["fingerprint"], compare_inputs)):
        raise other_config_error(job.files, differences)


def _rewind_points_are_done(job: Job, waits: Collection[Key]) -> bool:
    return not waits and not missing_rewind_points(job, dense_manifest(job))


def _mask_is_done(job: Job, waits: Collection[Key]) -> bool:
    _refuse_another_recipe(job)
    if waits:
        return False
    manifest = dense_manifest(job)
    if (own := own_mask(job)) is not None:
        # Another arm of the same method may have taken the method's file since: then there is a copy to make.
        if job.mask_path == job.files.mask:
            return True
        try:
            return read_mask(job.mask_path).metadata == own.metadata
        except MaskError:
            return False
    if job.ticket_arm.needs_replay and not _replay_is_there(job, manifest):
        released = " (keep_replay: false let it go)" if _replay_released(manifest) else ""
        keep = "Set keep_replay: true. " if released else ""
        raise StudyError(
            f"Replay buffer not found{released}: {job.dense_files.replay}\n"
            f"Gradient saliency needs the buffer that dense training saves. {keep}Train the dense agent again:\n"
            "  main(train_agent=True, create_ticket=False, run_ticket=False)\n"
            "or this command with: --stages dense"
        )
    return False


def _ticket_is_done(job: Job, waits: Collection[Key]) -> bool:
    own, made_by = "mask" in job.ticket_arm.stages, replace(job, stage="mask").key
    mask = None
    if own and waits and made_by not in waits:
        read_mask_file(job)  # No job will make it: better to know now than after the dense agent's training.
    elif own and not waits:
        mask = load_ticket_mask(job)
    elif own and set(waits) == {made_by}:
        mask = own_mask(job)
    known = mask is not None if own else not waits
    inputs = ticket_inputs(job, mask) if known else {}
    asked = ticket_fingerprint(job.config, job.task, job.seed, job.ticket_arm, inputs)
    manifest = _sound_manifest(job, asked, compare_inputs=known)
    if manifest is None:
        _compare_checkpoint(job, asked, compare_inputs=known)
    return manifest is not None and known


def _refuse_another_recipe(job: Job) -> None:
    """Raises StudyError if the arm's folder has a run whose mask was made by another recipe, naming each difference."""
    try:
        manifest, mask = read_manifest(job.files), read_mask(job.files.mask)
    except (DamagedError, MaskError):
        return
    if manifest is None or manifest["status"] == "failed":
        return
    asked = mask_fingerprint(job.ticket_arm, job.seed, {})
    if differences := _differences(asked, mask.metadata["fingerprint"], compare_inputs=False):
        listed = "\n  ".join(differences)
        raise StudyError(
            f"{job.files.folder} holds a run of another recipe:\n  {listed}"
            "\nPut the recipe back, give the arm another name, or delete that folder."
        )


def own_mask(job: Job) -> Mask | None:
    """The mask in the arm's folder, or None unless it is whole and made from the files that are there now.

    Raises:
        StudyError: what it must have been made from is missing.
    """
    try:
        mask = read_mask(job.files.mask)
    except MaskError:
        return None
    return mask if mask.metadata["fingerprint"] == expected_mask_fingerprint(job) else None


def expected_mask_fingerprint(job: Job) -> Fingerprint:
    """What the mask of this job must have been made from, given the files on disk."""
    return mask_fingerprint(job.ticket_arm, job.seed, _mask_inputs(job))


def expected_ticket_fingerprint(job: Job, mask: Mask | None) -> Fingerprint:
    """What the run of this job must have been made from, given the dense run and the mask, if it has one to start."""
    return ticket_fingerprint(job.config, job.task, job.seed, job.ticket_arm, ticket_inputs(job, mask))


def _mask_inputs(job: Job) -> dict[str, str]:
    arm, inputs = job.ticket_arm, {}
    if arm.criterion is not None and arm.criterion.needs_warmup:
        # Stands for the dense run whose warm-up's data are read: other settings of its task, other data.
        inputs["agent"] = _digest(job.dense, job.dense_files.agent)
    elif arm.criterion is not None and not arm.criterion.before_training:
        inputs["agent"] = _digest(job.scored, job.scored.files.agent)
    elif arm.criterion is not None or arm.is_dynamic:
        inputs["initial"] = _digest(job.dense, job.dense_files.initial)
    if arm.recipe.transfer is not None and arm.recipe.transfer.file is not None:
        inputs["mask"] = read_mask(foreign_mask_path(job)).metadata["digest"]
    elif (source := job.mask_source) is not None:
        inputs["mask"] = given_mask(source).metadata["digest"]
    elif arm.scored is not None:
        # Whether that mask is sound is the round before's to find out: here, n rounds would find it out 2^n times.
        inputs["mask"] = read_mask(job.scored.files.mask).metadata["digest"]
    return inputs


def ticket_inputs(job: Job, mask: Mask | None) -> dict[str, str]:
    """Digests of what a ticket starts from."""
    arm = job.ticket_arm
    inputs = {"initial": _digest(job.dense, job.dense_files.initial)}
    if mask is not None:
        inputs["mask"] = mask.metadata["digest"]
    elif (source := job.mask_source) is not None:
        inputs["mask"] = given_mask(source).metadata["digest"]
    if arm.rewind_step != 0:
        of, path = rewound_to(job)
        inputs["start"] = _digest(of, path)
    return inputs


def rewound_to(job: Job) -> tuple[Job, Path]:
    """The job that makes what a ticket is rewound to, and the file: a whole agent, unless it is the initial weights."""
    step = job.ticket_arm.rewind_step
    if step == 0:
        return job.dense, job.dense_files.initial
    if step is not None:
        return job.dense, job.dense_files.rewind_point(step)
    # A control goes on from where the arm that it stands beside does.
    scored = replace(job, arm=job.ticket_arm.of or job.arm).scored
    return scored, scored.files.agent


def given_mask(job: Job) -> Mask:
    """The mask that another arm made, for one that takes it or is a control of it.

    Raises:
        MaskError: there is none, or it was made from something else than what is there now.
    """
    mask = own_mask(job)
    if mask is None:
        raise MaskError(
            f"Mask not found: {job.files.mask}\nIt is missing, or made from another agent. {_make_masks(job)}"
        )
    return mask


def foreign_mask_path(job: Job) -> Path:
    """The file that a transferred mask comes from, where the recipe names one."""
    transfer = job.ticket_arm.recipe.transfer
    assert transfer is not None and transfer.file is not None
    return Path(transfer.file.format(task=job.task.name, seed=job.seed)).expanduser()


def load_ticket_mask(job: Job) -> Mask:
    """`read_ticket_mask`, without the bytes."""
    return read_ticket_mask(job)[0]


def read_ticket_mask(job: Job) -> tuple[Mask, bytes]:
    """The mask that a ticket job trains with, from the method's file, checked against config, agent and shapes.

    Returns:
        the mask, and the file that it was read from.

    Raises:
        MaskError: missing, corrupt, hostile, of other shapes, or made for something else.
    """
    expected = expected_mask_fingerprint(job)
    mask, data = read_mask_file(job)
    initial = initial_kernels(job)
    try:
        for group, layers in mask.groups.items():
            check_shapes(layers, initial[group])
    except MaskError as error:
        raise MaskError(f"{job.mask_path} doesn't fit the dense agent. {error}\n{_make_masks(job)}") from None
    if differences := list_differences(expected, mask.metadata["fingerprint"]):
        listed = "\n  ".join(differences)
        raise MaskError(f"{job.mask_path} was made for something else:\n  {listed}\n{_make_masks(job)}")
    return mask, data


def read_mask_file(job: Job) -> tuple[Mask, bytes]:
    """The mask under the method's name, whatever it was made for, and the file's content.

    Raises:
        MaskError: missing, corrupt or hostile.
    """
    if not job.mask_path.exists():
        raise MaskError(f"Mask not found: {job.mask_path}\n{_make_masks(job)}")
    data = read_mask_bytes(job.mask_path)
    return mask_from_bytes(data, str(job.mask_path)), data


def initial_kernels(job: Job) -> dict[str, dict[str, np.ndarray]]:
    """The dense run's initial kernels by group and path, from input to output, as NumPy arrays.

    Raises:
        DamagedError: the file is not what was written.
    """
    check_files(job.dense_files.folder, dense_manifest(job)["files"], job.dense_files.initial.name)
    groups: dict[str, dict[str, np.ndarray]] = {"actor": {}, "critic": {}}
    for name, array in read_arrays(job.dense_files.initial).items():
        group, _, rest = name.partition(".")
        path, _, leaf = rest.rpartition(".")
        if leaf == "kernel":
            groups[group][path] = array
    return groups


def matching_manifest(files: RunFiles, asked: Fingerprint, *, compare_inputs: bool = True) -> Manifest | None:
    """The manifest of the finished run in these files, or None where there is none.

    Raises:
        DivergedRunError: the run diverged.
        StudyError: something else made the run than `asked`; names each difference.
    """
    manifest = read_manifest(files)
    if manifest is None or manifest["status"] == "failed":
        return None
    _check_same_study(files, manifest, asked, compare_inputs)
    if manifest["status"] == "diverged":
        raise DivergedRunError(files, manifest.get("error", "It diverged."))
    return manifest


def _check_same_study(files: RunFiles, manifest: Manifest, asked: Fingerprint, compare_inputs: bool) -> None:
    """Raises StudyError if something else made the run than `asked`; names each difference."""
    if differences := _differences(asked, manifest["fingerprint"], compare_inputs):
        listed = "\n  ".join(differences)
        raise StudyError(
            f"{files.folder} holds a run of another study:\n  {listed}"
            "\nPut the values back, give the arm another name, keep this study apart with data=ANOTHER_FOLDER, or "
            "delete that folder."
        )


class DivergedRunError(StudyError):
    """A run that ended in NaN or infinity. It counts as such: it is neither run again nor left out."""

    def __init__(self, files: RunFiles, said: str):
        super().__init__(
            f"{said}\nThat is its result, and it isn't run again. To try all the same, delete {files.folder}."
        )
        self.files = files


def dense_manifest(job: Job) -> Manifest:
    """The manifest of the job's dense run.

    Raises:
        StudyError: there is none, or it is not done.
        DamagedError: files of it are missing or have other sizes.
    """
    mend = "Train it first: main(train_agent=True), or this command with: --stages dense"
    manifest = matching_manifest(job.dense_files, dense_fingerprint(job.config, job.task, job.seed))
    if manifest is None:
        raise StudyError(f"Dense agent not found: {job.dense_files.folder}\n{mend}")
    needed = {name: entry for name, entry in manifest["files"].items() if name not in REPLAY_FILES}
    for error in find_damage(job.dense_files.folder, needed, contents=()):
        raise StudyError(f"Dense agent not found: {error.file} is damaged: {error.why}.\n{mend}")
    return manifest


def run_manifest(job: Job) -> Manifest:
    """The manifest of a run that another one reads files of.

    Raises:
        StudyError: there is none, or it is not done.
    """
    if job.stage == "dense":
        return dense_manifest(job)
    manifest = read_manifest(job.files)
    if manifest is None or manifest["status"] == "failed":
        raise StudyError(f"Run not found: {job.files.folder}\nTrain it first: this command with: --stages mask,ticket")
    if manifest["status"] == "diverged":
        raise DivergedRunError(job.files, manifest.get("error", "It diverged."))
    return manifest


def _digest(job: Job, path: Path) -> str:
    files = run_manifest(job)["files"]
    if path.name not in files:
        raise StudyError(f"{path} is missing; make it with this command and: --stages dense")
    return files[path.name]["sha256"]


def _differences(asked: Fingerprint, found: Fingerprint, compare_inputs: bool) -> list[str]:
    if not compare_inputs:
        asked, found = ({k: v for k, v in side.items() if k != "inputs"} for side in (asked, found))
    return list_differences(asked, found)


def _make_masks(job: Job) -> str:
    method = job.arm.method if job.arm else None
    if method is None:
        return "Make the masks: this command with: --stages mask"
    return (
        f'Make the masks: main(create_ticket=True, pruning_method="{method}"), '
        f"or this command with: --stages mask --pruning-method {method}"
    )


def _replay_is_there(job: Job, manifest: Manifest) -> bool:
    """Whether every field is there in its size; a buffer of format 1 has neither size nor checksum.

    Bytes are compared where the dense run is, and where a buffer is read.
    """
    entries = {name: entry for name, entry in manifest["files"].items() if name in REPLAY_FILES}
    if _replay_released(manifest):
        return False  # what a kill left of it is not to be read
    return replay_is_saved(job.dense_files) and not find_damage(job.dense_files.folder, entries, contents=())


def _replay_released(manifest: Manifest) -> bool:
    return manifest.get("replay") == "released"
