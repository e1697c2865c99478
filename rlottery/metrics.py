"""A run's metrics: one JSON object a line, mirrored to TensorBoard as they come.

Rows have a `kind` and `env_steps`. `evaluation`: return, returns, lengths, seconds, and where the task knows success,
success and successes. `episode` (training): return, length, success. `losses`: critic_loss, actor_loss, temperature,
entropy, updates_per_second: means since the last such row.
"""

import json
import shutil
from pathlib import Path
from types import TracebackType
from typing import Any

from rlottery.errors import StudyError

Row = dict[str, Any]


class MetricsLog:
    """Appends rows to a new ``metrics.jsonl``, each in one write, and scalars to TensorBoard files."""

    def __init__(self, path: Path, tensorboard: Path):
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(tensorboard, ignore_errors=True)  # of a run cut short: its curve would cross this one's
        self._file = path.open("wb", buffering=0)
        from tensorboardX import SummaryWriter  # takes half a second, and only workers write

        self._summary = SummaryWriter(str(tensorboard), flush_secs=10)

    def write(self, row: Row) -> None:
        """Append one row of plain JSON types, without NaN or infinity."""
        self._file.write((json.dumps(row, allow_nan=False) + "\n").encode())
        for name, value in row.items():
            if isinstance(value, float):
                self._summary.add_scalar(f"{row['kind']}/{name}", value, row["env_steps"])

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()
        self._summary.close()


def read_metrics(path: Path) -> list[Row]:
    """All rows of a run. A last line without its end, from a run cut short, is left out.

    Raises:
        StudyError: the file is missing, or a whole line is no JSON object.
    """
    try:
        lines = path.read_bytes().split(b"\n")[:-1]
    except OSError as error:
        raise StudyError(f"Metrics {path} can't be read: {error.strerror}. Train that run again.") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise StudyError(f"{path}:{number}: not a JSON object. Delete the run's folder to train it again.")
        rows.append(row)
    return rows


def evaluations(rows: list[Row]) -> list[Row]:
    """The evaluation rows, in order of their steps."""
    return [row for row in rows if row["kind"] == "evaluation"]
