"""Reads a run's metrics as they are written, step by step.

All rows of an environment step are sent as one, because trackers keep one set of values per step. A step is complete
once a row of a later one has been written, or the run is done. A run that continues from a checkpoint writes a new file
with the rows up to there, and then the same rows as before; the reader begins again with this file.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rlottery.safety.regular_files import regular
from rlottery.storage.disk import most_values
from rlottery.storage.metrics_log import MAX_LINE_BYTES, MAX_METRICS_BYTES, MOST_LINE_VALUES, MetricsRow


class Step(NamedTuple):
    """What was measured at an environment step, by names such as ``losses/critic_loss``."""

    env_steps: int
    values: dict[str, float]


class StepReader:
    """Reads the steps of a log that may still grow."""

    def __init__(self, path: Path):
        self._path, self._file, self._offset = path, (0, 0), 0
        self._step: int | None = None
        self._values: dict[str, float] = {}

    def read(self, after: int, *, is_done: bool) -> Iterator[Step]:
        """The complete steps since the last call that are later than `after`.

        Args:
            is_done: whether no more rows will come, so that the last step is complete.

        Raises:
            OSError: the log can't be read.
            ValueError: it is not rlottery's.
        """
        for row in self._new_rows():
            step = row["env_steps"]
            if self._step is not None and step > self._step:
                yield from self._complete(after)
            self._step = step
            self._values |= values_of(row)
        if is_done:
            yield from self._complete(after)

    def _complete(self, after: int) -> Iterator[Step]:
        step, values = self._step, self._values
        self._step, self._values = None, {}
        if step is not None and step > after and values:
            yield Step(step, values)

    def _new_rows(self) -> Iterator[MetricsRow]:
        with contextlib.suppress(FileNotFoundError), open(self._path, "rb", opener=regular) as file:
            status = os.fstat(file.fileno())
            if (status.st_dev, status.st_ino) != self._file or status.st_size < self._offset:
                self._file, self._offset = (status.st_dev, status.st_ino), 0
                self._step, self._values = None, {}
            if status.st_size > MAX_METRICS_BYTES:
                raise ValueError(f"{self._path} has more than {MAX_METRICS_BYTES:,} bytes")
            file.seek(self._offset)
            while (line := file.readline(MAX_LINE_BYTES + 1)).endswith(b"\n"):
                self._offset += len(line)
                yield _row(self._path, line)


def values_of(row: MetricsRow) -> dict[str, float]:
    """The numbers of a row, as TensorBoard shows them, and the mean length of an evaluation's episodes."""
    values = {f"{row['kind']}/{name}": value for name, value in row.items() if isinstance(value, float)}
    if row["kind"] == "evaluation" and (lengths := row.get("lengths")):
        values["evaluation/length"] = sum(lengths) / len(lengths)
    return values


def _row(path: Path, line: bytes) -> MetricsRow:
    row = json.loads(line) if most_values(line) <= MOST_LINE_VALUES else None
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str) or type(row.get("env_steps")) is not int:
        raise ValueError(f"{path} has a line that is not a row of rlottery's metrics")
    return row
