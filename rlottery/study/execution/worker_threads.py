"""Several jobs in one worker process: one thread each, and one program that trains all their agents.

Each job has its own lock, log and ending, as in a process of its own. Only the process itself is shared, and so is a
crash of it. When a job ends, a JSON line on standard output reports its place among the jobs and its exit code.
"""

import contextlib
import io
import json
import os
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from typing import Any, TextIO, cast

from rlottery.study.planning.jobs import Job
from rlottery.training.vectorized_learner import Group


def run_together(jobs: Sequence[Job], attempt: Callable[[Job, Callable[..., Any]], int]) -> int:
    """Do all jobs. Returns 0 once each has reported how it ended.

    Args:
        attempt: takes a job and a function that makes its learner, and returns the job's exit code.
    """
    outcomes = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # keeps what others print out of the outcomes
    sys.stdout = sys.stderr = logs = _LogOfThread(sys.stderr)
    group = Group(len(jobs))

    def work(place: int) -> None:
        job, code = jobs[place], 1
        with contextlib.suppress(OSError), _open_log(job) as log:  # the exit code reports a full disk
            logs.use(log)
            print(f"One of {len(jobs)} runs that train together. If all crash, {jobs[0].log} has the error.")
            try:
                with group.place() as make_learner:
                    code = attempt(job, make_learner)
            except Exception:
                traceback.print_exc()
        os.write(outcomes, f"{json.dumps([place, code])}\n".encode())

    # Daemon threads: one that hangs can't keep the process from ending.
    threads = [threading.Thread(target=work, args=[place], daemon=True) for place in range(len(jobs))]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except SystemExit as end:
        # Stopping took too long. Threads can't be interrupted; the next start removes the files that they half wrote.
        os._exit(cast(int, end.code))
    return 0


def _open_log(job: Job) -> TextIO:
    return job.log.open("a", buffering=1, encoding="utf-8", errors="backslashreplace")


class _LogOfThread(io.TextIOBase):
    """Writes what a thread prints to the log of that thread, and what other threads print to `others`."""

    def __init__(self, others: TextIO):
        self._others, self._own = others, threading.local()

    def use(self, log: TextIO) -> None:
        """Write what this thread prints to `log`."""
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
