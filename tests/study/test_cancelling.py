"""`rlottery cancel`: what is cancelled, and that no command submits meanwhile. The engine is played.

`tests/test_slurm.py` and `tests/test_dask.py` cancel on real ones.
"""

import os
import threading
import time
from pathlib import Path

import pytest

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.storage.locks import hold
from rlottery.storage.paths import Store
from rlottery.study import cancelling
from rlottery.study.cancelling import cancel_study
from rlottery.study.clusters import Cluster
from rlottery.study.execution import executor
from rlottery.study.execution.allocations import batch_names, end_asked, open_runs
from rlottery.study.execution.cluster import Cancelled, ClusterBackend
from rlottery.study.execution.dask import DaskTasks
from rlottery.study.planning.plan import JobState
from tests.command import call, refusal
from tests.study.execution.test_cluster import DONE, LOST, SLEEPS, Played, follow
from tests.study.studies import TINY, dense_jobs, tiny_config


@pytest.fixture(autouse=True)
def _in_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executor, "POLL_SECONDS", 0.0)
    monkeypatch.chdir(tmp_path)
    Path("config.yaml").write_text(TINY)


class PlayedJobs:
    """What `Played` has of the study."""

    name = "Played"

    def __init__(self, engine: Played):
        self._engine = engine

    def cancel_submitting(self, prefix: str) -> Cancelled:
        return Cancelled()

    def cancel(self) -> Cancelled:
        count = len(self._engine.queued)
        self._engine.cancelled |= self._engine.queued
        self._engine.queued.clear()
        return Cancelled(queued=count)

    def close(self) -> None: ...


def play(engine: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cancelling, "DaskTasks", lambda store, place: PlayedJobs(engine))


def test_nothing_to_cancel_is_said() -> None:
    code, said, _ = call("cancel")
    assert code == 0 and said == "Nothing to cancel: data has no jobs on a cluster.\n"
    assert sorted(map(str, Path().iterdir())) == ["config.yaml"]


def test_a_study_that_does_not_exist_is_refused() -> None:
    assert "There is no study at nowhere" in refusal("cancel", "nowhere")
    assert "outside the working directory" in refusal("cancel", write("elsewhere.yaml", "data: /nowhere/data\n"))


def write(name: str, more: str) -> str:
    kept = "".join(line for line in TINY.splitlines(keepends=True) if not line.startswith("data:"))
    Path(name).write_text(kept + more)
    return name


def test_jobs_that_a_command_has_left_are_cancelled_and_done_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, store, told = Played(SLEEPS, SLEEPS, DONE), Store(tmp_path / "data"), list[str]()
    play(engine, monkeypatch)
    assert follow(dense_jobs(tmp_path, 0, 1, 2), engine, looks=5) == [JobState.RUNNING, JobState.RUNNING, JobState.DONE]
    assert len(open_runs(store)) == 2
    cancel_study(store, None, told.append)
    assert told == ["Cancelled 2 jobs on Played: 2 queued."]
    assert open_runs(store) == {} and batch_names(store) == []
    cancel_study(store, None, told.append)
    assert told[1:] == [f"Nothing to cancel: {store.root} has no jobs on a cluster."]
    engine.fates = [DONE, DONE]
    assert follow(dense_jobs(tmp_path, 0, 1), engine) == [JobState.DONE] * 2


def test_jobs_that_have_ended_meanwhile_are_nothing_to_cancel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, store, told = Played(LOST), Store(tmp_path / "data"), list[str]()
    play(engine, monkeypatch)
    follow(dense_jobs(tmp_path, 0), engine, looks=1)
    cancel_study(store, None, told.append)
    assert told == [f"Nothing to cancel: no jobs of {store.root} are left on Played."]


class Alone(Cluster):
    """A cluster of the played engine."""

    most_runs = 100

    def __init__(self, config: Config, engine: Played):
        super().__init__(config, lambda line: None)
        self.engine = engine

    def backend(self) -> ClusterBackend:
        return ClusterBackend(self._store, self.engine, 1, self._say, self.take)


def test_the_command_that_submits_ends_first_and_later_ones_are_not_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine, told = Played(SLEEPS, SLEEPS, *[DONE] * 100), list[str]()
    engine.capacity = 2  # others wait for these
    play(engine, monkeypatch)
    config, tracked = tiny_config(tmp_path), dense_jobs(tmp_path, 0, 1, 2)
    store, took = Store(config.data), threading.Event()

    def command() -> None:
        with Alone(config, engine) as cluster:
            looks = 0

            def is_left() -> bool:
                nonlocal looks
                looks += 1
                if looks == 3:
                    took.set()
                time.sleep(0.01)
                return cluster.is_cancelled()

            executor.Executor(tracked, 100, backend=cluster.backend(), stop_wanted=is_left).run()
            assert "Cancelled by `rlottery cancel`" in cluster.line_when_left

    thread = threading.Thread(target=command)
    thread.start()
    took.wait(60.0)
    cancel_study(store, None, told.append)
    thread.join()
    assert told[0].startswith("The command that submitted jobs has ended: process ")
    assert told[1:] == ["Cancelled 2 jobs on Played: 2 queued."]
    assert engine.arrays == [2] and tracked[2].state is JobState.WAITING
    with Alone(config, engine) as later:
        assert not later.is_cancelled() and end_asked(store)


def test_a_command_that_does_not_end_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine, store, told = Played(SLEEPS), Store(tmp_path / "data"), list[str]()
    play(engine, monkeypatch)
    monkeypatch.setattr(cancelling, "HEAD_SECONDS", 0.0)
    follow(dense_jobs(tmp_path, 0), engine, looks=3)
    with (
        hold(store.head),
        pytest.raises(StudyError, match=rf"has not ended: process {os.getpid()} .* End it, then run"),
    ):
        cancel_study(store, None, told.append)
    assert told == ["Cancelled 1 job on Played: 1 queued."]


def test_an_engine_that_cannot_be_asked_is_refused_and_nothing_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Played(SLEEPS)
    engine.place = "slurm"
    follow(dense_jobs(tmp_path, 0), engine, looks=3)
    monkeypatch.setenv("PATH", os.devnull)
    said = refusal("cancel")
    assert (
        said.startswith("error: squeue is not on the path. Run this command on a login node") and said.count("\n") == 1
    )


def test_another_address_of_the_scheduler_may_be_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked, engine = list[str](), Played(SLEEPS)
    engine.place = "tcp://localhost:8786"
    follow(dense_jobs(tmp_path, 0), engine, looks=3)

    def tasks(store: Store, place: str) -> DaskTasks:
        asked.append(place)
        raise StudyError("No Dask scheduler answers there")

    monkeypatch.setattr(cancelling, "DaskTasks", tasks)
    assert refusal("cancel") == refusal("cancel", "--scheduler", "tcp://head:8786")
    assert asked == ["tcp://localhost:8786", "tcp://head:8786"]
