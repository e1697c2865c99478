"""The executor: runs the jobs of a plan at once, each in a worker process, and tells what happens.

On a CPU each job has a worker of its own, pinned to a core; on an accelerator a worker trains many runs together.
"""

import contextlib
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from rlottery.errors import RlotteryError
from rlottery.storage.checkpoint_record import newest_checkpoint
from rlottery.storage.manifests import read_manifest
from rlottery.storage.progress import Progress, read_progress
from rlottery.study.execution.bundles import TRAINED, bundles
from rlottery.study.execution.environment import available_cores
from rlottery.study.execution.worker import DISK_FULL, STOPPED
from rlottery.study.execution.worker_process import WorkerProcess, begin_log
from rlottery.study.planning.jobs import ORDER, Job, prerequisites
from rlottery.study.planning.plan import DivergedRunError, is_done

POLL_SECONDS = 0.2
GRACE_SECONDS = 25.0
"""How long a worker has to save its work and end, once it is told to."""


class JobState(Enum):
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
ENDED_BADLY = (JobState.FAILED, JobState.SKIPPED, JobState.STOPPED, JobState.DIVERGED)
_BECAME = {
    JobState.FAILED: "failed",
    JobState.SKIPPED: "was not run",
    JobState.STOPPED: "was stopped",
    JobState.DIVERGED: "diverged",
}


@dataclass
class Tracked:
    """A job and what became of it so far. `message` is for the person: an error, or why it was skipped.

    `killed` counts the times that something else killed its worker.
    """

    job: Job
    state: JobState = JobState.WAITING
    message: str = ""
    began: float = 0.0
    seconds: float = 0.0
    progress: Progress | None = None
    killed: int = 0


@dataclass
class Executor:
    """Runs jobs whose prerequisites are done, by at most `workers` at once.

    Args:
        tracked: the jobs, earlier stages first; those found done already are marked so.
        workers: how many at once; with one job each, each is pinned to a core of its own as long as there are cores.
        changed: called whenever something changed, and a few times a second anyway.
        ended: called when a job has ended in whatever way.
        stop_wanted: asked a few times a second; then workers are told to save their work and end, and no job starts.
        together: how many jobs a worker does at most; with more than one, those that train as one program.
    """

    tracked: list[Tracked]
    workers: int
    changed: Callable[[], None] = lambda: None
    ended: Callable[[Tracked], None] = lambda tracked: None
    stop_wanted: Callable[[], bool] = lambda: False
    together: int = 1
    _workers: list[WorkerProcess] = field(default_factory=list)
    _running: dict[int, WorkerProcess] = field(default_factory=dict)
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
            while self._workers or any(t.state in (JobState.WAITING, JobState.RUNNING) for t in self.tracked):
                self._collect()
                if self.stop_wanted():
                    deadline = deadline or self._tell_to_end()
                    if not self._workers or time.monotonic() > deadline:
                        break
                else:
                    self._launch()
                self.changed()
                if self._workers:
                    time.sleep(POLL_SECONDS)
        finally:
            self._kill()
        self.changed()

    def _launch(self) -> None:
        ready = self._ready()
        short = any(self.tracked[index].job.stage not in TRAINED for index in self._running)
        jobs, free = [self.tracked[index].job for index in ready], self.workers - len(self._workers)
        places = {job.key: index for job, index in zip(jobs, ready, strict=True)}
        for bundle in bundles(jobs, free, self.together, short_under_way=short):
            self._start_unless_done([places[job.key] for job in bundle])

    def _ready(self) -> list[int]:
        """The jobs that could begin, in order. Those that never can are marked so."""
        ready = []
        for index in self._order:
            tracked, before = self.tracked[index], [self.tracked[needed] for needed in self._before[index]]
            if tracked.state is not JobState.WAITING:
                continue
            if bad := next((needed for needed in before if needed.state in ENDED_BADLY), None):
                tracked.state = JobState.SKIPPED
                tracked.message = f"{bad.job.label} {_BECAME[bad.state]}"
                self.ended(tracked)
            elif all(needed.state in (JobState.DONE, JobState.FOUND) for needed in before):
                ready.append(index)
        return ready

    def _start_unless_done(self, indices: Sequence[int]) -> None:
        """Start a worker on those of the jobs that are still to do."""
        starts = {}
        for index in indices:
            tracked = self.tracked[index]
            try:
                if not is_done(tracked.job):
                    starts[index] = begin_log(tracked.job)
                    continue
                tracked.state = JobState.FOUND
            except DivergedRunError as error:
                tracked.state, tracked.message = as_diverged(tracked.job, error)
            except (RlotteryError, OSError) as error:
                tracked.state, tracked.message = JobState.FAILED, str(error)
            self.ended(tracked)
        if not starts:
            return
        jobs = {index: self.tracked[index].job for index in starts}
        try:
            worker = WorkerProcess.start(jobs, starts, self._free_core() if len(jobs) == 1 else None)
        except OSError as error:
            for index in starts:
                self.tracked[index].state, self.tracked[index].message = JobState.FAILED, str(error)
                self.ended(self.tracked[index])
            return
        self._workers.append(worker)
        for index in starts:
            self._running[index] = worker
            self.tracked[index].state, self.tracked[index].began = JobState.RUNNING, time.monotonic()

    def _collect(self) -> None:
        for index in self._running:
            tracked = self.tracked[index]
            tracked.seconds = time.monotonic() - tracked.began
            tracked.progress = read_progress(tracked.job.files.progress) or tracked.progress
        for worker in list(self._workers):
            has_ended = worker.process.poll() is not None
            for index, code in worker.codes().items():
                if self._running.pop(index, None) is not None:
                    self._judge(index, worker, code)
            if has_ended:
                self._workers.remove(worker)
                worker.end()

    def _judge(self, index: int, worker: WorkerProcess, code: int) -> None:
        """Take note of how a job ended."""
        tracked = self.tracked[index]
        if self._stopping and code in (-signal.SIGTERM, -signal.SIGKILL):
            code = STOPPED  # it had not begun to listen, or somebody was impatient
        if code == -signal.SIGKILL and not tracked.killed:
            tracked.killed += 1
            tracked.state = JobState.WAITING
            tracked.message = "its worker was killed by SIGKILL (out of memory?); it is tried once more"
            return
        tracked.message = ""
        if code == 0:
            tracked.state, tracked.message = JobState.DONE, _what_was_passed_over(tracked.job)
        elif code == STOPPED:
            tracked.state, tracked.message = JobState.STOPPED, _where_it_goes_on(tracked.job)
        elif code == DISK_FULL:
            tracked.state, tracked.message = JobState.FAILED, _no_space(tracked.job)
        else:
            tracked.state = JobState.DIVERGED if _has_diverged(tracked.job) else JobState.FAILED
            tracked.message = worker.what_went_wrong(index, code)
        self.ended(tracked)

    def _free_core(self) -> int | None:
        taken = {worker.core for worker in self._workers}
        free = [core for core in available_cores() if core not in taken]
        return free[0] if free else None

    def _tell_to_end(self) -> float:
        """Tell the workers; until when they have time for it."""
        self._stopping = True
        for worker in self._workers:
            worker.process.terminate()
        for tracked in self.tracked:
            if tracked.state is JobState.WAITING:
                tracked.state, tracked.message = JobState.SKIPPED, NOT_BEGUN
        return time.monotonic() + GRACE_SECONDS

    def _kill(self) -> None:
        for worker in self._workers:
            worker.end()
        for index in self._running:
            tracked = self.tracked[index]
            tracked.job.files.progress.unlink(missing_ok=True)
            tracked.state, tracked.message = JobState.STOPPED, _where_it_goes_on(tracked.job)
        self._workers.clear()
        self._running.clear()


def as_diverged(job: Job, error: DivergedRunError) -> tuple[JobState, str]:
    """What a run's divergence makes of a job: of its own, or of one that comes after it."""
    return JobState.DIVERGED if error.files == job.files else JobState.SKIPPED, str(error)


def worker_count(asked: int | str, todo: int, together: int = 1) -> int:
    """How many workers to use: as asked for, or one a core; never more than there is work for.

    Args:
        together: jobs of a worker; where there are more than one, an accelerator does the work, and not a core.
    """
    unasked = len(available_cores()) if together == 1 else 1
    return max(1, min(todo, unasked if asked == "auto" else int(asked)))


def _no_space(job: Job) -> str:
    return f"No space is left for {job.files.folder}. Free some, then run this command again. {_where_it_goes_on(job)}"


def _where_it_goes_on(job: Job) -> str:
    record = newest_checkpoint(job.files)
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
