"""Workers on this machine: each is a child process, pinned to a core that no other worker is pinned to."""

import contextlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import IO

from rlottery.child_process import child_environment, python_command
from rlottery.study.execution.cores import Claim, claim_core
from rlottery.study.execution.endings import LOG_TAIL_BYTES
from rlottery.study.execution.worker import encode
from rlottery.study.planning.jobs import Job

WORKER_COMMAND = python_command("rlottery.study.execution.worker")


class LocalBackend:
    """Starts workers as child processes."""

    def start(self, jobs: Mapping[int, Job]) -> "LocalWorker":
        """Start a worker. One that does several jobs computes on an accelerator and is not pinned to a core."""
        claim = claim_core() if len(jobs) == 1 else None
        try:
            return _start(jobs, claim)
        except OSError:
            if claim:
                claim.release()
            raise


@dataclass(eq=False)
class LocalWorker:
    """A child process and its jobs.

    Output that belongs to none of several jobs, such as a crash's traceback, goes to the log of the first.
    """

    jobs: Mapping[int, Job]
    _claim: Claim | None
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
        if self._claim:
            self._claim.release()


def _start(jobs: Mapping[int, Job], claim: Claim | None) -> LocalWorker:
    first = next(iter(jobs.values()))
    # A nameless file: it lasts as long as one of the two processes. Where the log is there is room for it.
    outcomes = tempfile.TemporaryFile(dir=first.log.parent)  # noqa: SIM115
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
        process.stdin.write(encode(list(jobs.values()), claim.core if claim else None).encode())
        process.stdin.close()
    return LocalWorker(jobs, claim, process, outcomes)
