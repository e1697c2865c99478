"""The executor: decides which jobs run when, starts workers on them, and follows how they end.

On a CPU each job has a worker of its own. On an accelerator a worker trains several runs together. How a worker is
started is the backend's business (`rlottery.study.execution.backend`).
"""

import signal
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rlottery.errors import RlotteryError
from rlottery.storage.disk import FULL
from rlottery.storage.progress import read_progress
from rlottery.study.execution import endings
from rlottery.study.execution.backend import Backend, Worker
from rlottery.study.execution.bundles import SHORT, bundles
from rlottery.study.execution.cores import usable_cores
from rlottery.study.execution.endings import DISK_FULL, STOPPED, Ending
from rlottery.study.execution.local import LocalBackend
from rlottery.study.planning.done import is_done
from rlottery.study.planning.finished_runs import DivergedRunError
from rlottery.study.planning.jobs import ORDER, Job, prerequisites
from rlottery.study.planning.plan import JobState, Tracked

POLL_SECONDS = 0.2
GRACE_SECONDS = 25.0
"""How long a worker may take to save its work and end once it is asked to stop."""
NOT_STARTED = "stopped before it started"
ENDED_BADLY = (JobState.FAILED, JobState.SKIPPED, JobState.STOPPED, JobState.DIVERGED)
_VERBS = {
    JobState.FAILED: "failed",
    JobState.SKIPPED: "was not run",
    JobState.STOPPED: "was stopped",
    JobState.DIVERGED: "diverged",
}


@dataclass
class Executor:
    """Runs jobs once their prerequisites are done, in at most `workers` workers at a time.

    Args:
        tracked: the jobs, earlier stages first. Those already done are marked so.
        changed: called whenever something changes, and a few times a second anyway.
        ended: called when a job has ended, however it ended.
        stop_wanted: called a few times a second. Once it returns True, workers are asked to save their work and end,
            and no job starts.
        together: the most jobs per worker. A worker with more than one trains them as one program.
    """

    tracked: list[Tracked]
    workers: int
    changed: Callable[[], None] = lambda: None
    ended: Callable[[Tracked], None] = lambda tracked: None
    stop_wanted: Callable[[], bool] = lambda: False
    together: int = 1
    backend: Backend = field(default_factory=LocalBackend)
    _workers: list[Worker] = field(default_factory=list)
    _running: dict[int, Worker] = field(default_factory=dict)
    _manifests: dict[int, int] = field(default_factory=dict)
    _before: list[list[int]] = field(init=False)
    _order: list[int] = field(init=False)
    _stopping: bool = False

    def __post_init__(self) -> None:
        jobs = [t.job for t in self.tracked]
        self._before = prerequisites(jobs)
        self._order = starting_order(jobs, self._before)

    def run(self) -> None:
        """Run until nothing is left to do, or until `stop_wanted`. A failed job stops only the jobs that depend on it.

        A worker that is killed by something else, most likely because memory ran out, is started once more. An
        exception, such as KeyboardInterrupt, kills all workers before it propagates. The files that they have written
        stay intact.
        """
        deadline = None
        try:
            while self._workers or any(t.state in (JobState.WAITING, JobState.RUNNING) for t in self.tracked):
                self._collect()
                if self.stop_wanted():
                    deadline = deadline or self._stop()
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
        """Start workers on jobs that are ready, as long as there are free workers."""
        ready = self._ready()
        short = any(self.tracked[index].job.stage in SHORT for index in self._running)
        jobs, free = [self.tracked[index].job for index in ready], self.workers - len(self._workers)
        places = {job.key: index for job, index in zip(jobs, ready, strict=True)}
        for bundle in bundles(jobs, free, self.together, short_running=short):
            self._start_unless_done([places[job.key] for job in bundle])

    def _ready(self) -> list[int]:
        """The jobs that can start, in order. Marks those that never can as skipped."""
        ready = []
        for index in self._order:
            tracked, before = self.tracked[index], [self.tracked[needed] for needed in self._before[index]]
            if tracked.state is not JobState.WAITING:
                continue
            if bad := next((needed for needed in before if needed.state in ENDED_BADLY), None):
                self._end(index, JobState.SKIPPED, f"{bad.job.label} {_VERBS[bad.state]}")
            elif all(needed.state in (JobState.DONE, JobState.FOUND) for needed in before):
                ready.append(index)
        return ready

    def _start_unless_done(self, indices: Sequence[int]) -> None:
        """Start a worker on those of the jobs that are still to do."""
        jobs: dict[int, Job] = {}
        for index in indices:
            tracked = self.tracked[index]
            try:
                if is_done(tracked.job):
                    self._end(index, JobState.FOUND)
                else:
                    endings.begin_log(tracked.job)
                    self._manifests[index] = endings.manifest_time(tracked.job)
                    jobs[index] = tracked.job
            except DivergedRunError as error:
                tracked.set_diverged(error)
                self.ended(tracked)
            except (RlotteryError, OSError) as error:
                self._fail(index, error)
        if not jobs:
            return
        try:
            worker = self.backend.start(jobs)
        except (RlotteryError, OSError) as error:
            if isinstance(error, OSError) and endings.is_lack_of_processes(error):
                self._handle_no_start(jobs, error)
            else:
                for index in jobs:
                    self._fail(index, error)
            return
        self._workers.append(worker)
        for index in jobs:
            self._running[index] = worker
            self.tracked[index].state, self.tracked[index].began = JobState.RUNNING, time.monotonic()

    def _collect(self) -> None:
        """Update the jobs that run, and handle those that have ended."""
        for index in self._running:
            tracked = self.tracked[index]
            tracked.seconds = time.monotonic() - tracked.began
            tracked.progress = read_progress(tracked.job.files.progress) or tracked.progress
        for worker in list(self._workers):
            has_ended = worker.has_ended()
            for index, ending in worker.endings().items():
                if self._running.pop(index, None) is not None:
                    self._handle_ending(index, ending, shares_worker=len(worker.jobs) > 1)
            if has_ended:
                self._workers.remove(worker)
                worker.kill()

    def _handle_no_start(self, indices: Iterable[int], error: OSError) -> None:
        """Run fewer workers from now on if others run; else the jobs have failed."""
        why = f"Another process can't be started: {error.strerror or error}"
        self.workers = max(1, len(self._workers))
        for index in indices:
            if self._workers:
                self.tracked[index].message = f"{why}; continuing with workers={self.workers}"
            else:
                self._end(
                    index,
                    JobState.FAILED,
                    f"{why}. End other programs, raise the limits of this machine (ulimit -u, ulimit -n, memory), or "
                    "run fewer workers: workers=1. Then run this command again.",
                )

    def _handle_ending(self, index: int, ending: Ending, *, shares_worker: bool) -> None:
        """Record how a job ended. Its files say whether it is done, whatever its process says or how that ended."""
        tracked, code = self.tracked[index], ending.code
        done = False
        # A run may also be asked to stop, or be killed, between its last file and its report.
        if ending.report is None or code in (0, STOPPED):
            try:
                done = is_done(tracked.job)
            except DivergedRunError as error:
                tracked.set_diverged(error)
                self.ended(tracked)
                return
            except (RlotteryError, OSError) as error:
                ending = Ending(code, ending.report or (str(error) if code == 0 else None))
        if self._stopping and ending.report is None and code in (-signal.SIGTERM, -signal.SIGKILL, STOPPED):
            ending = Ending(STOPPED, "")  # the signal came before the worker could handle it, or the user killed it
        if done:
            self._end(index, JobState.DONE, endings.remarks(tracked.job))
        elif code == -signal.SIGKILL and ending.report is None and not tracked.times_killed:
            tracked.times_killed += 1
            tracked.state = JobState.WAITING
            tracked.message = "its worker was killed by SIGKILL (out of memory?); trying once more"
        elif ending.code == STOPPED and ending.report is not None:
            self._end(index, JobState.STOPPED, endings.resume_message(tracked.job))
        elif code == DISK_FULL:
            self._end(index, JobState.FAILED, endings.disk_full_message(tracked.job))
        else:
            state = JobState.DIVERGED if endings.has_diverged(tracked.job) else JobState.FAILED
            before = self._manifests[index]
            message = endings.failure_message(tracked.job, ending, before, shares_worker=shares_worker)
            # SIGKILL comes from outside, so the run is only interrupted.
            if ending.report is None and ending.began and code != -signal.SIGKILL:
                endings.record_failure(tracked.job, message)
            self._end(index, state, message)

    def _fail(self, index: int, error: RlotteryError | OSError) -> None:
        """Record that a job couldn't be started."""
        job, message = self.tracked[index].job, str(error)
        if isinstance(error, OSError):
            is_full = error.errno in FULL
            message = endings.disk_full_message(job) if is_full else endings.unstarted_message(job, error)
        self._end(index, JobState.FAILED, message)

    def _end(self, index: int, state: JobState, message: str = "") -> None:
        """Record the final state of a job."""
        tracked = self.tracked[index]
        tracked.state, tracked.message = state, message
        if state is JobState.DONE:
            tracked.progress = endings.last_progress(tracked.job)
        self.ended(tracked)

    def _stop(self) -> float:
        """Ask all workers to stop. Returns the time until which they may run."""
        self._stopping = True
        for worker in self._workers:
            worker.stop()
        for tracked in self.tracked:
            if tracked.state is JobState.WAITING:
                tracked.state, tracked.message = JobState.SKIPPED, NOT_STARTED
        return time.monotonic() + GRACE_SECONDS

    def _kill(self) -> None:
        for worker in self._workers:
            worker.terminate()  # all at once, so that their time runs at once
        for worker in self._workers:
            worker.kill()
        killed = [self.tracked[index] for index in self._running]
        self._workers.clear()
        self._running.clear()
        for tracked in killed:
            tracked.job.files.progress.unlink(missing_ok=True)
            tracked.state, tracked.message = JobState.STOPPED, endings.resume_message(tracked.job)
            try:
                if is_done(tracked.job):  # it had just written its last file
                    tracked.state, tracked.message = JobState.DONE, endings.remarks(tracked.job)
            except DivergedRunError as error:
                tracked.set_diverged(error)
            except (RlotteryError, OSError):
                continue  # the next command says what is wrong


def worker_count(asked: int | str, jobs: int, together: int = 1) -> int:
    """How many workers to use: as many as asked for, or one per usable core, but never more than there are jobs.

    With several jobs together in a worker, an accelerator does the work, and "auto" means one worker.
    """
    automatic = usable_cores().number if together == 1 else 1
    return max(1, min(jobs, automatic if asked == "auto" else int(asked)))


def starting_order(jobs: Sequence[Job], before: Sequence[Sequence[int]]) -> list[int]:
    """The order in which jobs start when several are ready.

    Later stages come first, so that runs are finished and their replay buffers released before others start. Within a
    stage, the job with the longest chain of jobs that wait for it comes first.
    """
    chain = [1] * len(jobs)
    for index in reversed(range(len(jobs))):
        for needed in before[index]:
            chain[needed] = max(chain[needed], chain[index] + 1)
    return sorted(range(len(jobs)), key=lambda index: (-ORDER.index(jobs[index].stage), -chain[index]))
