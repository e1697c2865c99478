"""The progress of a run, in a small file that the worker keeps up to date and anyone may read."""

import contextlib
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from rlottery.storage.disk import read_json
from rlottery.storage.stored_types import Count, Number, Share, validated
from rlottery.storage.temporary_files import temporary_path

RENEW_SECONDS = 1.0
_MAX_BYTES = 4096
_SLOWEST = 1e-6
Phase = Literal["compiling", "evaluating"]
"""What a run does while its steps stand still: compiling its update, or evaluating the agent before the first step."""


@dataclass(frozen=True)
class Progress:
    """The progress of a run that is being trained; or of untrained policies, whose steps are policies.

    Attributes:
        steps_per_second: environment steps per second of this session. The time includes evaluations.
        last_return, last_success: of the last evaluation.
        phase: what the run does while its steps stand still. None while it takes steps.
    """

    pid: Annotated[int, Field(strict=True, gt=0, lt=2**31)]
    env_steps: Count
    total_steps: Count
    steps_per_second: Annotated[float, Field(strict=True, ge=0, le=1e12)]
    last_return: Number | None = None
    last_success: Share | None = None
    phase: Phase | None = None

    @property
    def seconds_left(self) -> float | None:
        """The time left at the current speed, or None while the speed is unknown."""
        left, speed = self.total_steps - self.env_steps, self.steps_per_second
        return left / speed if speed >= _SLOWEST else None


class ProgressFile:
    """Writes `Progress` at most once a second.

    Args:
        began_at: the step where this session began.
    """

    def __init__(self, path: Path, total_steps: int, began_at: int = 0):
        self._path, self._total, self._began_at = path, total_steps, began_at
        self._began = self._written = time.monotonic()
        self._last: dict[str, float] = {}
        self._step = began_at
        self._phase: Phase | None = None
        self._write()

    def tick(self, step: int) -> None:
        """Call after each environment step, and meanwhile as often as you like."""
        self._step = step
        if time.monotonic() - self._written >= RENEW_SECONDS:
            self._write()

    def enter(self, phase: Phase | None) -> None:
        """Call when a phase begins; with None when it is over."""
        self._phase = phase
        self._write()

    def saw(self, row: dict[str, Any]) -> None:
        """Take the last return and success from a row of metrics, if it is an evaluation."""
        if row["kind"] == "evaluation":
            self._last = {f"last_{name}": row[name] for name in ("return", "success") if name in row}
            self._write()

    def remove(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self) -> None:
        self._written = time.monotonic()
        elapsed = self._written - self._began
        speed = (self._step - self._began_at) / elapsed if elapsed > 0 else 0.0
        progress = Progress(os.getpid(), self._step, self._total, speed, phase=self._phase, **self._last)
        # Not synced: it is worthless after a crash. A full disk is reported when the metrics are written.
        with contextlib.suppress(OSError):
            partial = temporary_path(self._path)
            partial.write_text(json.dumps(asdict(progress)))
            partial.replace(self._path)


def read_progress(path: Path, *, is_remote: bool = False) -> Progress | None:
    """The last progress that a run reported, or None if there is none or its process has ended.

    Args:
        is_remote: whether the process is known to run on another machine, so that its number says nothing here.
    """
    try:
        progress = validated(Progress, read_json(path, _MAX_BYTES))
        if not is_remote:
            os.kill(progress.pid, 0)
    except (OSError, ValueError, OverflowError):
        return None
    return progress
