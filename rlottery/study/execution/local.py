"""Workers on this machine: each is a child process, pinned to a core of its own while there are free cores."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from rlottery.child_process import child_environment, python_command
from rlottery.study.execution.endings import LOG_TAIL_BYTES
from rlottery.study.execution.process_environment import available_cores
from rlottery.study.execution.worker import encode
from rlottery.study.planning.jobs import Job

WORKER_COMMAND = python_command("rlottery.study.execution.worker")


class LocalBackend:
    """Starts workers as child processes."""

    def __init__(self) -> None:
        self._workers: list[LocalWorker] = []

    def start(self, jobs: Mapping[int, Job]) -> "LocalWorker":
        """Start a worker. One that does several jobs computes on an accelerator and is not pinned to a core."""
        self._workers = [worker for worker in self._workers if not worker.has_ended()]
        taken = {worker.core for worker in self._workers}
        free = next((core for core in available_cores() if core not in taken), None)
        self._workers.append(_start(jobs, free if len(jobs) == 1 else None))
        return self._workers[-1]


@dataclass(eq=False)
class LocalWorker:
    """A child process and its jobs.

    Output that belongs to none of several jobs, such as a crash's traceback, goes to the log of the first.
    """

    jobs: Mapping[int, Job]
    core: int | None
    _process: subprocess.Popen[bytes]
    _outcomes: IO[bytes]

    def has_ended(self) -> bool:
        return self._process.poll() is not None

    def exit_codes(self) -> dict[int, int]:
        code = self._process.poll()  # first: what it reported before it ended is then complete
        reported = os.pread(self._outcomes.fileno(), LOG_TAIL_BYTES, 0).split(b"\n")[:-1]
        ended = dict(json.loads(line) for line in reported)
        found = {number: ended.get(place, code) for place, number in enumerate(self.jobs)}
        return {number: code for number, code in found.items() if code is not None}

    def stop(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        self._outcomes.close()


def _start(jobs: Mapping[int, Job], core: int | None) -> LocalWorker:
    # A nameless file: it lasts as long as one of the two processes.
    outcomes = tempfile.TemporaryFile()  # noqa: SIM115
    first = next(iter(jobs.values()))
    with first.log.open("ab") as log:
        process = subprocess.Popen(
            WORKER_COMMAND,
            stdin=subprocess.PIPE,
            stdout=outcomes if len(jobs) > 1 else log,
            stderr=log,
            env=child_environment(first.config.device),
            start_new_session=True,  # Ctrl-C in the terminal reaches this process only, which then stops its workers
        )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it has already ended: its exit code says how
        process.stdin.write(encode(list(jobs.values()), core).encode())
        process.stdin.close()
    return LocalWorker(jobs, core, process, outcomes)
