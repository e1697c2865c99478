"""Several jobs in one worker process: one thread each, and one program that trains all their agents.

Each job has its own lock, log and ending, as in a process of its own. Only the process itself is shared, and so is a
crash of it.
"""

import io
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, TextIO

from rlottery.envs import OpenEnvironments
from rlottery.processes.standard_streams import lasting
from rlottery.safety.regular_files import regular
from rlottery.study.execution.endings import Ending, ending_of
from rlottery.study.execution.reports import Reports
from rlottery.study.planning.jobs import Job
from rlottery.training.vectorized_learner import Group


def run_together(
    jobs: Sequence[Job],
    attempt: Callable[[Job, Callable[..., Any], OpenEnvironments], Ending],
    reports: Reports,
    hung: Callable[[str], None],
    close_seconds: float,
) -> None:
    """Do all jobs. Returns once each has reported how it ended.

    Args:
        attempt: takes a job, a function that makes its learner, and its environments. Returns how the job ended, and
            raises nothing.
        hung: called with a message if an environment doesn't return from a call.
        close_seconds: how long to wait for the environments to close after that.
    """
    sys.stdout = sys.stderr = logs = _LogOfThread(sys.stderr)
    group = Group(len(jobs))

    def work(place: int) -> None:
        job = jobs[place]
        try:
            with _open_log(job) as log, OpenEnvironments(hung) as environments:
                logs.use(lasting(log))
                print(f"One of {len(jobs)} runs that train together. If all crash, {jobs[0].log} has the error.")
                with group.place() as make_learner:
                    ending = attempt(job, make_learner, environments)
                reports.report(place, ending)  # before the environments are closed, which may take forever
        except Exception as error:  # its log can't be written
            reports.report(place, ending_of(error, job.files.folder))

    # Daemon threads: one that hangs can't keep the process from ending.
    threads = [threading.Thread(target=work, args=[place], daemon=True) for place in range(len(jobs))]
    for thread in threads:
        thread.start()
    reports.complete.wait()
    for thread in threads:
        thread.join(close_seconds)


def _open_log(job: Job) -> TextIO:
    return open(job.log, "a", buffering=1, encoding="utf-8", errors="backslashreplace", opener=regular)


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
