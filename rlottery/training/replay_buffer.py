"""The replay buffer: a ring in NumPy, saved as one plain ``.npy`` file a field."""

from pathlib import Path

import numpy as np

from rlottery.errors import StudyError
from rlottery.storage.transitions import Transitions, columns


class ReplayBuffer:
    """A ring of the last `capacity` transitions. Memory: 4 bytes x (2 obs + act + 2) x capacity, and no more.

    Transition t of the run, counted from 0, lies in row t modulo `capacity`, all of its fields side by side: a
    minibatch is then one array.

    Attributes:
        capacity: most transitions that it holds.
        added: transitions ever added.
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
        """Write one transition over the oldest."""
        row, (obs, act) = self._rows[self.added % self.capacity], self._sizes
        row[:obs] = observation
        row[obs : obs + act] = action
        row[obs + act] = reward
        row[obs + act + 1 : -1] = next_observation
        row[-1] = termination
        self.added += 1

    @property
    def row_bytes(self) -> int:
        """Bytes of one transition."""
        return self._rows.itemsize * self._rows.shape[1]

    @property
    def size(self) -> int:
        """Transitions that it holds."""
        return min(self.added, self.capacity)

    def between(self, start: int, stop: int) -> Transitions:
        """Transitions `start` to `stop` of the run, in the order of time; copies. The ring must hold them still."""
        rows = self._rows[np.arange(start, stop) % self.capacity]
        return Transitions(*map(np.ascontiguousarray, columns(rows, *self._sizes)))

    def extend(self, transitions: Transitions) -> None:
        """Add transitions that follow each other in time.

        Raises:
            ValueError: their shapes are not this buffer's.
        """
        number = len(transitions.rewards)
        fields = columns(self._rows, *self._sizes)
        if any(new.shape != (number, *field.shape[1:]) for field, new in zip(fields, transitions, strict=True)):
            raise ValueError("Transitions of another shape.")
        rows = np.arange(self.added, self.added + number) % self.capacity
        for field, new in zip(fields, transitions, strict=True):
            field[rows] = new
        self.added += len(rows)

    def skip(self, number: int) -> None:
        """Count transitions that the ring no longer holds."""
        self.added += number

    def sample(self, generator: np.random.Generator, batch_size: int) -> np.ndarray:
        """`batch_size` transitions drawn uniformly with replacement, as rows; a copy."""
        return np.take(self._rows, generator.integers(self.size, size=batch_size), axis=0)

    def stored(self) -> Transitions:
        """Views of what the ring holds, in the order of its rows (not of time, once it has wrapped)."""
        return columns(self._rows[: self.size], *self._sizes)

    def save(self, folder: Path) -> None:
        """Write each field to ``folder/<field>.npy``. The folder must exist; atomicity is the store's business."""
        for name, field in self.stored()._asdict().items():
            np.save(folder / f"{name}.npy", field, allow_pickle=False)


def sample(stored: Transitions, generator: np.random.Generator, batch_size: int) -> Transitions:
    """`batch_size` transitions drawn uniformly with replacement from `stored`; copies, also from a memory map."""
    rows = generator.integers(len(stored.rewards), size=batch_size)
    return Transitions(*(np.take(field, rows, axis=0) for field in stored))


def load(folder: Path) -> Transitions:
    """The transitions saved in `folder`, memory-mapped and read-only.

    Raises:
        StudyError: a field is missing, is no plain array, or the fields don't fit together.
    """
    fields = {}
    mend = f"Delete {folder.parent} to train that agent again."
    for name in Transitions._fields:
        path = folder / f"{name}.npy"
        try:
            fields[name] = np.lib.format.open_memmap(path, mode="r")
        except Exception as error:  # NumPy reads a damaged header as Python, which fails in many ways
            raise StudyError(f"Replay buffer field {path} can't be read: {error}. {mend}") from None
    stored = Transitions(**fields)
    shapes = {name: field.shape for name, field in fields.items()}
    rows = {shape[0] if shape else 0 for shape in shapes.values()}
    ranks = tuple(field.ndim for field in stored)
    fits = len(rows) == 1 and 0 not in rows and ranks == (2, 2, 1, 2, 1)
    fits = fits and shapes["observations"] == shapes["next_observations"]
    if not fits or {field.dtype for field in stored} != {np.dtype(np.float32)}:
        raise StudyError(f"The replay buffer in {folder} doesn't fit together: {shapes}. {mend}")
    return stored
