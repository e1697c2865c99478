"""The estimated time left, against times worked out by hand."""

from pathlib import Path
from typing import Protocol

import pytest

from rlottery.storage.progress import Phase, Progress
from rlottery.study.execution import time_left
from rlottery.study.execution.time_left import TimeLeft
from rlottery.study.planning.jobs import STAGES, list_jobs
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import job, tiny_config


class Study:
    """Jobs of a study of 300 steps, the first 100 without updates, whose clock is set by hand."""

    def __init__(self, folder: Path, seeds: int, stages: tuple[str, ...], places: int, expected: dict[str, float]):
        config = tiny_config(folder, f"seeds={list(range(seeds))}")
        self.tracked = [Tracked(of) for of in list_jobs(config, [job(config, "mask").ticket_arm], stages)]
        seconds = [expected.get(t.job.stage, 100.0) for t in self.tracked]
        self.left = TimeLeft(self.tracked, seconds, places)
        self.now = 0.0

    def begin(self, index: int) -> None:
        self.tracked[index].state, self.tracked[index].began = JobState.RUNNING, self.now

    def end(self, index: int, state: JobState = JobState.DONE) -> None:
        item = self.tracked[index]
        item.state, item.seconds = state, self.now - item.began

    def at(self, now: float, **steps: int | Phase) -> float | None:
        """The time left at a time, when runs (``run0=150``) have come to these steps, or phases."""
        self.now = now
        for name, step in steps.items():
            phase, at = (None, step) if isinstance(step, int) else (step, 101)
            self.tracked[int(name[3:])].progress = Progress(1, at, 300, 0.0, phase=phase)
        self.left.look()
        return self.left.seconds()


class MakeStudy(Protocol):
    def __call__(
        self, seeds: int, stages: tuple[str, ...] = ("dense",), places: int = 2, **expected: float
    ) -> Study: ...


@pytest.fixture
def study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MakeStudy:
    def make(seeds: int, stages: tuple[str, ...] = ("dense",), places: int = 2, **expected: float) -> Study:
        made = Study(tmp_path, seeds, stages, places, expected)
        monkeypatch.setattr(time_left.time, "monotonic", lambda: made.now)
        return made

    return make


def test_without_a_measured_run_there_is_none(study: MakeStudy) -> None:
    here = study(3)
    here.begin(0)
    assert here.at(0) is None and here.at(5, run0=0) is None
    assert here.at(9, run0=100) is None  # the warm-up says nothing about updates
    assert here.at(12, run0="compiling") is None
    assert here.at(14, run0=110) is None  # the first step with updates
    assert here.at(15, run0=120) is None  # one second is too short


def test_a_run_goes_on_as_fast_as_since_its_warm_up(study: MakeStudy) -> None:
    here = study(1)
    here.begin(0)
    here.at(30, run0=100)
    here.at(42, run0=120)
    assert here.at(50, run0=200) == pytest.approx(10)  # 8 s for 80 steps, and 100 are left
    assert here.at(52) == pytest.approx(8)  # no news since
    assert here.at(70) == 0
    assert here.left.of(here.tracked[0]) == 0


def test_runs_that_wait_take_as_long_as_one_that_is_done_and_share_the_workers(study: MakeStudy) -> None:
    here = study(4)
    here.begin(0)
    here.at(20)
    here.begin(1)
    here.at(50)
    here.end(0)
    # 50 s a run. One place is free at once, the other in 20 s: the last run ends after 20 + 50.
    assert here.at(50) == pytest.approx(70)
    here.begin(2)
    assert here.at(60) == pytest.approx(60)


def test_a_kind_that_was_not_measured_is_scaled_as_expected(study: MakeStudy) -> None:
    here = study(1, stages=("dense", "ticket"), dense=100.0, ticket=30.0)
    here.begin(0)
    here.at(200)
    here.end(0)
    assert here.at(200) == pytest.approx(60)  # this machine takes twice as long as expected


def test_the_first_run_compiles_for_all(study: MakeStudy) -> None:
    """30 s of compiling, as on a busy machine, are not expected of runs that load the programs."""
    here = study(3, places=1)
    here.begin(0)
    here.at(10, run0=100)
    for now in range(10, 41):
        here.at(float(now), run0="compiling")
    here.at(41, run0=110)
    assert here.at(46, run0=160) == pytest.approx(14 + 2 * (41 - 31 + 20), abs=1)  # 0.1 s a step, 11 s to start
    here.at(60)
    here.end(0)
    assert here.at(60) == pytest.approx(2 * 29, abs=2)


def test_jobs_wait_for_those_that_they_need(study: MakeStudy) -> None:
    here = study(2, stages=STAGES, dense=100.0, mask=10.0, ticket=50.0)
    here.begin(0)
    here.at(100)
    here.end(0)
    # Seed 0: mask and ticket, 60 s. Seed 1, at the same time: all three stages, 160 s.
    assert here.at(100) == pytest.approx(160)


def test_a_resumed_run_does_not_count_as_a_quick_one(study: MakeStudy) -> None:
    here = study(2, places=1)
    here.begin(0)
    here.at(10, run0=250)
    assert here.at(14, run0=290) == pytest.approx(1 + 10 + 20)  # 0.1 s a step, 200 steps with updates, 10 s to start
    here.at(15)
    here.end(0)
    assert here.at(15) == pytest.approx(30)


def test_what_failed_or_was_done_before_takes_no_time(study: MakeStudy) -> None:
    here = study(3)
    here.begin(0)
    here.at(40)
    here.end(0)
    here.tracked[1].state = JobState.FAILED
    assert here.at(40) == pytest.approx(40)
    here.tracked[2].state = JobState.FOUND
    assert here.at(40) is None  # nothing is left
