"""Workers that are no processes: their jobs run in this one, which has imported JAX and compiled the same programs.

For tests of what a command writes and prints. How real workers start, stop and die is tested with real workers.
"""

import contextlib
import json
import sys
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest
from typer.testing import CliRunner

from rlottery.cli import app
from rlottery.envs import OpenEnvironments
from rlottery.storage.locks import RunLock
from rlottery.study.execution import worker
from rlottery.study.execution.endings import Ending
from rlottery.study.execution.local import LocalBackend
from rlottery.study.planning.jobs import Job
from rlottery.training.learner import CpuLearner


def train_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `run_study` start no processes."""
    monkeypatch.setattr("rlottery.study.run.LocalBackend", InProcessBackend)


def run_in_this_process(study: Path, *arguments: str) -> None:
    """`rlottery run` in a study's folder, without a report. It ends in the bits of a command with workers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(study)
        patch.setattr("sys.path", list(sys.path))
        patch.setattr("rlottery.report.files.write_report", lambda *_: [])
        train_in_this_process(patch)
        result = CliRunner().invoke(app, ["run", "config.yaml", *arguments])
    assert result.exit_code == 0, result.output


class InProcessBackend(LocalBackend):
    """Does the jobs of a worker when the worker starts."""

    def start(self, jobs: Mapping[int, Job]) -> "EndedWorker":  # type: ignore[override]
        assert self._place is not None
        received = worker.decode(json.loads(worker.encode(list(jobs.values()), core=None)))
        locks = [self._place.lock(job.files) for job in jobs.values()]
        ended = [_do(job, lock) for job, lock in zip(received, locks, strict=True)]
        return EndedWorker(jobs, dict(zip(jobs, ended, strict=True)))


@dataclass(eq=False)
class EndedWorker:
    jobs: Mapping[int, Job]
    ended: dict[int, Ending]

    def queued(self) -> str:
        return ""

    def has_ended(self) -> bool:
        return True

    def endings(self) -> dict[int, Ending]:
        return self.ended

    def stop(self) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


def _do(job: Job, lock: RunLock) -> Ending:
    with (
        warnings.catch_warnings(),
        job.log.open("a") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
        OpenEnvironments() as environments,
    ):
        warnings.simplefilter("ignore")  # no error in a worker either
        return worker.attempt(job, CpuLearner, environments, stop=Event(), locks={job.key: lock})
