"""How far a run is, in a small file that the worker renews and anyone may read."""

import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RENEW_SECONDS = 1.0
CHECK_STEPS = 10
"""Steps between two looks at the clock: training should not pay for being watched."""


@dataclass(frozen=True)
class Progress:
    """A run under way. `steps_per_second` counts environment steps, evaluations included in the time."""

    pid: int
    env_steps: int
    total_steps: int
    steps_per_second: float
    last_return: float | None = None
    last_success: float | None = None

    @property
    def seconds_left(self) -> float | None:
        """At the speed so far; None before there is one."""
        return (self.total_steps - self.env_steps) / self.steps_per_second if self.steps_per_second > 0 else None


class ProgressFile:
    """Writes `Progress` at most once a second."""

    def __init__(self, path: Path, total_steps: int):
        self._path, self._total = path, total_steps
        self._began = self._written = time.monotonic()
        self._last: dict[str, float] = {}
        self._write(0)

    def tick(self, step: int) -> None:
        """Call after each environment step."""
        if step % CHECK_STEPS == 0 and time.monotonic() - self._written >= RENEW_SECONDS:
            self._write(step)

    def saw(self, row: dict[str, Any]) -> None:
        """Take the last return and success from a metrics row, if it is an evaluation's."""
        if row["kind"] == "evaluation":
            self._last = {f"last_{name}": row[name] for name in ("return", "success") if name in row}

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)

    def _write(self, step: int) -> None:
        self._written = time.monotonic()
        elapsed = self._written - self._began
        progress = Progress(os.getpid(), step, self._total, step / elapsed if elapsed > 0 else 0.0, **self._last)
        # Not synced to disk: it is worthless after a crash.
        partial = self._path.with_suffix(".partial")
        partial.write_text(json.dumps(asdict(progress)))
        partial.replace(self._path)


def read_progress(path: Path) -> Progress | None:
    """What a run last said of itself, or None if it says nothing or its process has gone."""
    try:
        progress = Progress(**json.loads(path.read_bytes()))
        os.kill(progress.pid, 0)
    except (OSError, ValueError, TypeError):
        return None
    return progress
