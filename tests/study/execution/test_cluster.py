"""The backend of engines, with one that the test plays: what nodes and the engine do is written down by hand."""

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pytest

from rlottery.storage.paths import Store
from rlottery.study.execution import cluster, executor
from rlottery.study.execution.allocations import Allocation, End, batch_names, write_batch
from rlottery.study.execution.cluster import ClusterBackend, Phase, RefusedError, Standing
from rlottery.study.execution.executor import Executor
from rlottery.study.execution.node import do_jobs
from rlottery.study.execution.worker import decode
from rlottery.study.planning.plan import JobState, Tracked
from tests.study.studies import dense_jobs, write_dense

DONE, LOST, DIES, FAILS, SLEEPS = range(5)
"""What becomes of allocations: all is done; the node is lost after it began, or before; the job fails; it is queued."""


class Played:
    """An engine whose allocations end at once, as `fates` says, one after the other."""

    name = place = "Played"
    poll_seconds = 0.0
    most_at_once = 2
    capacity = 100

    def __init__(self, *fates: int):
        self.fates, self.queued = list(fates), set[tuple[str, int]]()
        self.cancelled = set[tuple[str, int]]()
        self.arrays: list[int] = []
        self.refuses = False
        self.most = 100

    def hand_in(self, allocations: Sequence[Allocation]) -> list[str]:
        if self.refuses or len(allocations) > self.most:
            raise RefusedError("too many jobs")
        self.arrays.append(len(allocations))
        for allocation in allocations:
            self._play(allocation, self.fates.pop(0))
        return [f"7_{allocation.index}" for allocation in allocations]

    def standings(self) -> Mapping[tuple[str, int], Standing]:
        waiting = {key: Standing(Phase.QUEUED, "Dependency") for key in self.queued}
        return waiting | {key: Standing(Phase.CANCELLED) for key in self.cancelled}

    def _play(self, allocation: Allocation, fate: int) -> None:
        if fate == SLEEPS:
            self.queued.add(allocation.key)
        session = "" if fate in (SLEEPS, DIES) else allocation.note_beginning()
        for place, job in enumerate(decode(allocation.message())) if fate in (DONE, FAILS) else ():
            if fate == DONE:
                write_dense(job.config, seed=job.seed)
            allocation.note_end(place, End("DONE") if fate == DONE else End("FAILED", "boom"), session)


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.0)


def follow(
    tracked: list[Tracked],
    engine: Played,
    *,
    looks: int = 100,
    said: list[str] | None = None,
    may_hand_in: Callable[[], bool] = lambda: True,
) -> list[JobState]:
    """Let a command do the jobs; it is left after so many looks."""
    store, left = Store(tracked[0].job.config.data), iter(range(looks))
    say = (said if said is not None else []).append
    backend = ClusterBackend(store, engine, 1, say, may_hand_in)
    Executor(tracked, 100, backend=backend, stop_wanted=lambda: next(left, None) is None).run()
    return [item.state for item in tracked]


def test_jobs_are_handed_in_as_arrays_and_end_as_their_nodes_say(tmp_path: Path) -> None:
    tracked, engine = dense_jobs(tmp_path, 0, 1, 2), Played(DONE, FAILS, DONE)
    assert follow(tracked, engine) == [JobState.DONE, JobState.FAILED, JobState.DONE]
    assert engine.arrays == [2, 1]
    assert tracked[1].message == f"boom\nlog: {tracked[1].job.log}"


def test_what_is_refused_together_is_handed_in_in_smaller_arrays(tmp_path: Path) -> None:
    tracked, engine, said = dense_jobs(tmp_path, *range(11)), Played(*[DONE] * 11), list[str]()
    engine.most_at_once, engine.most = 8, 3
    assert follow(tracked, engine, said=said) == [JobState.DONE] * 11
    assert engine.arrays == [2, 2, 2, 2, 3] and not said


def test_a_lost_allocation_is_handed_in_again(tmp_path: Path) -> None:
    assert follow(dense_jobs(tmp_path, 0), engine := Played(LOST, LOST, LOST, LOST, DONE)) == [JobState.DONE]
    assert engine.arrays == [1] * 5


def test_an_allocation_that_never_begins_fails_in_words(tmp_path: Path) -> None:
    tracked, engine = dense_jobs(tmp_path, 0), Played(DIES, DIES, DIES)
    assert follow(tracked, engine) == [JobState.FAILED]
    assert "ended 3 times before it began. The node may not share" in tracked[0].message


def test_what_the_engine_loses_is_not_counted_against_an_allocation(tmp_path: Path) -> None:
    tracked = dense_jobs(tmp_path, 0)

    class Forgetful(Played):
        def standings(self) -> Mapping[tuple[str, int], Standing]:
            lost = {key: Standing(Phase.LOST) for key in self.queued}
            self.queued.clear()
            return lost

    assert follow(tracked, engine := Forgetful(*[SLEEPS] * 5, DONE)) == [JobState.DONE]
    assert engine.arrays == [1] * 6


def test_a_job_that_somebody_cancels_is_not_handed_in_again(tmp_path: Path) -> None:
    tracked, engine = dense_jobs(tmp_path, 0), Played(SLEEPS)
    follow(tracked, engine, looks=3)
    engine.cancelled, engine.queued = engine.queued, set()
    tracked, engine.fates = dense_jobs(tmp_path, 0), [DONE]
    assert follow(tracked, engine) == [JobState.DONE], "a new command starts what was cancelled under another one"


def test_a_command_that_is_left_leaves_its_allocations_to_the_next(tmp_path: Path) -> None:
    tracked, engine = dense_jobs(tmp_path, 0, 1), Played(SLEEPS, DONE)
    assert follow(tracked, engine, looks=5) == [JobState.RUNNING, JobState.DONE]
    assert tracked[0].queued == "queued as 7_0: Dependency" and tracked[0].seconds == 0.0
    store = Store(tracked[0].job.config.data)
    again = dense_jobs(tmp_path, 0)
    assert follow(again, engine, looks=3) == [JobState.RUNNING] and again[0].queued == "queued as 7_0: Dependency"
    engine.queued.clear()
    Played(DONE)._play(Allocation(store, batch_names(store)[0], 0), DONE)
    assert follow(dense_jobs(tmp_path, 0), engine) == [JobState.FOUND] and engine.arrays == [2]


def test_a_command_that_only_follows_hands_in_nothing_until_it_may(tmp_path: Path) -> None:
    engine, may = Played(DONE), iter([False] * 5 + [True] * 100)
    tracked = dense_jobs(tmp_path, 0)
    assert follow(tracked, engine, looks=5, may_hand_in=lambda: next(may)) == [JobState.WAITING] and not engine.arrays
    assert follow(tracked, engine, may_hand_in=lambda: next(may)) == [JobState.DONE]


def test_an_engine_that_takes_no_more_is_asked_again_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tracked, engine, said = dense_jobs(tmp_path, 0), Played(DONE), list[str]()
    engine.refuses = True
    assert follow(tracked, engine, looks=5, said=said) == [JobState.WAITING]
    assert said == ["Played takes no more allocations now: too many jobs. Trying again every minute."]
    assert batch_names(Store(tracked[0].job.config.data)) == []
    engine.refuses = False
    monkeypatch.setattr(cluster, "RETRY_SECONDS", 0.0)
    assert follow(tracked, engine) == [JobState.DONE]


def test_what_a_node_reports_as_done_is_waited_for_until_it_is_seen(tmp_path: Path) -> None:
    (item,) = tracked = dense_jobs(tmp_path, 0)
    states = list[JobState]()

    class SlowFiles(Played):
        def standings(self) -> Mapping[tuple[str, int], Standing]:
            states.append(item.state)
            if len(states) == 2:
                allocation = Allocation(store, batch_names(store)[0], 0)
                allocation.note_end(0, End("DONE"), allocation.note_beginning())
            if len(states) == 9:
                write_dense(item.job.config)
            return super().standings()

    store = Store(item.job.config.data)
    assert follow(tracked, SlowFiles(SLEEPS)) == [JobState.DONE]
    assert states[1:9] == [JobState.RUNNING] * 8


def test_damaged_files_of_allocations_are_skipped(tmp_path: Path) -> None:
    tracked, engine = dense_jobs(tmp_path, 0), Played(SLEEPS, DONE)
    follow(tracked, engine, looks=2)
    store = Store(tracked[0].job.config.data)
    (batch,) = batch_names(store)
    (store.cluster / f"{batch}.json").write_text("{")
    assert follow(dense_jobs(tmp_path, 0), engine) == [JobState.DONE]


def test_a_node_that_was_given_up_has_no_say(tmp_path: Path) -> None:
    allocation = Allocation(Store(tmp_path), "batch", 0)
    first = allocation.note_beginning()
    allocation.note_end(0, End("DONE"), first)
    second = allocation.note_beginning()
    allocation.note_end(1, End("FAILED", "another process has taken the run over"), first)
    allocation.note_end(2, End("DONE"), second)
    assert allocation.read() == (True, {0: End("DONE"), 2: End("DONE")})


def test_a_node_whose_parent_has_died_before_it_looked_does_nothing(tmp_path: Path) -> None:
    (item,) = dense_jobs(tmp_path, 0)
    (allocation,) = write_batch(Store(item.job.config.data), [[item.job]], cores=1, place="played")
    assert not do_jobs(allocation, parent=os.getpid())
    assert allocation.read() == (False, {}) and not item.job.files.folder.exists()


def test_the_latest_allocation_of_a_job_is_followed(tmp_path: Path) -> None:
    tracked, engine = dense_jobs(tmp_path, 0), Played(LOST, SLEEPS)
    assert follow(tracked, engine, looks=8) == [JobState.RUNNING] and engine.arrays == [1, 1]
    (again,) = tracked = dense_jobs(tmp_path, 0)
    assert follow(tracked, engine, looks=8) == [JobState.RUNNING]
    assert again.queued == "queued as 7_0: Dependency" and engine.arrays == [1, 1]
