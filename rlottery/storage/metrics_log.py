"""A run's metrics: one JSON object per line, also written to TensorBoard files.

Every row has a `kind` and `env_steps`. The kinds are:

- `evaluation`: return, returns, lengths, seconds; also success and successes if the task has a success measure.
- `episode` (training): return, length and success; means over the `episodes` that ended since the last such row.
- `losses`: updates_per_second, and the algorithm's metrics, such as critic_loss; means since the last such row.
- `agent`: norms, gradient norms and sparsities by group of networks, values, replay ratio (`training.agent_metrics`).
  Runs of earlier versions have none.
"""

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from rlottery.config.sections import MOST_EPISODES, MOST_EVALUATIONS
from rlottery.errors import StudyError
from rlottery.safety.regular_files import regular
from rlottery.storage.disk import most_values, write_bytes
from rlottery.storage.stored_types import LARGEST
from rlottery.storage.syncing import WriteError, make_folder, writing

MetricsRow = dict[str, Any]

WALL_CLOCK = {"seconds", "updates_per_second"}
"""The fields of a row that measure time and so differ between identical runs."""

FLUSH_SECONDS = 10.0
"""How often the TensorBoard file is flushed."""
MAX_METRICS_BYTES = 2**30
"""The largest log that is read: about 500 million steps."""
MAX_LINE_BYTES = 2**23
"""The longest line that is read: an evaluation of 100,000 episodes."""
MOST_LINE_VALUES = 400_000
"""The most values in a line."""


class Position(NamedTuple):
    """A position in a log: the number of bytes before it, and their SHA-256."""

    bytes: int
    sha256: str


class MetricsLog:
    """Appends rows to ``metrics.jsonl``, each in one write, and scalars to TensorBoard files.

    Args:
        resume: the position to continue from; everything after it is removed. None starts a new log.
        env_steps: the run's step at that position.
    """

    def __init__(self, path: Path, tensorboard: Path, resume: Position | None = None, env_steps: int = 0):
        self._path, self._tensorboard, self._sha = path, tensorboard, hashlib.sha256()
        with writing(path):
            make_folder(path.parent)
            if resume is None:
                shutil.rmtree(tensorboard, ignore_errors=True)  # the curve of an interrupted run would overlap
                kept = b""
            else:
                with open(path, "rb", opener=regular) as file:
                    kept = file.read(resume.bytes)
            # A new file: a process that has lost this run, and doesn't know it yet, may still append to the old one.
            write_bytes(path, kept)
            self._sha.update(kept)
            self._file = open(path, "r+b", buffering=0, opener=regular)  # noqa: SIM115
            self._file.seek(len(kept))
        try:
            with writing(tensorboard):
                self._board = _Board(tensorboard, None if resume is None else env_steps + 1)
        except BaseException:
            self._file.close()
            raise

    def write(self, row: MetricsRow) -> None:
        """Append one row. Its values are JSON types, without NaN or infinity."""
        line = (json.dumps(row, allow_nan=False) + "\n").encode()
        with writing(self._path):
            if self._file.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._sha.update(line)
        scalars = {f"{row['kind']}/{name}": value for name, value in row.items() if isinstance(value, float)}
        with writing(self._tensorboard):
            self._board.write(scalars, row["env_steps"])

    def position(self) -> Position:
        """The position at the end of the log, once all of it is on the disk; TensorBoard's file is only flushed."""
        with writing(self._tensorboard):
            self._board.flush()
        with writing(self._path):
            os.fsync(self._file.fileno())
        return Position(self._file.tell(), self._sha.hexdigest())

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        self._file.close()
        try:
            with writing(self._tensorboard):
                self._board.close()
        except WriteError:
            if kind is None:  # else what was raised before says what is wrong
                raise


class _Board:
    """Writes scalars to this session's own TensorBoard file, in this thread.

    tensorboardX's SummaryWriter writes in another thread. If that thread dies, because of a full disk or a clock that
    jumps, training waits forever.

    TensorBoard reads the files of a run in the order of their names, so a later session's name comes later, whatever
    the clock says. Its first event hides what earlier sessions wrote after the checkpoint that it continues from.

    Args:
        purge: the step from which TensorBoard hides the scalars of earlier sessions.
    """

    def __init__(self, folder: Path, purge: int | None):
        from tensorboardX.event_file_writer import EventsWriter  # takes half a second, and only workers need it
        from tensorboardX.proto import event_pb2
        from tensorboardX.summary import scalar

        folder.mkdir(parents=True, exist_ok=True)
        self._event, self._scalar = event_pb2.Event, scalar
        earlier = sum(1 for _ in folder.iterdir())
        name = f"events_{earlier:04}" if earlier else "events"  # "_" sorts after the "." that follows the first one
        self._writer = EventsWriter(str(folder / name), filename_suffix=f".{os.getpid()}")
        self._flushed = time.monotonic()
        if purge is not None:
            start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
            self._writer.write_event(event_pb2.Event(wall_time=time.time(), step=purge, session_log=start))

    def write(self, scalars: dict[str, float], step: int) -> None:
        for name, value in scalars.items():
            self._writer.write_event(self._event(wall_time=time.time(), step=step, summary=self._scalar(name, value)))
        if time.monotonic() - self._flushed > FLUSH_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Put everything on the disk."""
        self._writer.flush()
        self._flushed = time.monotonic()

    def close(self) -> None:
        self._writer.close()


def read_metrics(path: Path) -> Iterator[MetricsRow]:
    """All rows of a run, one after the other. An incomplete last line, of an interrupted run, is ignored.

    Raises StudyError if the file is missing, larger than `MAX_METRICS_BYTES`, or not rlottery's metrics.
    """
    last = dict.fromkeys(KINDS, -1)
    for number, line in _lines(path):
        yield _checked_row(path, number, line, last)


def read_evaluations(path: Path) -> list[MetricsRow]:
    """The evaluation rows of a run, in order of their steps. Other rows, which are most of the file, are not parsed.

    Raises StudyError as `read_metrics`, or if there are more evaluations than `MOST_EVALUATIONS` or `MOST_EPISODES`.
    """
    rows, episodes = [], 0
    last = dict.fromkeys(KINDS, -1)
    for number, line in _lines(path):
        if line.startswith(_EVALUATION) or not (line.startswith(_KIND) and line.endswith(b"}\n")):
            row = _checked_row(path, number, line, last)
            if row["kind"] == "evaluation":
                rows.append(row)
                episodes += len(row.get("returns", ()))
                if len(rows) > MOST_EVALUATIONS + 1 or episodes > MOST_EPISODES:
                    most = f"{MOST_EVALUATIONS + 1:,} evaluations or {MOST_EPISODES:,} episodes in them"
                    raise _unusable(path, number, f"more than {most}")
    return rows


KINDS = ("evaluation", "episode", "losses", "agent")
_KIND, _EVALUATION = b'{"kind": "', b'{"kind": "evaluation"'
"""How `MetricsLog` begins a line. A line that begins in another way is parsed."""


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Number and content of each complete line."""
    try:
        with open(path, "rb", opener=regular) as file:
            if os.fstat(file.fileno()).st_size > MAX_METRICS_BYTES:
                raise ValueError(f"more than {MAX_METRICS_BYTES:,} bytes")
            number = 0
            while (line := file.readline(MAX_LINE_BYTES + 1)).endswith(b"\n"):
                number += 1
                yield number, line
            if len(line) > MAX_LINE_BYTES:
                raise _unusable(path, number + 1, f"more than {MAX_LINE_BYTES:,} bytes")
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StudyError(f"Metrics {path} can't be read: {why}. Run the study again to regenerate it.") from None


def _checked_row(path: Path, number: int, line: bytes, last: dict[str, int]) -> MetricsRow:
    """The row in a line. `last` has the last step of each kind of rows, and is kept up to date."""
    if most_values(line) > MOST_LINE_VALUES:
        raise _unusable(path, number, f"more than {MOST_LINE_VALUES:,} values")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        row = None
    if not isinstance(row, dict):
        raise _unusable(path, number, "not a JSON object")
    kind, step = row.get("kind"), row.get("env_steps")
    if not isinstance(kind, str) or kind not in last:
        raise _unusable(path, number, "not a row of rlottery's metrics")
    if type(step) is not int or not last[kind] + (kind == "evaluation") <= step <= 2**53:
        raise _unusable(path, number, "its env_steps is not a whole number, or not above those before it")
    last[kind] = step
    if kind == "evaluation" and (wrong := _wrong_in_evaluation(row)):
        raise _unusable(path, number, f"its {wrong} is not a finite number of at most {LARGEST:g}, or a list of them")
    return row


def _wrong_in_evaluation(row: MetricsRow) -> str | None:
    """The field of an evaluation that has a value of another type, or one that can't be computed with."""
    if not _is_number(row.get("return")):
        return "return"
    if "success" in row and not (_is_number(row["success"]) and 0 <= row["success"] <= 1):
        return "success"
    returns = row.get("returns", [])
    return None if isinstance(returns, list) and all(map(_is_number, returns)) else "returns"


def _is_number(value: object) -> bool:
    return (type(value) is float or type(value) is int) and abs(value) <= LARGEST  # nor is NaN


def _unusable(path: Path, number: int, why: str) -> StudyError:
    return StudyError(f"{path}:{number}: {why}. Run the study again to regenerate it.")
