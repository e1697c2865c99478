"""The executor: decides which jobs run when, starts workers on them, and follows how they end.

On a CPU each job has a worker of its own. On an accelerator a worker trains several runs together. On a cluster a
worker is an allocation, which does all stages of its runs. How a worker is started is the backend's business
(`rlottery.study.execution.backend`).
"""

import signal
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from rlottery.errors import RlotteryError
from rlottery.storage.disk import FULL
from rlottery.storage.paths import RunFiles
from rlottery.storage.progress import read_progress
from rlottery.study.execution import endings
from rlottery.study.execution.backend import Answer, Backend, Worker
from rlottery.study.execution.bundles import SHORT, bundles, shares
from rlottery.study.execution.cores import usable_cores
from rlottery.study.execution.endings import AGAIN_LATER, DISK_FULL, STOPPED, Ending
from rlottery.study.execution.local import LocalBackend
from rlottery.study.planning.done import is_done
from rlottery.study.planning.finished_runs import DivergedRunError
from rlottery.study.planning.jobs import ORDER, Job, Key, prerequisites
from rlottery.study.planning.plan import JobState, Tracked

POLL_SECONDS = 0.2
PROGRESS_FILES = 100
"""The most files of running jobs that are read at a time, so that a shared file system has little to do."""
GRACE_SECONDS = 25.0
"""How long a worker may take to save its work and end once it is asked to stop."""
NOT_STARTED = "stopped before it started"
ENDED_BADLY = (JobState.FAILED, JobState.SKIPPED, JobState.STOPPED, JobState.DIVERGED)
_ENDED_WELL = (JobState.DONE, JobState.FOUND)
_NOT_ENDED = (JobState.WAITING, JobState.RUNNING)
_VERBS = {
    JobState.FAILED: "failed",
    JobState.SKIPPED: "was not run",
    JobState.STOPPED: "was stopped",
    JobState.DIVERGED: "diverged",
}


class _Waiting(Mapping[int, Job]):
    """The jobs that wait, by number. Nothing is looked at until a backend asks: there may be thousands of them."""

    def __init__(self, tracked: Sequence[Tracked]):
        self._tracked = tracked

    def __getitem__(self, index: int) -> Job:
        if self._tracked[index].state is not JobState.WAITING:
            raise KeyError(index)
        return self._tracked[index].job

    def __iter__(self) -> Iterator[int]:
        return (index for index, item in enumerate(self._tracked) if item.state is JobState.WAITING)

    def __len__(self) -> int:
        return sum(1 for _ in self)


@dataclass
class Executor:
    """Runs jobs once their prerequisites are done, in at most `workers` workers at a time.

    If the workers are remote, the end of `run` leaves them alone.

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
    _looked: int = 0
    _before: list[list[int]] = field(init=False)
    _order: list[int] = field(init=False)
    _of_run: dict[RunFiles, list[int]] = field(init=False)
    _stopping: bool = False

    def __post_init__(self) -> None:
        jobs = [t.job for t in self.tracked]
        self._before = prerequisites(jobs)
        self._order = starting_order(jobs, self._before)
        self._of_run = {}
        for index, job in enumerate(jobs):
            self._of_run.setdefault(job.files, []).append(index)

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
                    if self.backend.is_remote:
                        break
                    deadline = deadline or self._stop()
                    if not self._workers or time.monotonic() > deadline:
                        break
                else:
                    self._adopt()
                    self._launch()
                self.changed()
                if self._workers or self.backend.is_remote:
                    time.sleep(max(POLL_SECONDS, self.backend.poll_seconds))
        finally:
            try:
                if not self.backend.is_remote:
                    self._kill()
            finally:
                self.backend.close()
        self.changed()

    def _adopt(self) -> None:
        """Follow the workers that earlier commands have left with jobs of this one."""
        for worker in self.backend.adopt(_Waiting(self.tracked)):
            self._follow(worker)

    def _launch(self) -> None:
        """Start workers on jobs that are ready, as long as there are free workers."""
        bundled = [jobs for indices in self._bundles() if (jobs := self._to_start(indices))]
        for jobs, answer in zip(bundled, self.backend.submit(bundled) if bundled else (), strict=True):
            self._take(jobs, answer)

    def _bundles(self) -> list[list[int]]:
        """The jobs that each of the free workers starts."""
        free = min(self.workers, self.backend.capacity or self.workers) - len(self._workers)
        if free <= 0:
            return []
        ready = self._ready()
        if self.backend.cores is not None:
            runs = [self._stages_of_run(index) for index in ready[: max(0, free) * self.backend.cores]]
            return [[index for run in share for index in run] for share in shares(runs, self.backend.cores)]
        short = any(self.tracked[index].job.stage in SHORT for index in self._running)
        ready = ready[:free] if self.together == 1 else ready
        jobs = [self.tracked[index].job for index in ready]
        places = {job.key: index for job, index in zip(jobs, ready, strict=True)}
        return [[places[job.key] for job in of] for of in bundles(jobs, free, self.together, short_running=short)]

    def _stages_of_run(self, ready: int) -> list[int]:
        """A job that is ready and the later ones of its run that need nothing else to be done first."""
        found, files = [ready], self.tracked[ready].job.files
        for index in self._of_run[files]:
            before = (needed for needed in self._before[index] if needed not in found)
            if (
                index not in found
                and self.tracked[index].state is JobState.WAITING
                and all(self.tracked[needed].state in _ENDED_WELL for needed in before)
            ):
                found.append(index)
        return found

    def _ready(self) -> list[int]:
        """The jobs that can start, in order. Marks those that never can as skipped."""
        ready = []
        self._order = [index for index in self._order if self.tracked[index].state in _NOT_ENDED]
        for index in self._order:
            if self.tracked[index].state is not JobState.WAITING:
                continue
            before = [self.tracked[needed] for needed in self._before[index]]
            if bad := next((needed for needed in before if needed.state in ENDED_BADLY), None):
                self._end(index, JobState.SKIPPED, f"{bad.job.label} {_VERBS[bad.state]}")
            elif all(needed.state in _ENDED_WELL for needed in before):
                ready.append(index)
        return ready

    def _to_start(self, indices: Sequence[int]) -> dict[int, Job]:
        """Those of the jobs that are still to do. Each may need the files of those before it."""
        jobs: dict[int, Job] = {}
        pending: set[Key] = set()
        for index in indices:
            tracked = self.tracked[index]
            try:
                if is_done(tracked.job, pending & {self.tracked[needed].job.key for needed in self._before[index]}):
                    self._end(index, JobState.FOUND)
                else:
                    endings.begin_log(tracked.job)
                    self._manifests[index] = endings.manifest_time(tracked.job)
                    jobs[index] = tracked.job
                    pending.add(tracked.job.key)
            except DivergedRunError as error:
                tracked.set_diverged(error)
                self.ended(tracked)
            except (RlotteryError, OSError) as error:
                self._fail(index, error)
        return jobs

    def _take(self, jobs: Mapping[int, Job], answer: Answer) -> None:
        """Handle what became of jobs that the backend was asked to start."""
        if isinstance(answer, OSError) and endings.is_lack_of_processes(answer):
            self._handle_no_start(jobs, answer)
        elif isinstance(answer, RlotteryError | OSError):
            for index in jobs:
                self._fail(index, answer)
        elif answer is not None:
            self._follow(answer)

    def _follow(self, worker: Worker) -> None:
        self._workers.append(worker)
        for index in worker.jobs:
            self._running[index] = worker
            self._manifests.setdefault(index, endings.manifest_time(self.tracked[index].job))
            self.tracked[index].state, self.tracked[index].began = JobState.RUNNING, time.monotonic()

    def _collect(self) -> None:
        """Update the jobs that run, and handle those that have ended."""
        now = time.monotonic()
        for index, worker in self._running.items():
            tracked = self.tracked[index]
            if queued := worker.queued():
                tracked.began = now
            tracked.queued, tracked.seconds = queued, now - tracked.began
        running = [index for index in self._running if not self.tracked[index].queued]
        for index in _some(running, self._looked):
            tracked = self.tracked[index]
            found = read_progress(tracked.job.files.progress, is_remote=self.backend.is_remote)
            tracked.progress = found or tracked.progress
        self._looked += PROGRESS_FILES
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
        if ending.report is None or code in (0, STOPPED, AGAIN_LATER):
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
        elif code == AGAIN_LATER:
            tracked.state, tracked.message = JobState.WAITING, ending.report or ""
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
                self.backend.record_failure(tracked.job, message)
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
        tracked.state, tracked.message, tracked.queued = state, message, ""
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


def _some(running: Sequence[int], looked: int) -> Sequence[int]:
    """`PROGRESS_FILES` of the running jobs, others each time."""
    if len(running) <= PROGRESS_FILES:
        return running
    first = looked % len(running)
    return [*running[first:], *running[:first]][:PROGRESS_FILES]
