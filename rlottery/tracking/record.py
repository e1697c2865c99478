"""How far a run's metrics were sent to a tracker, in the run's folder: ``tracking/{tracker}-{destination}.json``."""

import hashlib
import json
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from rlottery.storage.disk import read_json, write_json
from rlottery.storage.paths import RunFiles
from rlottery.storage.stored_types import Name, validated
from rlottery.tracking.tracked_run import TrackedRun

MAX_BYTES = 4_096


class _Stored(TypedDict):
    key: Annotated[str, Field(pattern="^[0-9a-f]{12}$")]
    made_from: Name
    step: Annotated[int, Field(strict=True, ge=-1, le=2**53)]
    ended: bool


class Sent(NamedTuple):
    """How far a run was sent.

    Attributes:
        key: the run's name at the tracker, which no other run has.
        step: the last environment step that was sent; -1 if there is none.
        ended: whether the tracker knows that the run has ended.
    """

    key: str
    step: int = -1
    ended: bool = False


def record_path(files: RunFiles, tracker: str, destination: Mapping[str, Any]) -> Path:
    """The record for a tracker and where it sends to: another project or server has runs of its own."""
    digest = hashlib.sha256(json.dumps(destination, sort_keys=True).encode()).hexdigest()
    return files.tracking / f"{tracker}-{digest[:8]}.json"


def read_sent(path: Path, run: TrackedRun) -> Sent:
    """How far the run was sent. A new key if it wasn't, or if the record is of another run."""
    try:
        stored = validated(_Stored, read_json(path, MAX_BYTES))
    except (OSError, ValueError, ValidationError):
        return Sent(secrets.token_hex(6))
    if stored["made_from"] != run.made_from:
        return Sent(secrets.token_hex(6))
    return Sent(stored["key"], stored["step"], stored["ended"])


def write_sent(path: Path, run: TrackedRun, sent: Sent) -> None:
    """Record it. Raises WriteError."""
    write_json(path, {"key": sent.key, "made_from": run.made_from, "step": sent.step, "ended": sent.ended})
