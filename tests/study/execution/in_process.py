"""Workers that are no processes: their jobs run in this one, which has imported JAX and compiled the same programs.

For tests of what a command writes and prints. How real workers start, stop and die is tested with real workers.
"""

import contextlib
import json
import os
import traceback
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from threading import Event

import pytest

from rlottery.study.execution import worker
from rlottery.study.execution.executor import Executor
from rlottery.study.planning.jobs import Job
from rlottery.training.learner import CpuLearner


def train_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `run_study` start no processes."""
    monkeypatch.setattr("rlottery.study.run.Executor", partial(Executor, backend=InProcessBackend()))


class InProcessBackend:
    """Does the jobs of a worker when the worker starts."""

    def start(self, jobs: Mapping[int, Job]) -> "EndedWorker":
        received = worker._decode(json.loads(worker.encode(list(jobs.values()), core=None)))
        return EndedWorker(jobs, {number: _do(job) for number, job in zip(jobs, received, strict=True)})


@dataclass(eq=False)
class EndedWorker:
    jobs: Mapping[int, Job]
    codes: dict[int, int]

    def has_ended(self) -> bool:
        return True

    def exit_codes(self) -> dict[int, int]:
        return self.codes

    def stop(self) -> None: ...

    def kill(self) -> None: ...


def _do(job: Job) -> int:
    with (
        warnings.catch_warnings(),
        job.log.open("a") as log,
        contextlib.redirect_stdout(log),
        contextlib.redirect_stderr(log),
    ):
        warnings.simplefilter("ignore")  # no error in a worker either
        try:
            return worker.attempt(job, CpuLearner, parent=os.getpid(), stop=Event())
        except Exception:
            traceback.print_exc()
            return 1
