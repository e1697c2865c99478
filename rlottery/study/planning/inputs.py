"""What each mask and each ticket is made from: its input files, their digests, and the fingerprint that follows.

A mask may be made from another arm's mask, so a mask and its inputs are checked along the whole chain of arms.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from rlottery.agents.algorithms import algorithm_of
from rlottery.errors import MaskError
from rlottery.pruning.mask_file import mask_from_bytes, read_mask, read_mask_bytes
from rlottery.pruning.masks import Mask, check_fits, in_layer_order
from rlottery.pruning.plain_mask_file import read_any_mask
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import check_files, list_differences
from rlottery.study.planning.fingerprints import Fingerprint, mask_fingerprint, ticket_fingerprint
from rlottery.study.planning.finished_runs import dense_manifest, saved_digest
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.read_once import once


def expected_mask_fingerprint(job: Job) -> Fingerprint:
    """The fingerprint of the job's mask, if it is made from the files on disk."""
    return mask_fingerprint(job.ticket_arm, job.seed, _mask_inputs(job))


def expected_ticket_fingerprint(job: Job, mask: Mask | None) -> Fingerprint:
    """The fingerprint of the job's run, if it is made from the files on disk and this mask, if it starts with one."""
    return ticket_fingerprint(job.config, job.task, job.seed, job.ticket_arm, ticket_inputs(job, mask))


def ticket_inputs(job: Job, mask: Mask | None) -> dict[str, str]:
    """Digests of what a ticket starts from."""
    inputs = {"initial": saved_digest(job.dense, job.dense_files.initial)}
    if mask is not None:
        inputs["mask"] = mask.metadata["digest"]
    elif (source := job.mask_source) is not None:
        inputs["mask"] = given_mask(source).metadata["digest"]
    if job.ticket_arm.rewind_step != 0:
        inputs["start"] = saved_digest(*rewound_to(job))
    return inputs


def rewound_to(job: Job) -> tuple[Job, Path]:
    """The job that makes the file that a ticket is rewound to, and the file.

    The file holds the initial weights for step 0, and a whole agent otherwise.
    """
    step = job.ticket_arm.rewind_step
    if step == 0:
        return job.dense, job.dense_files.initial
    if step is not None:
        return job.dense, job.dense_files.rewind_point(step)
    # Fine-tuning: a control starts from the same trained agent as the arm that it controls for.
    scored = replace(job, arm=job.ticket_arm.root).scored
    return scored, scored.files.agent


def own_mask(job: Job) -> Mask | None:
    """The mask in the arm's folder, or None if it is missing, damaged, or made from other files than those on disk.

    Raises StudyError or MaskError if a file that it is made from is missing or can't be used.
    """
    try:
        mask, _ = mask_in(job.files.mask)
    except MaskError:
        return None
    return mask if mask.metadata["fingerprint"] == expected_mask_fingerprint(job) else None


def given_mask(job: Job) -> Mask:
    """The mask of an arm that a control or a transfer takes its mask from, as `own_mask`; or a MaskError."""
    if (mask := own_mask(job)) is not None:
        return mask
    why = "It is missing, or it was made from another agent."
    raise MaskError(f"Mask not found: {job.files.mask}\n{why} {how_to_make_masks(job)}")


def read_ticket_mask(job: Job) -> tuple[Mask, bytes]:
    """The mask that a ticket trains with, and the content of its file.

    Raises MaskError if the mask is missing, corrupt, unsafe, of other shapes, or made from something else.
    """
    expected = expected_mask_fingerprint(job)
    mask, data = read_mask_file(job)
    initial = initial_kernels(job)
    try:
        check_fits(mask, initial)
    except MaskError as error:
        raise MaskError(f"{job.mask_path} doesn't fit the dense agent. {error}\n{how_to_make_masks(job)}") from None
    if differences := list_differences(expected, mask.metadata["fingerprint"]):
        listed = "\n  ".join(differences)
        raise MaskError(f"{job.mask_path} was made from something else:\n  {listed}\n{how_to_make_masks(job)}")
    return mask, data


def read_mask_file(job: Job) -> tuple[Mask, bytes]:
    """The mask in the job's mask file, whatever it was made from, and the file's content."""
    if not job.mask_path.exists():
        raise MaskError(f"Mask not found: {job.mask_path}\n{how_to_make_masks(job)}")
    return mask_in(job.mask_path)


def mask_in(path: Path) -> tuple[Mask, bytes]:
    """The mask in a file, and the file's content. Raises MaskError."""

    def read() -> tuple[Mask, bytes]:
        data = read_mask_bytes(path)
        return mask_from_bytes(data, str(path)), data

    return once(("mask", path), read)


def foreign_mask_path(job: Job) -> Path:
    """The mask file that the recipe of a transfer arm names."""
    transfer = job.ticket_arm.transfer
    assert transfer is not None and transfer.file is not None
    return Path(transfer.file.format(task=job.task.name, seed=job.seed)).expanduser()


def initial_kernels(job: Job) -> dict[str, dict[str, np.ndarray]]:
    """The dense run's initial kernels by group and path, from input to output, as NumPy arrays."""
    return once(("initial", job.dense_files), lambda: _initial_kernels(job))


def _initial_kernels(job: Job) -> dict[str, dict[str, np.ndarray]]:
    check_files(job.dense_files.folder, dense_manifest(job)["files"], job.dense_files.initial.name)
    groups: dict[str, dict[str, np.ndarray]] = {group: {} for group in algorithm_of(job.config).groups}
    for name, array in read_arrays(job.dense_files.initial).items():
        group, _, rest = name.partition(".")
        path, _, leaf = rest.rpartition(".")
        if leaf == "kernel":
            groups[group][path] = array
    return {group: in_layer_order(kernels) for group, kernels in groups.items()}


def how_to_make_masks(job: Job) -> str:
    """The command that makes the job's mask, for error messages."""
    method = job.ticket_arm.method
    if method is None:
        return "Make the masks: this command with: --stages mask"
    return (
        f'Make the masks: main(create_ticket=True, pruning_method="{method}"), '
        f"or this command with: --stages mask --pruning-method {method}"
    )


def _mask_inputs(job: Job) -> dict[str, str]:
    """Digests of what a mask is made from."""
    arm, inputs = job.ticket_arm, {}
    if arm.criterion is not None and arm.criterion.needs_warmup:
        # The agent stands for the dense run whose warm-up data the criterion reads: both follow from its settings.
        inputs["agent"] = saved_digest(job.dense, job.dense_files.agent)
    elif arm.criterion is not None and not arm.criterion.before_training:
        inputs["agent"] = saved_digest(job.scored, job.scored.files.agent)
    elif arm.criterion is not None or arm.recipe.is_dynamic:
        inputs["initial"] = saved_digest(job.dense, job.dense_files.initial)
    if arm.transfer is not None and arm.transfer.file is not None:
        inputs["mask"] = read_any_mask(foreign_mask_path(job)).metadata["digest"]
    elif (source := job.mask_source) is not None:
        inputs["mask"] = given_mask(source).metadata["digest"]
    elif arm.scored is not None:
        # The job of the previous IMP round checks that mask. Checking it here too would take 2^n reads for n rounds.
        inputs["mask"] = read_mask(job.scored.files.mask).metadata["digest"]
    return inputs
