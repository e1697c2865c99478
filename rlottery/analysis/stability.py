"""Mask stability: the overlap of masks made from independent draws of batches, stored next to the mask.

`rlottery.study.stages.resampling` measures it; this module reads and writes the file.
"""

from dataclasses import asdict, dataclass
from typing import Annotated

from pydantic import Field

from rlottery.errors import StudyError
from rlottery.storage.disk import read_json, write_json
from rlottery.storage.paths import RunFiles
from rlottery.storage.stored_types import Name, Share, validated

STABILITY_FORMAT = 1
MAX_RECORD_BYTES = 2**12


@dataclass(frozen=True)
class Stability:
    """The stability of one run's mask.

    Attributes:
        mask: its digest.
        resamples: how many masks were made, each from its own batches.
        jaccard: mean Jaccard index of all kernel weights over all pairs of them.
        chance: the mean index of masks with random weights, as in `rlottery.pruning.masks.overlap`.
    """

    mask: Name
    resamples: Annotated[int, Field(strict=True, ge=2, le=2**31)]
    jaccard: Share
    chance: Share


def read_stability(files: RunFiles, digest: str) -> Stability | None:
    """The stability of the mask with this digest; None if it was not measured, or measured for another mask.

    Raises:
        StudyError: the file is damaged or has another version.
    """
    try:
        content = read_json(files.stability, MAX_RECORD_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(files, str(error)[:200]) from None
    if not isinstance(content, dict) or content.pop("format_version", None) != STABILITY_FORMAT:
        raise _unusable(files, f"its format is not {STABILITY_FORMAT}")
    try:
        if content.keys() - Stability.__annotations__.keys():
            raise ValueError
        measured = validated(Stability, content)
    except ValueError:  # pydantic's errors are of that type
        raise _unusable(files, "it is not a valid stability record") from None
    return measured if measured.mask == digest else None


def write_stability(files: RunFiles, measured: Stability) -> None:
    """Write it next to the mask, atomically."""
    write_json(files.stability, {"format_version": STABILITY_FORMAT, **asdict(measured)})


def _unusable(files: RunFiles, why: str) -> StudyError:
    return StudyError(
        f"{files.stability} can't be read: {why}. Delete it, then measure again: rlottery report --stability 5"
    )
