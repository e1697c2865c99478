"""The mask file that a ticket trains with. It may be one that the user has put there, so it is checked closely."""

from rlottery.errors import MaskError
from rlottery.pruning.mask_file import mask_from_bytes, read_mask_bytes
from rlottery.pruning.masks import Mask, check_shapes
from rlottery.storage.manifests import list_differences
from rlottery.study.planning.inputs import expected_mask_fingerprint, how_to_make_masks, initial_kernels
from rlottery.study.planning.jobs import Job


def read_ticket_mask(job: Job) -> tuple[Mask, bytes]:
    """The mask that a ticket trains with, checked against the config, the agent and its shapes.

    Returns:
        the mask, and the content of its file.

    Raises:
        MaskError: the mask is missing, corrupt, unsafe, of other shapes, or made from something else.
    """
    expected = expected_mask_fingerprint(job)
    mask, data = read_mask_file(job)
    initial = initial_kernels(job)
    try:
        for group, layers in mask.groups.items():
            check_shapes(layers, initial[group])
    except MaskError as error:
        raise MaskError(f"{job.mask_path} doesn't fit the dense agent. {error}\n{how_to_make_masks(job)}") from None
    if differences := list_differences(expected, mask.metadata["fingerprint"]):
        listed = "\n  ".join(differences)
        raise MaskError(f"{job.mask_path} was made from something else:\n  {listed}\n{how_to_make_masks(job)}")
    return mask, data


def read_mask_file(job: Job) -> tuple[Mask, bytes]:
    """The mask in the job's mask file, whatever it was made from, and the file's content.

    Raises:
        MaskError: the mask is missing, corrupt or unsafe.
    """
    if not job.mask_path.exists():
        raise MaskError(f"Mask not found: {job.mask_path}\n{how_to_make_masks(job)}")
    data = read_mask_bytes(job.mask_path)
    return mask_from_bytes(data, str(job.mask_path)), data
