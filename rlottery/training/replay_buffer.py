"""The replay buffer: a ring buffer in NumPy, saved as one plain ``.npy`` file per field."""

import math
import os
from pathlib import Path

import numpy as np

from rlottery.errors import StudyError
from rlottery.safety.regular_files import regular
from rlottery.storage.transitions import Transitions, columns


class ReplayBuffer:
    """The last `capacity` transitions of a run. Uses exactly 4 bytes x (2 obs + act + 2) x capacity.

    Transition t of the run, counted from 0, is in row t modulo `capacity`. All of its fields are in that row, so a
    minibatch is a single array.

    Attributes:
        capacity: the maximum number of transitions.
        added: transitions added so far, including those since overwritten. Set it to continue a run's count.
    """

    def __init__(self, capacity: int, observation_size: int, action_size: int):
        self.capacity = capacity
        self.added = 0
        self._sizes = (observation_size, action_size)
        self._rows = np.empty((capacity, 2 * observation_size + action_size + 2), np.float32)

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_observation: np.ndarray,
        termination: bool,
    ) -> None:
        """Add one transition. A full buffer overwrites its oldest.

        Raises:
            ValueError: an observation (obs,) or the action (act,) has another shape, which NumPy might stretch.
        """
        row, (obs, act) = self._rows[self.added % self.capacity], self._sizes
        shapes = np.shape(observation), np.shape(action), np.shape(next_observation)
        if shapes != ((obs,), (act,), (obs,)):
            raise ValueError(f"a transition of shapes {shapes} where observations have {obs} entries and actions {act}")
        row[:obs] = observation
        row[obs : obs + act] = action
        row[obs + act] = reward
        row[obs + act + 1 : -1] = next_observation
        row[-1] = termination
        self.added += 1

    @property
    def row_bytes(self) -> int:
        """Bytes per transition."""
        return self._rows.itemsize * self._rows.shape[1]

    @property
    def size(self) -> int:
        """Number of transitions in the buffer."""
        return min(self.added, self.capacity)

    def between(self, start: int, stop: int) -> Transitions:
        """Copies of transitions `start` to `stop` of the run, in order of time. They must still be in the buffer."""
        rows = self._rows[np.arange(start, stop) % self.capacity]
        return Transitions(*map(np.ascontiguousarray, columns(rows, *self._sizes)))

    def extend(self, transitions: Transitions) -> None:
        """Add consecutive transitions.

        Raises:
            ValueError: their shapes differ from the buffer's.
        """
        number = len(transitions.rewards)
        fields = columns(self._rows, *self._sizes)
        if any(new.shape != (number, *field.shape[1:]) for field, new in zip(fields, transitions, strict=True)):
            raise ValueError("Transitions of another shape.")
        rows = np.arange(self.added, self.added + number) % self.capacity
        for field, new in zip(fields, transitions, strict=True):
            field[rows] = new
        self.added += len(rows)

    def sample(self, generator: np.random.Generator, batch_size: int) -> np.ndarray:
        """`batch_size` transitions sampled uniformly with replacement, as rows; a copy."""
        return np.take(self._rows, generator.integers(self.size, size=batch_size), axis=0)

    def stored(self) -> Transitions:
        """Views of all transitions, in the order of the rows (not of time, once the buffer has wrapped around)."""
        return columns(self._rows[: self.size], *self._sizes)

    def save(self, folder: Path) -> None:
        """Write each field to ``folder/<field>.npy``. The folder must exist; the caller makes the write atomic."""
        for name, field in self.stored()._asdict().items():
            np.save(folder / f"{name}.npy", field, allow_pickle=False)


def sample(stored: Transitions, generator: np.random.Generator, batch_size: int) -> Transitions:
    """Copies of `batch_size` transitions sampled uniformly with replacement from `stored` (or a memory map)."""
    rows = generator.integers(len(stored.rewards), size=batch_size)
    return Transitions(*(np.take(field, rows, axis=0) for field in stored))


def load_replay(folder: Path) -> Transitions:
    """The transitions saved in `folder`, memory-mapped and read-only.

    Raises:
        StudyError: a field is missing or not a plain array, or the fields don't fit together.
    """
    fields = {}
    remedy = f"Delete {folder}, and run the study again to regenerate it."
    for name in Transitions._fields:
        path = folder / f"{name}.npy"
        try:
            fields[name] = _mapped(path)
        except Exception as error:  # NumPy parses a header as Python, so a damaged one raises anything
            why = getattr(error, "strerror", None) or str(error)[:200]
            raise StudyError(f"Replay buffer field {path} can't be read: {why}. {remedy}") from None
    stored = Transitions(**fields)
    shapes = {name: field.shape for name, field in fields.items()}
    rows = {shape[0] if shape else 0 for shape in shapes.values()}
    ranks = tuple(field.ndim for field in stored)
    fits = len(rows) == 1 and 0 not in rows and ranks == (2, 2, 1, 2, 1)
    fits = fits and shapes["observations"] == shapes["next_observations"]
    if not fits or {field.dtype for field in stored} != {np.dtype(np.float32)}:
        raise StudyError(f"The fields of the replay buffer in {folder} don't fit together: {shapes}. {remedy}")
    return stored


def _mapped(path: Path) -> np.ndarray:
    """A plain float32 array in a ``.npy`` file, memory-mapped. Raises anything if the file holds something else."""
    with open(path, "rb", opener=regular) as file:
        version = np.lib.format.read_magic(file)
        if version != (1, 0):  # what NumPy writes for plain arrays
            raise ValueError(f"it has version {version[0]}.{version[1]} of the format")
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
        held = os.fstat(file.fileno()).st_size - file.tell()
        if dtype != np.float32 or math.prod(shape) * dtype.itemsize != held:
            raise ValueError(f"its {held:,} bytes are not a float32 array of the shape {shape}"[:200])
        return np.memmap(file, dtype, mode="r", offset=file.tell(), shape=shape)
