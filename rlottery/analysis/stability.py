"""How alike masks are that were made from independent draws of their batches: what is kept beside a mask of it.

`rlottery.study.stages.resampling` measures it; this is the file in between.
"""

from dataclasses import asdict, dataclass
from typing import Any

from rlottery.errors import StudyError
from rlottery.storage.disk import read_json, write_json
from rlottery.storage.paths import RunFiles

FORMAT_VERSION = 1
MAX_BYTES = 2**12


@dataclass(frozen=True)
class Stability:
    """Of one run's mask.

    Attributes:
        mask: its digest.
        resamples: masks that were made, each from batches of its own.
        jaccard: mean Jaccard index of all kernel weights over all pairs of them.
        chance: mean of what chance would give, as in `rlottery.pruning.masks.overlap`.
    """

    mask: str
    resamples: int
    jaccard: float
    chance: float


def read_stability(files: RunFiles, digest: str) -> Stability | None:
    """What was measured of the mask with this digest; None where that was not, or was of another mask.

    Raises:
        StudyError: the file is damaged, or of another version.
    """
    try:
        content = read_json(files.stability, MAX_BYTES)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise _unusable(files, str(error)[:200]) from None
    if not isinstance(content, dict) or content.pop("format_version", None) != FORMAT_VERSION:
        raise _unusable(files, f"it is not of format {FORMAT_VERSION}")
    found = _stability(files, content)
    return found if found.mask == digest else None


def write_stability(files: RunFiles, measured: Stability) -> None:
    """Keep it beside the mask, whole or not at all."""
    write_json(files.stability, {"format_version": FORMAT_VERSION, **asdict(measured)})


def _stability(files: RunFiles, content: dict[str, Any]) -> Stability:
    match content:
        case {
            "mask": str(mask),
            "resamples": int(resamples),
            "jaccard": int() | float() as jaccard,
            "chance": int() | float() as chance,
        } if len(content) == 4 and resamples >= 2 and 0 <= jaccard <= 1 and 0 <= chance <= 1:
            return Stability(mask, resamples, float(jaccard), float(chance))
    raise _unusable(files, "its content is none that was measured")


def _unusable(files: RunFiles, why: str) -> StudyError:
    return StudyError(
        f"{files.stability} can't be read: {why}. Delete it and measure again: rlottery report --stability 5"
    )
