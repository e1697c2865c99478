"""Several jobs in one worker process: a thread each, and one program that trains the agents of all.

Each job has its lock, its log and its end, as in a process of its own: only the process itself, and a crash of it, is
shared. How each has ended is told on standard output as it comes, a JSON line each: its place and its exit code.
"""

import contextlib
import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO, cast

from rlottery.study.planning.jobs import Job
from rlottery.training.vectorized_learner import Group


def run_together(jobs: Sequence[Job], attempt: Callable[[Job, Callable[..., Any]], int]) -> int:
    """Do all jobs; 0 once all have told how they ended.

    Args:
        attempt: (job, what makes its learner) -> its exit code.
    """
    outcomes = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what others print is no outcome
    sys.stdout = sys.stderr = logs = _LogOfThread(sys.stderr)
    group = Group(len(jobs))

    def work(place: int) -> None:
        job, code = jobs[place], 1
        with contextlib.suppress(OSError), _open(job) as log:  # of a full disk, the exit code tells
            logs.use(log)
            print(f"One of {len(jobs)} runs that train together; a crash of all is in {_path(jobs[0])}.")
            try:
                with group.place() as make_learner:
                    code = attempt(job, make_learner)
            except Exception:
                traceback.print_exc()
        os.write(outcomes, f"{json.dumps([place, code])}\n".encode())

    # Daemons: one that hangs would keep the process from its end.
    threads = [threading.Thread(target=work, args=[place], daemon=True) for place in range(len(jobs))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except SystemExit as end:
        # Told to end, and out of time. Threads can't be interrupted: the next start removes what they half wrote.
        os._exit(cast(int, end.code))
    return 0


def _path(job: Job) -> Path:
    return job.files.log(job.stage)


def _open(job: Job) -> TextIO:
    return _path(job).open("a", buffering=1, encoding="utf-8", errors="backslashreplace")


class _LogOfThread(io.TextIOBase):
    """Writes what a thread prints to that thread's own log, and what others print to `others`."""

    def __init__(self, others: TextIO):
        self._others, self._own = others, threading.local()

    def use(self, log: TextIO) -> None:
        """Take `log` for what this thread prints."""
        self._own.log = log

    def write(self, text: str) -> int:
        return self._log().write(text)

    def flush(self) -> None:
        self._log().flush()

    def fileno(self) -> int:
        return self._others.fileno()

    def _log(self) -> TextIO:
        log: TextIO = getattr(self._own, "log", self._others)
        return log
