"""A worker as the process that starts it sees it: the jobs it does, how each ended, and what their logs say."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from rlottery.study.execution.environment import worker_environment
from rlottery.study.execution.worker import FAILED, encode
from rlottery.study.planning.jobs import Job

WORKER = (sys.executable, "-m", "rlottery.study.execution.worker")
LOG_TAIL_BYTES = 2**16


@dataclass(eq=False)
class WorkerProcess:
    """A process and its jobs, by whatever number the caller knows them.

    What belongs to none of several jobs, such as a crash's last words, stands in the log of the first.
    """

    process: subprocess.Popen[bytes]
    jobs: Mapping[int, Job]
    core: int | None
    _log_starts: Mapping[int, int]
    _outcomes: IO[bytes]

    @classmethod
    def start(cls, jobs: Mapping[int, Job], log_starts: Mapping[int, int], core: int | None) -> "WorkerProcess":
        """Start a worker.

        Args:
            log_starts: what `begin_log` gave for each job.
            core: to pin it to.
        """
        # Without a name, for as long as one of the two processes lives.
        outcomes = tempfile.TemporaryFile()  # noqa: SIM115
        first = next(iter(jobs.values()))
        with _log(first).open("ab") as log:
            process = subprocess.Popen(
                WORKER,
                stdin=subprocess.PIPE,
                stdout=outcomes if len(jobs) > 1 else log,
                stderr=log,
                env=worker_environment(first.config.device),
                start_new_session=True,  # Ctrl-C in the terminal is this process's to handle
            )
        assert process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # ended already: its exit code will tell
            process.stdin.write(encode(list(jobs.values()), core).encode())
            process.stdin.close()
        return cls(process, jobs, core, log_starts, outcomes)

    def codes(self) -> dict[int, int]:
        """Exit codes of the jobs that have ended: their own, or the process's if that ended before them."""
        code = self.process.poll()  # first: what it told before it ended is then there
        told = os.pread(self._outcomes.fileno(), LOG_TAIL_BYTES, 0).split(b"\n")[:-1]
        ended = dict(json.loads(line) for line in told)
        found = {number: ended.get(place, code) for place, number in enumerate(self.jobs)}
        return {number: code for number, code in found.items() if code is not None}

    def end(self) -> None:
        """Kill it, if it is still there."""
        self.process.kill()
        self.process.wait()
        self._outcomes.close()

    def what_went_wrong(self, number: int, code: int) -> str:
        """For the person, about a job that ended with this code, which is not DISK_FULL."""
        log = _log(self.jobs[number])
        lines = _last_lines(log, self._log_starts[number])
        errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
        if code == FAILED and errors:
            said = "\n".join(lines[errors[-1] :]).removeprefix("error: ")
            return f"{said}\nlog: {log}"
        how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if code == -signal.SIGKILL:
            how += " twice; fewer workers need less memory: workers=1"
            how += ", and RLOTTERY_TOGETHER=0 in the environment" if len(self.jobs) > 1 else ""
        return f"the worker {how}; the last line of its log: {lines[-1] if lines else '(none)'}\nlog: {log}"


def begin_log(job: Job) -> int:
    """Make the job's folder and its log, unless there is one to add to; where what is added will begin."""
    job.files.folder.mkdir(parents=True, exist_ok=True)
    with _log(job).open("ab") as log:
        return log.tell()


def _log(job: Job) -> Path:
    return job.files.log(job.stage)


def _last_lines(log: Path, start: int) -> list[str]:
    """What a worker wrote to its log, the end of it if that is long."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return []


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name + (" (out of memory?)" if number == signal.SIGKILL else "")
    return f"signal {number}"
