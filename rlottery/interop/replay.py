"""Reads replay buffers of Stable-Baselines3 (``model.save_replay_buffer``), and running statistics of VecNormalize.

Both are pickles. They are interpreted and never executed.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.inert_objects import InertReader, Record, UnreadableError
from rlottery.interop.library import ALLOW, Library
from rlottery.interop.sb3_archive import MODULES
from rlottery.safety.file_kind import file_kind
from rlottery.safety.regular_files import regular
from rlottery.storage.transitions import Transitions, one_hot

MOST_BYTES = 2**36
"""The largest file that is read."""
DAMAGED = (TypeError, ValueError, LookupError, AttributeError, ArithmeticError)
"""What reading a foreign file raises where it has something of another type than it should."""
_GIVE = {
    "replay buffer": 'what Stable-Baselines3 saved, model.save_replay_buffer("replay.pkl"), or minari:ID.',
    "VecNormalize": 'what Stable-Baselines3 saved, env.save("vecnormalize.pkl").',
}
_BUFFERS = ("ReplayBuffer", "NStepReplayBuffer")
_OTHERS = ("DictReplayBuffer", "HerReplayBuffer")


@dataclass(frozen=True)
class ForeignReplay:
    """What was read of a replay buffer.

    Attributes:
        transitions: in the order of the rows; those of several environments in turn. Float32.
        capacity: rows of the buffer; None if not all of them are used yet.
        notes: what a person has to know about it, one sentence each.
    """

    transitions: Transitions
    capacity: int | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Normalisation:
    """Running statistics: of observations, count, mean and variance (obs,); of discounted returns the same as scalars.

    None where something isn't normalised.
    """

    observations: dict[str, np.ndarray] | None
    returns: dict[str, np.ndarray] | None


class _UpTo:
    """Reads a file up to its end: a declared length beyond it takes no memory."""

    def __init__(self, file: BinaryIO):
        self._file, self._left = file, os.fstat(file.fileno()).st_size

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def readline(self) -> bytes:
        line = self._file.readline(2**16)
        self._left -= len(line)
        return line


def read_replay(
    path: Path, observation_size: int, action_size: int, *, discrete: bool, library: Library | None = None
) -> ForeignReplay:
    """The transitions in a file of `save_replay_buffer`.

    Args:
        observation_size, action_size, discrete: as of the agent.
        library: may execute the file, if it can't be read otherwise.

    Raises:
        ForeignFileError: it is another file, or the replay of other spaces.
    """
    state = _state_of(path, library)
    try:
        return _replay_of(state, observation_size, action_size, discrete=discrete)
    except ForeignFileError as error:
        raise ForeignFileError(f"{path}: {error}.") from None
    except DAMAGED:
        raise ForeignFileError(f"{path}: it is damaged.") from None


def _state_of(path: Path, library: Library | None) -> Mapping[str, Any]:
    """The attributes of the replay buffer in a file."""
    try:
        record = _object_in(path, "replay buffer")
    except UnreadableError as error:
        if library is None:
            raise ForeignFileError(f"{error} {ALLOW}.") from None
        return library.replay(path)
    kind = record.name.rpartition(".")[2]
    if kind in _BUFFERS:
        return record.state
    if library is None or kind in _OTHERS:
        own = "" if kind in _OTHERS else f" One of a class that is derived from it has to be executed. {ALLOW}."
        raise ForeignFileError(
            f"{path}: it holds a {kind[:50]}, and a ReplayBuffer of flat observations is needed.{own}"
        )
    return library.replay(path)


def read_normalisation(path: Path, observation_size: int) -> Normalisation:
    """The statistics in a file of `VecNormalize.save`. Raises ForeignFileError."""
    state = _object_in(path, "VecNormalize").state
    try:
        limits = [state.get(name) for name in ("clip_obs", "clip_reward", "epsilon")]
        if limits != [10.0, 10.0, 1e-8]:
            raise ForeignFileError(f"its clip_obs, clip_reward and epsilon are {limits}, not 10, 10 and 1e-8")
        return Normalisation(
            _statistics(state.get("obs_rms"), (observation_size,)) if state.get("norm_obs") else None,
            _statistics(state.get("ret_rms"), ()) if state.get("norm_reward") else None,
        )
    except ForeignFileError as error:
        raise ForeignFileError(f"{path}: {error}.") from None
    except DAMAGED:
        raise ForeignFileError(f"{path}: it is damaged.") from None


def _statistics(found: Any, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    state = found.state if isinstance(found, Record) else {}
    arrays: dict[str, np.ndarray] = {}
    for name, theirs in (("count", "count"), ("mean", "mean"), ("variance", "var")):
        value: Any = state.get(theirs)
        wanted = () if name == "count" else shape
        if not isinstance(value, float | int | np.ndarray | np.generic) or np.shape(value) != wanted:
            raise ForeignFileError(f"its {name} has another shape than {wanted}, or is missing")
        arrays[name] = np.asarray(value, np.float32)
        if not np.isfinite(arrays[name]).all() or (name != "mean" and (arrays[name] < 0).any()):
            raise ForeignFileError(f"its {name} has entries that can't be")
    return arrays


def _object_in(path: Path, holds: str) -> Record:
    """The object in a pickle."""
    start = b""
    try:
        with open(path, "rb", opener=regular) as file:
            start = file.read(4_096)
            file.seek(0)
            if os.fstat(file.fileno()).st_size > MOST_BYTES:
                raise ForeignFileError(f"it has more than {MOST_BYTES:,} bytes")
            found = InertReader(_UpTo(file), holds, MODULES).read()  # type: ignore[arg-type]
    except OSError as error:
        why = f"it is a folder. Give {_GIVE[holds]}" if path.is_dir() else f"{error.strerror or error}."
        raise ForeignFileError(f"{path} can't be read: {why}") from None
    except ForeignFileError as error:
        kind = file_kind(start)
        if kind not in (None, "a pickle"):
            raise ForeignFileError(f"{path} can't be read as a {holds}: it is {kind}. Give {_GIVE[holds]}") from None
        raise type(error)(f"{path} can't be read as a {holds}: {error}.") from None
    except MemoryError:
        raise ForeignFileError(f"{path} needs more memory than there is.") from None
    if not isinstance(found, Record):
        raise ForeignFileError(f"{path} holds no {holds}.")
    return found


def _replay_of(state: Any, observation_size: int, action_size: int, *, discrete: bool) -> ForeignReplay:
    size, position, full = (state.get(name) for name in ("buffer_size", "pos", "full"))
    if type(size) is not int or type(position) is not int or type(full) is not bool or not 0 <= position <= size:
        raise ForeignFileError("it doesn't say how full it is")
    used = np.arange(size if full else position)
    notes = []
    if not len(used):
        raise ForeignFileError("it is empty")
    observations = _field(state, "observations", size, observation_size, "observations")
    environments = observations.shape[1]
    if state.get("optimize_memory_usage"):
        # The next row has the next observation. The newest transition's overwrites the observation of the oldest row.
        following = np.roll(observations, -1, axis=0)
        used = used[used != position] if full else used
    else:
        following = _field(state, "next_observations", size, observation_size, "observations")
    actions = _field(state, "actions", size, 1 if discrete else action_size, "actions")
    rewards, dones = (_field(state, name, size, None, name) for name in ("rewards", "dones"))
    terminations = dones
    if state.get("handle_timeout_termination", True):
        terminations = dones * (1 - _field(state, "timeouts", size, None, "timeouts"))
    else:
        notes.append("Its buffer counts time limits as terminations.")
    if {array.shape[1] for array in (following, actions, rewards, terminations)} != {environments}:
        raise ForeignFileError("its arrays are of different numbers of environments")

    def rows(array: np.ndarray) -> np.ndarray:
        taken = array[used]
        return np.ascontiguousarray(taken.reshape(-1, *taken.shape[2:]), np.float32)

    flat = Transitions(*map(rows, (observations, actions, rewards, following, terminations)))
    if not all(np.isfinite(array).all() for array in flat.fields.values()):
        raise ForeignFileError("it has entries that are not finite numbers")
    if discrete:
        flat = flat._replace(actions=_one_hot(flat.actions, action_size))
    elif np.abs(flat.actions).max() > 1:
        raise ForeignFileError("it has actions outside of [-1, 1], to which Stable-Baselines3 scales them")
    return ForeignReplay(flat, size * environments if full else None, tuple(notes))


def _one_hot(actions: np.ndarray, number: int) -> np.ndarray:
    chosen = actions[:, 0].astype(np.int64)
    if (chosen != actions[:, 0]).any() or chosen.min() < 0 or chosen.max() >= number:
        raise ForeignFileError(f"it has other actions than 0 to {number - 1}")
    return one_hot(chosen, number)


def _field(state: Any, name: str, size: int, entries: int | None, what: str) -> np.ndarray:
    """An array (size, environments, entries), or (size, environments) if `entries` is None."""
    array = state.get(name)
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "fiub":
        raise ForeignFileError(f"its {name} are no array of numbers")
    wanted = 2 if entries is None else 3
    if array.ndim != wanted or len(array) != size:
        raise ForeignFileError(f"its {name} have the shape {array.shape}, which isn't that of flat {what}")
    if entries is not None and array.shape[2] != entries:
        raise ForeignFileError(f"its {what} have {array.shape[2]} entries, and those of the agent {entries}")
    return array
