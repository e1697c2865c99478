"""The JSON file of a checkpoint. It is read without JAX, so that a command can look at it before it starts anything."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal, NamedTuple, NotRequired

from pydantic import Field
from typing_extensions import TypedDict

from rlottery.errors import StudyError
from rlottery.storage.disk import file_digest
from rlottery.storage.manifests import DamagedError, FileEntry, FileName, Session, checked, find_damage, read_sealed
from rlottery.storage.paths import RunFiles
from rlottery.storage.stored_types import Count, Fingerprint, Name, Seconds

KEPT = 2
"""How many checkpoints are kept: the last one, and the one before it."""
PIECE_BYTES = 2**22
"""The most bytes in a file of replay. Several copies of a piece are in memory while it is written."""

Bits128 = Annotated[int, Field(strict=True, ge=0, lt=2**128)]
Finite = Annotated[float, Field(strict=True, allow_inf_nan=False)]


class SavedLosses(TypedDict):
    """The state of `training.meters.LossMeter`."""

    sums: dict[Name, Finite]
    updates: Count
    last: dict[Name, Finite]
    seconds: Seconds


class SavedEpisodes(TypedDict):
    """The state of `training.meters.EpisodeMeter`."""

    ended: dict[Name, Finite]
    episodes: Count
    wrote_at: Count


class SavedBits(TypedDict):
    """The two numbers of 128 bits of NumPy's PCG64."""

    state: Bits128
    inc: Bits128


class SavedGenerator(TypedDict):
    """The state of NumPy's PCG64."""

    bit_generator: Literal["PCG64"]
    state: SavedBits
    has_uint32: Annotated[int, Field(strict=True, ge=0, le=1)]
    uinteger: Annotated[int, Field(strict=True, ge=0, lt=2**32)]


class SavedOpenEpisode(TypedDict):
    """A training episode that is not over: in which of the run's environments, and its number in the run."""

    environment: Count
    number: Count


class CheckpointRecord(TypedDict):
    """The content of a checkpoint's JSON file.

    Attributes:
        open: the episodes that are not over. Their actions and newest observations are in a file of their own. A run
            with one environment has none when it is saved, and no such key.
        segments: [start, stop) of the run's transitions, in order. Together they are the replay buffer's content.
        generators: the states of NumPy's bit generators, by the name of the loop's field.
        metrics: length and SHA-256 of the metrics up to this step.
        points: the rewind points that the run has saved so far, in its own folder.
        seconds: how long the run has been worked on, over all sessions.
        sittings: the sessions up to this checkpoint.
        written, cost: how many checkpoints were written so far, and the seconds that took.
    """

    format_version: int
    fingerprint: Fingerprint
    env_steps: Count
    episodes: Count
    open: NotRequired[list[SavedOpenEpisode]]
    files: dict[FileName, FileEntry]
    segments: list[tuple[Count, Count]]
    generators: dict[Name, SavedGenerator]
    losses: SavedLosses
    episode: SavedEpisodes
    metrics: tuple[Count, Name]
    points: NotRequired[dict[FileName, FileEntry]]
    seconds: Seconds
    sittings: list[Session]
    written: Count
    cost: Seconds


def record_paths(files: RunFiles) -> list[Path]:
    """The JSON files of a run's checkpoints, oldest first."""
    return sorted(files.checkpoint.glob("step_*.json"))


def read_checkpoint_record(path: Path) -> CheckpointRecord:
    """The content of a checkpoint's JSON file. Raises DamagedError, or StudyError if a later rlottery wrote it."""
    try:
        return checked(CheckpointRecord, read_sealed(path), path)
    except FileNotFoundError:
        raise DamagedError(path, "it is missing") from None


def checkpoint_damage(files: RunFiles, record: CheckpointRecord) -> list[DamagedError]:
    """What is wrong with the files of a checkpoint, and with the metrics that it continues."""
    found = find_damage(files.checkpoint, record["files"])
    length, sha256 = record["metrics"]
    try:
        if files.metrics.stat().st_size < length or file_digest(files.metrics, length) != sha256:
            found.append(DamagedError(files.metrics, "it is not what the checkpoint continues"))
    except OSError as error:
        found.append(DamagedError(files.metrics, str(error.strerror)))
    return found


def newest_checkpoint(files: RunFiles) -> CheckpointRecord | None:
    """The newest checkpoint whose files exist and have the right size, or None if there is none."""
    for path in reversed(record_paths(files)):
        try:
            record = read_checkpoint_record(path)
        except DamagedError:
            continue
        if not find_damage(path.parent, record["files"], contents=()):
            return record
    return None


class Continued(NamedTuple):
    """The checkpoint from which an unfinished run continues, and where it is being trained."""

    files: RunFiles
    record: CheckpointRecord


def checkpoint_to_continue(files: RunFiles) -> Continued | None:
    """Where a run continues: aside, if it is being trained again. None if it has no checkpoint."""
    for place in (files.aside, files):
        if (record := newest_checkpoint(place)) is not None:
            return Continued(place, record)
    return None


def record_path(files: RunFiles, env_steps: int) -> Path:
    """The JSON file of the checkpoint at a step."""
    return files.checkpoint / f"step_{env_steps:09d}.json"


def agent_name(env_steps: int) -> str:
    """The name of the agent's file at a step."""
    return f"step_{env_steps:09d}.safetensors"


def open_name(env_steps: int) -> str:
    """The name of the file with the open episodes at a step."""
    return f"open_{env_steps:09d}.safetensors"


def segment_name(start: int, stop: int) -> str:
    """The name of the file with transitions `start` to `stop` - 1."""
    return f"replay_{start:09d}_{stop:09d}.safetensors"


def other_config_error(files: RunFiles, differences: Sequence[str]) -> StudyError:
    """The error for an unfinished run of another config. Lists each difference."""
    listed = "\n  ".join(differences)
    return StudyError(
        f"{files.folder} holds an unfinished run of another config:\n  {listed}\n"
        "Restore the values, store this study in another folder with data=ANOTHER_FOLDER, or delete that folder."
    )
