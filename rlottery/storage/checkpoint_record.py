"""What a checkpoint says of itself: read without JAX, so that a command can look before it starts anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NotRequired

from pydantic import NonNegativeInt, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from rlottery.errors import StudyError
from rlottery.storage.manifests import DamagedError, FileEntry, FileName, Session, find_damage, read_sealed
from rlottery.storage.paths import RunFiles

KEPT = 2
"""Checkpoints that stay: the last, and the one before it."""
PIECE_BYTES = 2**22
"""Most bytes of a piece of replay: several copies of one lie in memory while it is written."""


class SavedLosses(TypedDict):
    """What `training.LossMeter.save` gives."""

    sums: dict[str, float]
    updates: NonNegativeInt
    last: dict[str, float]
    seconds: float


class SavedEpisodes(TypedDict):
    """What `training.EpisodeMeter.save` gives."""

    ended: dict[str, float]
    episodes: NonNegativeInt
    wrote_at: NonNegativeInt


class CheckpointRecord(TypedDict):
    """What a checkpoint's JSON holds.

    Attributes:
        segments: [start, stop) of the run's transitions, in order: together what the replay buffer holds.
        generators: states of NumPy's bit generators, by the name of the loop's field.
        metrics: length and SHA-256 of the metrics up to here.
        points: what the run has saved so far for arms that rewind to it, in its own folder.
        seconds: of work, over all sittings.
        written, cost: checkpoints so far, and the seconds that they took.
    """

    format_version: int
    fingerprint: dict[str, Any]
    env_steps: NonNegativeInt
    episodes: NonNegativeInt
    files: dict[FileName, FileEntry]
    segments: list[tuple[NonNegativeInt, NonNegativeInt]]
    generators: dict[str, dict[str, Any]]
    losses: SavedLosses
    episode: SavedEpisodes
    metrics: tuple[NonNegativeInt, str]
    points: NotRequired[dict[FileName, FileEntry]]
    seconds: float
    sittings: list[Session]
    written: int
    cost: float


_RECORD = TypeAdapter(CheckpointRecord)


def record_paths(files: RunFiles) -> list[Path]:
    """The JSON files of a run's checkpoints, oldest first."""
    return sorted(files.checkpoint.glob("step_*.json"))


def read_checkpoint_record(path: Path) -> CheckpointRecord:
    """A checkpoint's JSON.

    Raises:
        DamagedError: it is not what was written.
        StudyError: its format is a later one.
    """
    try:
        return _RECORD.validate_python(read_sealed(path))
    except FileNotFoundError:
        raise DamagedError(path, "it is missing") from None
    except ValidationError as error:
        raise DamagedError(path, error.errors()[0]["msg"][:200]) from None


def newest_checkpoint(files: RunFiles) -> CheckpointRecord | None:
    """The newest checkpoint whose files are there in their sizes; None if there is none such."""
    for path in reversed(record_paths(files)):
        try:
            record = read_checkpoint_record(path)
        except DamagedError:
            continue
        if not find_damage(files.checkpoint, record["files"], contents=()):
            return record
    return None


def record_path(files: RunFiles, env_steps: int) -> Path:
    """The JSON of the checkpoint at a step."""
    return files.checkpoint / f"step_{env_steps:09d}.json"


def agent_name(env_steps: int) -> str:
    """The file of the agent at a step."""
    return f"step_{env_steps:09d}.safetensors"


def segment_name(start: int, stop: int) -> str:
    """The file of transitions `start` to `stop` - 1."""
    return f"replay_{start:09d}_{stop:09d}.safetensors"


def other_config_error(files: RunFiles, differences: Sequence[str]) -> StudyError:
    """The error for an unfinished run of another config, naming each difference."""
    listed = "\n  ".join(differences)
    return StudyError(
        f"{files.folder} holds an unfinished run of another config:\n  {listed}\n"
        "Put the values back, keep this study apart with data=ANOTHER_FOLDER, or delete that folder."
    )
