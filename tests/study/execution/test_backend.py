"""The executor with another backend than local processes, as one for a cluster would be."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlottery.study.execution import executor
from rlottery.study.execution.endings import AGAIN_LATER, FAILED, STOPPED, Ending
from rlottery.study.execution.executor import Executor
from rlottery.study.planning.jobs import Job, list_jobs
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import dense_jobs, job, tiny_config, write_dense


@dataclass
class InstantWorker:
    """Ends as its seed says: with that exit code, or, for seed 9, when it is asked to stop."""

    jobs: Mapping[int, Job]
    stopped: bool = False

    def queued(self) -> str:
        return ""

    def has_ended(self) -> bool:
        return self.stopped or all(job.seed != 9 for job in self.jobs.values())

    def endings(self) -> dict[int, Ending]:
        found = {number: Ending(STOPPED if job.seed == 9 else job.seed) for number, job in self.jobs.items()}
        return found if self.has_ended() else {}

    def stop(self) -> None:
        self.stopped = True

    def terminate(self) -> None:
        self.stopped = True

    def kill(self) -> None:
        self.stopped = True


class InstantBackend:
    """Starts workers that take no time, and remembers the seeds of their jobs. Only that of seed 0 does its job."""

    is_remote = False
    capacity: int | None = None
    cores: int | None = None
    poll_seconds = 0.0

    def __init__(self) -> None:
        self.started: list[list[int]] = []
        self.is_closed = False

    def adopt(self, jobs: Mapping[int, Job]) -> Sequence[InstantWorker]:
        return ()

    def submit(self, bundles: Sequence[Mapping[int, Job]]) -> list[InstantWorker]:
        return [self._start(jobs) for jobs in bundles]

    def record_failure(self, job: Job, why: str) -> None: ...

    def close(self) -> None:
        self.is_closed = True

    def _start(self, jobs: Mapping[int, Job]) -> InstantWorker:
        self.started.append([job.seed for job in jobs.values()])
        for of in jobs.values():
            if of.seed == 0:
                write_dense(of.config)
        return InstantWorker(jobs)


def test_it_starts_workers_and_their_exit_codes_decide(tmp_path: Path) -> None:
    jobs, backend = dense_jobs(tmp_path, 0, FAILED), InstantBackend()
    Executor(jobs, 1, backend=backend).run()
    assert [item.state for item in jobs] == [JobState.DONE, JobState.FAILED]
    assert backend.started == [[0], [FAILED]] and backend.is_closed


def test_a_stop_reaches_its_workers(tmp_path: Path) -> None:
    jobs, backend = dense_jobs(tmp_path, 9, 0), InstantBackend()
    Executor(jobs, 1, backend=backend, stop_wanted=lambda: bool(backend.started)).run()
    assert [item.state for item in jobs] == [JobState.STOPPED, JobState.SKIPPED]


class Queue(InstantBackend):
    """An engine that does `cores` runs at a time and takes at most `capacity` allocations; they outlive the command.

    Each allocation ends its jobs as the next of `ends` says, and stays queued if there is none.
    """

    is_remote = True

    def __init__(self, cores: int, capacity: int, *ends: int) -> None:
        super().__init__()
        self.cores, self.capacity, self.ends = cores, capacity, list(ends)
        self.handed_in: list[list[str]] = []
        self.left: list[InstantWorker] = []

    def adopt(self, jobs: Mapping[int, Job]) -> Sequence[InstantWorker]:
        found, self.left = self.left, []
        return found

    def submit(self, bundles: Sequence[Mapping[int, Job]]) -> list[InstantWorker]:
        self.handed_in += [[job.label.removeprefix("Pendulum-v1 ") for job in jobs.values()] for jobs in bundles]
        return [Allocation(jobs, code=self.ends.pop(0) if self.ends else None) for jobs in bundles]


@dataclass
class Allocation(InstantWorker):
    """Ends all its jobs with a code; None: it is queued for ever."""

    code: int | None = None

    def queued(self) -> str:
        return "queued as 7" if self.code is None else ""

    def has_ended(self) -> bool:
        return self.code is not None

    def endings(self) -> dict[int, Ending]:
        return {} if self.code is None else {number: Ending(self.code, "why") for number in self.jobs}


@pytest.fixture
def _all_is_done_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.0)
    monkeypatch.setattr(executor, "is_done", lambda job, pending=frozenset(): False)
    real = Executor._handle_ending

    def handle(self: Executor, index: int, ending: Ending, *, shares_worker: bool) -> None:
        if ending.code == 0:
            self._end(index, JobState.DONE)
        else:
            real(self, index, ending, shares_worker=shares_worker)

    monkeypatch.setattr(Executor, "_handle_ending", handle)


def chain(folder: Path, *seeds: int) -> list[Tracked]:
    config = tiny_config(folder, f"seeds={list(seeds)}")
    arm = job(config, "mask").arm
    assert arm is not None
    return [Tracked(planned) for planned in list_jobs(config, [arm], ("dense", "mask", "ticket"))]


@pytest.mark.usefixtures("_all_is_done_that_says_so")
def test_an_allocation_has_all_stages_of_as_many_runs_as_it_has_cores(tmp_path: Path) -> None:
    jobs, queue = chain(tmp_path, 1, 2, 3), Queue(2, 9, *[0] * 9)
    Executor(jobs, 100, backend=queue).run()
    stages = [[f"seed {seed} magnitude-80{what}" for what in (" mask", "")] for seed in (1, 2, 3)]
    dense = [["seed 1 dense", "seed 2 dense"], ["seed 3 dense"]]
    assert queue.handed_in == [*dense, stages[0] + stages[1], stages[2]]
    assert {item.state for item in jobs} == {JobState.DONE}


@pytest.mark.usefixtures("_all_is_done_that_says_so")
def test_no_more_allocations_than_the_engine_takes_and_a_lost_one_is_handed_in_again(tmp_path: Path) -> None:
    jobs, queue = dense_jobs(tmp_path, 1, 2), Queue(1, 1, AGAIN_LATER, 0, 0)
    said = []
    Executor(jobs, 100, lambda: said.append((jobs[0].state, jobs[0].message)), backend=queue).run()
    assert queue.handed_in == [["seed 1 dense"], ["seed 1 dense"], ["seed 2 dense"]]
    assert {item.state for item in jobs} == {JobState.DONE} and jobs[0].message == ""
    assert (JobState.RUNNING, "why") in said


@pytest.mark.usefixtures("_all_is_done_that_says_so")
def test_a_command_that_ends_leaves_allocations_alone_and_the_next_one_follows_them(tmp_path: Path) -> None:
    jobs, queue = dense_jobs(tmp_path, 1), Queue(1, 9)
    looks = iter([False, False, True])
    Executor(jobs, 100, stop_wanted=lambda: next(looks), backend=queue).run()
    assert (jobs[0].state, jobs[0].queued, jobs[0].seconds) == (JobState.RUNNING, "queued as 7", 0.0)
    left = Allocation({0: jobs[0].job}, code=0)
    queue.left, again = [left], dense_jobs(tmp_path, 1)
    Executor(again, 100, backend=queue).run()
    assert again[0].state is JobState.DONE and len(queue.handed_in) == 1
