"""How a worker reports the ends of its jobs, where the code that runs in it can't interfere."""

import contextlib
import json
import os
from threading import Event, Lock

from rlottery.study.execution.endings import Ending

BEGAN = -1
"""The place in a report that says that the process has come as far as its jobs."""
MOST_CHARACTERS = 8_000
"""The longest message that is reported; the job's log has all of it."""


class Reports:
    """Reports how each of a worker's jobs has ended. What ends a job first counts.

    Args:
        file: the file descriptor to write to; None if nobody reads reports. Processes that this one starts don't
            inherit it.
        jobs: the number of jobs.

    Attributes:
        complete: set once all have been reported.
    """

    def __init__(self, file: int | None, jobs: int):
        self._file, self._jobs = file, jobs
        self._endings: dict[int, Ending] = {}
        self._lock = Lock()
        self.complete = Event()
        if file is not None:
            os.set_inheritable(file, False)

    def begin(self) -> None:
        """Report that the jobs begin now."""
        self._write(BEGAN, Ending(0))

    def report(self, place: int, ending: Ending) -> None:
        """Report the end of the job at this place among the worker's jobs."""
        with self._lock:
            if place in self._endings:
                return
            self._endings[place] = ending
            self._write(place, ending)
            if len(self._endings) == self._jobs:
                self.complete.set()

    def _write(self, place: int, ending: Ending) -> None:
        if self._file is not None:
            line = json.dumps([place, ending.code, (ending.report or "")[:MOST_CHARACTERS]])
            with contextlib.suppress(OSError):  # a full disk: the exit code of the process has to do
                os.write(self._file, f"\n{line}\n".encode())  # the last one may have been cut off

    def report_rest(self, ending: Ending) -> None:
        """Report the same end for all jobs that have none yet."""
        for place in range(self._jobs):
            self.report(place, ending)

    def exit_code(self) -> int:
        """The exit code of the process: that of the only job, or 0."""
        return self._endings[0].code if self._jobs == 1 and self._endings else 0


def read_reports(file: int) -> dict[int, Ending]:
    """What has been reported so far, by the job's place among the worker's jobs, and `BEGAN` if they have begun.

    Skips what a full disk has cut off.
    """
    found = {}
    for line in os.pread(file, os.fstat(file).st_size, 0).split(b"\n")[:-1]:
        with contextlib.suppress(ValueError):
            place, *ending = json.loads(line)
            found[place] = Ending(*ending)
    return found
