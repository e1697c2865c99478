"""The executor: runs the jobs of a plan at once, one pinned worker process each, and tells what happens."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import IO

from rlottery.errors import RlotteryError
from rlottery.study.environment import available_cores, worker_environment
from rlottery.study.plan import Job, is_done, prerequisites
from rlottery.study.progress import Progress, read_progress
from rlottery.worker import FAILED, encode

WORKER = (sys.executable, "-m", "rlottery.worker")
POLL_SECONDS = 0.2
GRACE_SECONDS = 5.0
"""How long a worker has to end by itself once it is told to."""


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FOUND = "already done"
    FAILED = "failed"
    SKIPPED = "not run"


_BECAME = {State.FAILED: "failed", State.SKIPPED: "was not run"}


@dataclass
class Tracked:
    """A job and what became of it so far. `message` is for the person: an error, or why it was skipped."""

    job: Job
    state: State = State.WAITING
    message: str = ""
    began: float = 0.0
    seconds: float = 0.0
    progress: Progress | None = None


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    core: int | None
    log: IO[bytes]


@dataclass
class Executor:
    """Runs jobs whose prerequisites are done, at most `workers` at once.

    Args:
        tracked: the jobs, earlier stages first; those found done already are marked so.
        workers: how many at once; each is pinned to a core of its own as long as there are cores.
        changed: called whenever something changed, and a few times a second anyway.
    """

    tracked: list[Tracked]
    workers: int
    changed: Callable[[], None] = lambda: None
    _running: dict[int, _Worker] = field(default_factory=dict)
    _before: list[int | None] = field(init=False)

    def __post_init__(self) -> None:
        self._before = prerequisites([t.job for t in self.tracked])

    def run(self) -> None:
        """Run until nothing is left to do. A job that fails stops only what depends on it.

        An interrupt ends every worker before it is passed on.
        """
        try:
            while any(t.state in (State.WAITING, State.RUNNING) for t in self.tracked):
                self._collect()
                self._launch()
                self.changed()
                if self._running:
                    time.sleep(POLL_SECONDS)
        finally:
            self._stop_workers()
        self.changed()

    def _launch(self) -> None:
        for index, (tracked, before) in enumerate(zip(self.tracked, self._before, strict=True)):
            if tracked.state is not State.WAITING:
                continue
            state = State.FOUND if before is None else self.tracked[before].state
            if before is not None and state in (State.FAILED, State.SKIPPED):
                tracked.state = State.SKIPPED
                tracked.message = f"{self.tracked[before].job.label} {_BECAME[state]}"
            elif state in (State.DONE, State.FOUND) and len(self._running) < self.workers:
                self._start_unless_done(index, tracked)

    def _start_unless_done(self, index: int, tracked: Tracked) -> None:
        try:
            if is_done(tracked.job):
                tracked.state = State.FOUND
                return
            self._running[index] = _start(tracked.job, self._free_core())
        except (RlotteryError, OSError) as error:
            tracked.state, tracked.message = State.FAILED, str(error)
            return
        tracked.state, tracked.began = State.RUNNING, time.monotonic()

    def _collect(self) -> None:
        for index, worker in list(self._running.items()):
            tracked = self.tracked[index]
            tracked.seconds = time.monotonic() - tracked.began
            tracked.progress = read_progress(tracked.job.files.progress) or tracked.progress
            code = worker.process.poll()
            if code is None:
                continue
            worker.log.close()
            del self._running[index]
            tracked.state = State.DONE if code == 0 else State.FAILED
            if code != 0:
                tracked.message = _what_went_wrong(tracked.job, code)

    def _free_core(self) -> int | None:
        taken = {worker.core for worker in self._running.values()}
        free = [core for core in available_cores() if core not in taken]
        return free[0] if free else None

    def _stop_workers(self) -> None:
        for worker in self._running.values():
            worker.process.terminate()
        deadline = time.monotonic() + GRACE_SECONDS
        for index, worker in self._running.items():
            try:
                worker.process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.log.close()
            self.tracked[index].job.files.progress.unlink(missing_ok=True)
            self.tracked[index].state = State.SKIPPED
            self.tracked[index].message = "interrupted"
        self._running.clear()


def worker_count(asked: int | str, todo: int) -> int:
    """How many workers to use: as asked for, or one a core; never more than there is work for."""
    return max(1, min(todo, len(available_cores()) if asked == "auto" else int(asked)))


def _start(job: Job, core: int | None) -> _Worker:
    """Start a worker on a job."""
    job.files.folder.mkdir(parents=True, exist_ok=True)
    log = job.files.log(job.stage).open("wb")
    process = subprocess.Popen(
        WORKER,
        stdin=subprocess.PIPE,
        stdout=log,
        stderr=subprocess.STDOUT,
        env=worker_environment(job.config.device),
        start_new_session=True,  # Ctrl-C in the terminal is this process's to handle
    )
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # ended already: `_collect` will tell
        process.stdin.write(encode(job, core).encode())
        process.stdin.close()
    return _Worker(process, core, log)


def _what_went_wrong(job: Job, code: int) -> str:
    log = job.files.log(job.stage)
    lines = log.read_text(errors="replace").strip().splitlines() if log.is_file() else []
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if code == FAILED and errors:
        said = "\n".join(lines[errors[-1] :]).removeprefix("error: ")
        return f"{said}\nlog: {log}"
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    return f"the worker {how}; the last line of its log: {lines[-1] if lines else '(none)'}\nlog: {log}"


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name + (" (out of memory?)" if number == signal.SIGKILL else "")
    return f"signal {number}"
