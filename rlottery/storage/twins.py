"""Whether twin critics shared one budget under `allocation: global` when the masks of a study were made.

Versions before `TWINS` ranked the weights of both critics together, and their fingerprints have no such key.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

from rlottery.config.schedules import DROP_AND_GROW
from rlottery.errors import MaskError, StudyError
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Mask, by_network
from rlottery.pruning.prune import Twins
from rlottery.storage.checkpoint_record import checkpoint_to_continue
from rlottery.storage.paths import RunFiles, Store

TWINS = "twins"
"""The key of a fingerprint, next to the sparsity, of masks whose networks have budgets of their own."""


def twins_of_masks(store: Store) -> Twins:
    """How the masks of a study were made: as the first one says that was allocated globally; "separate" without any."""
    for folder in sorted(store.runs.glob("*/seed_*/*")):
        if (found := _twins_of_run(RunFiles(folder))) is not None:
            return found
    return "separate"


def twins_of_mask(mask: Mask) -> Twins | None:
    """How a mask was made; None if it wasn't allocated globally, or no group has several networks."""
    several = any(len(by_network(layers)) > 1 for layers in mask.groups.values())
    return _twins_in(mask.metadata["fingerprint"].get("pruning")) if several else None


def _twins_of_run(files: RunFiles) -> Twins | None:
    """What a run's mask says, or the checkpoint of a run that prunes while it trains; None if neither says anything."""
    with contextlib.suppress(MaskError):
        return twins_of_mask(read_mask(files.mask))
    with contextlib.suppress(StudyError):
        if (found := checkpoint_to_continue(files)) is not None:
            return _twins_in(found.record["fingerprint"].get("arm"))
    return None


def ranks_globally(keys: Mapping[str, Any]) -> bool:
    """Whether an arm's mask was allocated globally, by the arm's keys without defaults, as files have them."""
    if not isinstance(keys.get("sparsity"), Mapping) or any(key in keys for key in ("control", "transfer")):
        return False  # it has the layer counts of another mask, or nothing was pruned
    schedule = keys.get("schedule")
    rewired = isinstance(schedule, Mapping) and any(name in schedule for name in DROP_AND_GROW)
    # A global allocation is the default of all other schedules, and is not written.
    return not rewired and "allocation" not in keys


def _twins_in(told: Any) -> Twins | None:
    """What the keys of an arm in a fingerprint say; None if its mask wasn't allocated globally."""
    if not isinstance(told, Mapping) or not ranks_globally(told):
        return None
    return "separate" if told.get(TWINS) == "separate" else "shared"
