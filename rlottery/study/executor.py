"""The executor: runs the jobs of a plan at once, one pinned worker process each, and tells what happens."""

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import IO

from rlottery.checkpoint_record import newest
from rlottery.errors import RlotteryError
from rlottery.manifests import read_manifest
from rlottery.study.environment import available_cores, worker_environment
from rlottery.study.jobs import ORDER, Job, prerequisites
from rlottery.study.plan import DivergedRunError, is_done
from rlottery.study.progress import Progress, read_progress
from rlottery.worker import DISK_FULL, FAILED, STOPPED, encode

WORKER = (sys.executable, "-m", "rlottery.worker")
POLL_SECONDS = 0.2
LOG_TAIL_BYTES = 2**16
GRACE_SECONDS = 25.0
"""How long a worker has to save its work and end, once it is told to."""


class State(Enum):
    """Where a job stands."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FOUND = "already done"
    FAILED = "failed"
    SKIPPED = "not run"
    STOPPED = "stopped"
    DIVERGED = "diverged"


NOT_BEGUN = "stopped before it began"
ENDED_BADLY = (State.FAILED, State.SKIPPED, State.STOPPED, State.DIVERGED)
_BECAME = {
    State.FAILED: "failed",
    State.SKIPPED: "was not run",
    State.STOPPED: "was stopped",
    State.DIVERGED: "diverged",
}


@dataclass
class Tracked:
    """A job and what became of it so far. `message` is for the person: an error, or why it was skipped.

    `killed` counts the times that something else killed its worker.
    """

    job: Job
    state: State = State.WAITING
    message: str = ""
    began: float = 0.0
    seconds: float = 0.0
    progress: Progress | None = None
    killed: int = 0


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    core: int | None
    log: IO[bytes]
    log_start: int


@dataclass
class Executor:
    """Runs jobs whose prerequisites are done, at most `workers` at once.

    Args:
        tracked: the jobs, earlier stages first; those found done already are marked so.
        workers: how many at once; each is pinned to a core of its own as long as there are cores.
        changed: called whenever something changed, and a few times a second anyway.
        ended: called when a job has ended in whatever way.
        stop_wanted: asked a few times a second; then workers are told to save their work and end, and no job starts.
    """

    tracked: list[Tracked]
    workers: int
    changed: Callable[[], None] = lambda: None
    ended: Callable[[Tracked], None] = lambda tracked: None
    stop_wanted: Callable[[], bool] = lambda: False
    _running: dict[int, _Worker] = field(default_factory=dict)
    _before: list[list[int]] = field(init=False)
    _order: list[int] = field(init=False)
    _stopping: bool = False

    def __post_init__(self) -> None:
        self._before = prerequisites([t.job for t in self.tracked])
        chain = [1] * len(self.tracked)
        for index in reversed(range(len(self.tracked))):
            for before in self._before[index]:
                chain[before] = max(chain[before], chain[index] + 1)
        # Later stages first: what was begun is finished, and a buffer that is to go goes, before more is begun. Among
        # equals the one that most has to wait for, one after the other.
        stages = [ORDER.index(t.job.stage) for t in self.tracked]
        self._order = sorted(range(len(self.tracked)), key=lambda index: (-stages[index], -chain[index]))

    def run(self) -> None:
        """Run until nothing is left to do, or until it is to stop. A job that fails stops only what depends on it.

        A worker that something else killed (out of memory, most likely) is started once more. An exception, such as
        an interrupt, kills every worker before it is passed on: what they wrote stays whole.
        """
        deadline = None
        try:
            while any(t.state in (State.WAITING, State.RUNNING) for t in self.tracked):
                self._collect()
                if self.stop_wanted():
                    deadline = deadline or self._tell_to_end()
                    if not self._running or time.monotonic() > deadline:
                        break
                else:
                    self._launch()
                self.changed()
                if self._running:
                    time.sleep(POLL_SECONDS)
        finally:
            self._kill()
        self.changed()

    def _launch(self) -> None:
        for index in self._order:
            tracked, before = self.tracked[index], [self.tracked[needed] for needed in self._before[index]]
            if tracked.state is not State.WAITING:
                continue
            if bad := next((needed for needed in before if needed.state in ENDED_BADLY), None):
                tracked.state = State.SKIPPED
                tracked.message = f"{bad.job.label} {_BECAME[bad.state]}"
                self.ended(tracked)
            elif len(self._running) < self.workers and all(n.state in (State.DONE, State.FOUND) for n in before):
                self._start_unless_done(index, tracked)

    def _start_unless_done(self, index: int, tracked: Tracked) -> None:
        try:
            if is_done(tracked.job):
                tracked.state = State.FOUND
                self.ended(tracked)
                return
            self._running[index] = _start(tracked.job, self._free_core())
        except DivergedRunError as error:
            tracked.state, tracked.message = as_diverged(tracked.job, error)
        except (RlotteryError, OSError) as error:
            tracked.state, tracked.message = State.FAILED, str(error)
        else:
            tracked.state, tracked.began = State.RUNNING, time.monotonic()
            return
        self.ended(tracked)

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
            self._judge(tracked, worker, code)

    def _judge(self, tracked: Tracked, worker: _Worker, code: int) -> None:
        """Take note of how a worker ended."""
        if self._stopping and code in (-signal.SIGTERM, -signal.SIGKILL):
            code = STOPPED  # it had not begun to listen, or somebody was impatient
        if code == -signal.SIGKILL and not tracked.killed:
            tracked.killed += 1
            tracked.state = State.WAITING
            tracked.message = "its worker was killed by SIGKILL (out of memory?); it is tried once more"
            return
        tracked.message = ""
        if code == 0:
            tracked.state, tracked.message = State.DONE, _what_was_passed_over(tracked.job)
        elif code == STOPPED:
            tracked.state, tracked.message = State.STOPPED, _where_it_goes_on(tracked.job)
        elif _has_diverged(tracked.job):
            tracked.state, tracked.message = State.DIVERGED, _what_went_wrong(tracked.job, worker, code)
        else:
            tracked.state, tracked.message = State.FAILED, _what_went_wrong(tracked.job, worker, code)
        self.ended(tracked)

    def _free_core(self) -> int | None:
        taken = {worker.core for worker in self._running.values()}
        free = [core for core in available_cores() if core not in taken]
        return free[0] if free else None

    def _tell_to_end(self) -> float:
        """Tell the workers; until when they have time for it."""
        self._stopping = True
        for worker in self._running.values():
            worker.process.terminate()
        for tracked in self.tracked:
            if tracked.state is State.WAITING:
                tracked.state, tracked.message = State.SKIPPED, NOT_BEGUN
        return time.monotonic() + GRACE_SECONDS

    def _kill(self) -> None:
        for index, worker in self._running.items():
            worker.process.kill()
            worker.process.wait()
            worker.log.close()
            tracked = self.tracked[index]
            tracked.job.files.progress.unlink(missing_ok=True)
            tracked.state, tracked.message = State.STOPPED, _where_it_goes_on(tracked.job)
        self._running.clear()


def as_diverged(job: Job, error: DivergedRunError) -> tuple[State, str]:
    """What a run's divergence makes of a job: of its own, or of one that comes after it."""
    return State.DIVERGED if error.files == job.files else State.SKIPPED, str(error)


def worker_count(asked: int | str, todo: int) -> int:
    """How many workers to use: as asked for, or one a core; never more than there is work for."""
    return max(1, min(todo, len(available_cores()) if asked == "auto" else int(asked)))


def _start(job: Job, core: int | None) -> _Worker:
    """Start a worker on a job; its log is added to."""
    job.files.folder.mkdir(parents=True, exist_ok=True)
    log = job.files.log(job.stage).open("ab")
    began = log.tell()
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
    return _Worker(process, core, log, began)


def _what_went_wrong(job: Job, worker: _Worker, code: int) -> str:
    log = job.files.log(job.stage)
    if code == DISK_FULL:
        return (
            f"No space is left for {job.files.folder}. Free some, then run this command again. {_where_it_goes_on(job)}"
        )
    lines = _last_lines(log, worker.log_start)
    errors = [index for index, line in enumerate(lines) if line.startswith("error: ")]
    if code == FAILED and errors:
        said = "\n".join(lines[errors[-1] :]).removeprefix("error: ")
        return f"{said}\nlog: {log}"
    how = f"was killed by {_signal_name(-code)}" if code < 0 else f"ended with exit code {code}"
    again = " twice; fewer workers need less memory: workers=1" if code == -signal.SIGKILL else ""
    return f"the worker {how}{again}; the last line of its log: {lines[-1] if lines else '(none)'}\nlog: {log}"


def _last_lines(log: Path, start: int) -> list[str]:
    """What a worker wrote to its log, the end of it if that is long."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - LOG_TAIL_BYTES))
            return file.read().decode(errors="replace").strip().splitlines()
    except OSError:
        return []


def _where_it_goes_on(job: Job) -> str:
    record = newest(job.files)
    return f"It goes on from step {record['env_steps']:,}." if record else "It begins again."


def _what_was_passed_over(job: Job) -> str:
    """Damage that the run's last sitting found in its checkpoints."""
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files) if job.stage in ("dense", "ticket") else None
        if manifest and (sittings := manifest.get("sittings")):
            return "; ".join(f"damaged, and passed over: {note}" for note in sittings[-1]["notes"])
    return ""


def _has_diverged(job: Job) -> bool:
    with contextlib.suppress(RlotteryError):
        manifest = read_manifest(job.files)
        return manifest is not None and manifest["status"] == "diverged"
    return False


def _signal_name(number: int) -> str:
    with contextlib.suppress(ValueError):
        return signal.Signals(number).name + (" (out of memory?)" if number == signal.SIGKILL else "")
    return f"signal {number}"
