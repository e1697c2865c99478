"""The executor with another backend than local processes, as one for a cluster would be."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rlottery.study.execution.endings import FAILED, STOPPED, Ending
from rlottery.study.execution.executor import Executor
from rlottery.study.planning.jobs import Job, list_jobs
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import tiny_config, write_dense


@dataclass
class InstantWorker:
    """Ends as its seed says: with that exit code, or, for seed 9, when it is asked to stop."""

    jobs: Mapping[int, Job]
    stopped: bool = False

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

    def __init__(self) -> None:
        self.started: list[list[int]] = []

    def start(self, jobs: Mapping[int, Job]) -> InstantWorker:
        self.started.append([job.seed for job in jobs.values()])
        for job in jobs.values():
            if job.seed == 0:
                write_dense(job.config)
        return InstantWorker(jobs)


def tracked(folder: Path, *seeds: int) -> list[Tracked]:
    config = tiny_config(folder, f"seeds={list(seeds)}")
    return [Tracked(job) for job in list_jobs(config, [], ("dense",))]


def test_it_starts_workers_and_their_exit_codes_decide(tmp_path: Path) -> None:
    jobs, backend = tracked(tmp_path, 0, FAILED), InstantBackend()
    Executor(jobs, 1, backend=backend).run()
    assert [item.state for item in jobs] == [JobState.DONE, JobState.FAILED]
    assert backend.started == [[0], [FAILED]]


def test_a_stop_reaches_its_workers(tmp_path: Path) -> None:
    jobs, backend = tracked(tmp_path, 9, 0), InstantBackend()
    Executor(jobs, 1, backend=backend, stop_wanted=lambda: bool(backend.started)).run()
    assert [item.state for item in jobs] == [JobState.STOPPED, JobState.SKIPPED]
