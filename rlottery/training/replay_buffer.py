"""The replay buffer: a ring buffer in NumPy, saved as one plain ``.npy`` file per field."""

import math
import os
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from rlottery.errors import StudyError
from rlottery.safety.regular_files import regular
from rlottery.storage.transitions import Transitions, columns

_Stored = TypeVar("_Stored", bound="tuple[Any, ...]")


class ReplayBuffer:
    """The last `capacity` transitions of a run. Uses exactly 4 bytes x (2 obs + act + 2) x capacity.

    Transition t of the run, counted from 0, is in row t modulo `capacity`. All of its fields are in that row, so a
    minibatch is a single array.

    Args:
        with_ends: whether the ends of episodes are stored, in another 4 bytes of each row.

    Attributes:
        capacity: the maximum number of transitions.
        added: transitions added so far, including those since overwritten. Set it to continue a run's count.
    """

    def __init__(self, capacity: int, observation_size: int, action_size: int, *, with_ends: bool = False):
        self.capacity = capacity
        self.added = 0
        self._sizes, self._with_ends = (observation_size, action_size), with_ends
        self._rows = np.empty((capacity, 2 * observation_size + action_size + 2 + with_ends), np.float32)

    def add(
        self,
        observation: np.ndarray,
        action: np.ndarray,
        reward: float,
        next_observation: np.ndarray,
        termination: bool,
        end: bool = False,
    ) -> None:
        """Add one transition. A full buffer overwrites its oldest.

        Args:
            end: whether the episode ended, for either reason. Stored only `with_ends`.

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
        row[obs + act + 1 : 2 * obs + act + 1] = next_observation
        row[2 * obs + act + 1] = termination
        if self._with_ends:
            row[-1] = end
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
        stored = columns(self.rows_between(start, stop), *self._sizes)
        return Transitions(**{name: np.ascontiguousarray(field) for name, field in stored.fields.items()})

    def rows_between(self, start: int, stop: int) -> np.ndarray:
        """As `between`, but as rows."""
        rows: np.ndarray = self._rows[np.arange(start, stop) % self.capacity]
        return rows

    def extend(self, transitions: Transitions) -> None:
        """Add consecutive transitions.

        Raises:
            ValueError: their shapes differ from the buffer's.
        """
        number, given = len(transitions.rewards), transitions.fields
        fields = columns(self._rows, *self._sizes).fields
        wanted = {name: (number, *field.shape[1:]) for name, field in fields.items()}
        if {name: new.shape for name, new in given.items()} != wanted:
            raise ValueError("Transitions of another shape.")
        rows = np.arange(self.added, self.added + number) % self.capacity
        for name, field in fields.items():
            field[rows] = given[name]
        self.added += len(rows)

    def sample(self, generator: np.random.Generator, batch_size: int) -> np.ndarray:
        """`batch_size` transitions sampled uniformly with replacement, as rows; a copy."""
        return np.take(self._rows, generator.integers(self.size, size=batch_size), axis=0)

    def stored(self) -> Transitions:
        """Views of all transitions, in the order of the rows (not of time, once the buffer has wrapped around)."""
        return columns(self._rows[: self.size], *self._sizes)

    def save(self, folder: Path) -> None:
        """Write each field to ``folder/<field>.npy``. The folder must exist; the caller makes the write atomic."""
        for name, field in self.stored().fields.items():
            np.save(folder / f"{name}.npy", field, allow_pickle=False)


def sample(stored: _Stored, generator: np.random.Generator, batch_size: int) -> _Stored:
    """Copies of `batch_size` transitions sampled uniformly with replacement from `stored` (or a memory map).

    Args:
        stored: `Transitions`, or what an on-policy algorithm makes of them: a NamedTuple of arrays of one length.
    """
    rows = generator.integers(len(stored[0]), size=batch_size)
    taken: Any = [None if field is None else np.take(field, rows, axis=0) for field in stored]
    return type(stored)(*taken)


def load_replay(folder: Path) -> Transitions:
    """The transitions saved in `folder`, memory-mapped and read-only.

    Raises:
        StudyError: a field is missing or not a plain array, or the fields don't fit together.
    """
    fields = {}
    remedy = f"Delete {folder}, and run the study again to regenerate it."
    for name in Transitions._fields:
        path = folder / f"{name}.npy"
        if name in Transitions._field_defaults and not path.exists():
            continue
        try:
            fields[name] = _mapped(path)
        except Exception as error:  # NumPy parses a header as Python, so a damaged one raises anything
            why = getattr(error, "strerror", None) or str(error)[:200]
            raise StudyError(f"{path} can't be read: {why}. {remedy}") from None
    stored = Transitions(**fields)
    shapes = {name: field.shape for name, field in fields.items()}
    rows = {shape[0] if shape else 0 for shape in shapes.values()}
    ranks = tuple(field.ndim for field in fields.values())
    fits = len(rows) == 1 and 0 not in rows and ranks == (2, 2, 1, 2, 1, 1)[: len(fields)]
    fits = fits and shapes["observations"] == shapes["next_observations"]
    if not fits or {field.dtype for field in fields.values()} != {np.dtype(np.float32)}:
        raise StudyError(f"The arrays in {folder} don't fit together: {shapes}. {remedy}")
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
