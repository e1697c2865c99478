"""Allocations as tasks of a real Dask cluster: a scheduler and two workers, each a process of its own."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlottery.errors import StudyError
from rlottery.storage.paths import Store
from rlottery.study.execution import dask
from rlottery.study.execution.allocations import Allocation
from rlottery.study.execution.cluster import Cancelled, Phase, RefusedError, Standing
from rlottery.study.execution.dask import Dask, DaskTasks, threads_at
from tests.dask_cluster import DASK, DaskCluster
from tests.waiting import wait_for

pytestmark = pytest.mark.skipif(not DASK, reason="needs Dask: uv sync, or pip install 'rlottery[dask]'")

DAWDLE = """\
import os, signal, sys, time
def end(*_):
    open(sys.argv[1], "a").write("saved\\n")
    sys.exit(75)
signal.signal(signal.SIGTERM, end)
open(sys.argv[1], "a").write(f"{os.getpid()} {os.getppid()}\\n")
while not os.path.exists(sys.argv[2]):
    time.sleep(0.05)
"""
"""Writes its process and its worker's to a file, and runs until another file exists."""


@dataclass(frozen=True)
class Code(Allocation):
    """An allocation whose node runs some code in place of `rlottery.study.execution.node`."""

    code: tuple[str, ...] = ()

    @property
    def command(self) -> list[str]:
        return ["", "-c", *self.code]


BATCH = "20260101-000000-ab"


def task(store: Store, index: int, code: str, *arguments: Path, batch: str = BATCH) -> Code:
    return Code(store, batch, index, (code, *map(str, arguments)))


def store_with_batch(folder: Path, batch: str = BATCH) -> Store:
    """A data folder that knows the batch, so that any command of its study does."""
    store = Store(folder)
    store.cluster.mkdir(parents=True)
    (store.cluster / f"{batch}.json").write_text("{}")
    return store


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    with DaskCluster(tmp_path_factory.mktemp("dask")) as running:
        yield running


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def standing(engine: Dask, index: int) -> Standing | None:
    found = engine.standings()
    return found.get((BATCH, index)) if found else None


def test_what_is_wrong_with_a_cluster(cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "data")
    monkeypatch.setattr(dask, "ANSWER_SECONDS", 1.0)
    with pytest.raises(StudyError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1: .*--scheduler tcp://"):
        Dask(store, "tcp://127.0.0.1:1")
    monkeypatch.undo()
    with monkeypatch.context() as patched:
        patched.setattr(dask, "RECONNECT_SECONDS", 1.0)
        assert threads_at("tcp://127.0.0.1:1") is None
    with pytest.raises(StudyError, match=r"has no workers.*dask worker tcp://"):
        Dask(store, cluster.address)
    cluster.add_worker()
    cluster.add_worker()
    cluster.wait_for_workers()
    assert threads_at(cluster.address) == 2
    with monkeypatch.context() as patched:
        patched.setattr(dask, "version", lambda package: "99.0")  # this process's
        with pytest.raises(
            StudyError, match=r"The Dask scheduler at tcp:.* has rlottery .*, and this command has 99\.0\."
        ):
            Dask(store, cluster.address)
    with monkeypatch.context() as patched:
        patched.setattr(dask, "write_bytes", lambda path, content: None)
        with pytest.raises(StudyError, match=r"The Dask worker at tcp://.* doesn't see .*data\. The data folder must"):
            Dask(store, cluster.address)
    assert not store.root.exists()


def test_tasks_outlive_the_command_and_their_workers(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where workers are not
    store, end = store_with_batch(Path("data")), tmp_path / "end"
    engine = Dask(store, cluster.address)
    assert engine.capacity == 5
    seen = [tmp_path / f"{index}" for index in range(2)]
    tasks = [task(store, i, DAWDLE, path, end) for i, path in enumerate(seen)]
    assert engine.hand_in(tasks) == ["rlottery-20260101-000000-ab-0", "rlottery-20260101-000000-ab-1"]
    wait_for(lambda: all(map(lines, seen)))
    engine._client.close()  # as when the command dies

    later = Dask(store, cluster.address)
    standings = later.standings()
    assert standings is not None and {key: s.phase for key, s in standings.items()} == {
        allocation.key: Phase.RUNNING for allocation in tasks
    }
    later._client.close()  # its connection is lost
    assert later.standings() == standings
    process, worker = map(int, lines(seen[0])[0].split())
    assert worker != int(lines(seen[1])[0].split()[1])  # each has a worker of its own
    cluster.lose_worker(worker)
    os.kill(process, signal.SIGKILL)  # a real node notices by itself
    end.touch()  # the other one ends, and its worker takes the task
    wait_for(lambda: len(lines(seen[0])) == 2)
    wait_for(lambda: later.standings() == {})
    assert later._client.list_datasets() == ()
    later.close()


def test_tasks_of_other_studies_on_the_same_scheduler_are_left_alone(cluster: DaskCluster, tmp_path: Path) -> None:
    seen, others, end = tmp_path / "seen", tmp_path / "others", tmp_path / "end"
    store, other = store_with_batch(tmp_path / "data"), store_with_batch(tmp_path / "other", "20260101-000001-cd")
    engine, engine_of_other = Dask(store, cluster.address), Dask(other, cluster.address)
    engine.hand_in([task(store, 0, DAWDLE, seen, end)])
    wait_for(lambda: lines(seen))
    engine_of_other.hand_in([task(other, 0, DAWDLE, others, end, batch="20260101-000001-cd")])
    wait_for(lambda: lines(others) or engine.threads == 1)
    engine.hand_in([task(store, index, DAWDLE, seen, end) for index in (1, 2)])

    jobs = DaskTasks(store, cluster.address)
    assert jobs.cancel_submitting("head") == Cancelled()
    assert jobs.cancel() == Cancelled(running=1, queued=2)
    wait_for(lambda: lines(seen)[-1] == "saved")
    assert jobs.cancel() == Cancelled()
    jobs.close()
    wait_for(lambda: lines(others))
    assert engine_of_other.standings() == {("20260101-000001-cd", 0): Standing(Phase.RUNNING)}
    assert lines(others)[-1] != "saved" and len(lines(seen)) == 2

    end.touch()
    name = "rlottery-20260101-000001-cd-0"
    wait_for(lambda: engine._ask("get_task_status", keys=[name]) == {name: "memory"})
    assert engine.standings() == {} and engine._client.list_datasets() == (name,)
    engine_of_other.forget_ended()
    assert engine._client.list_datasets() == ()
    engine.close()
    engine_of_other.close()


def test_what_is_lost_is_told_and_waited_for(
    cluster: DaskCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said, seen, end = list[str](), tmp_path / "seen", tmp_path / "end"
    engine = Dask(Store(tmp_path / "data"), cluster.address, said.append)
    only = task(Store(tmp_path), 0, DAWDLE, seen, end)
    engine.hand_in([only])
    wait_for(lambda: lines(seen))
    for worker in list(cluster.workers):
        cluster.lose_worker(worker.pid)
    wait_for(lambda: engine.standings() and engine.threads == 0)
    assert engine.standings() == {only.key: Standing(Phase.QUEUED)} and engine.capacity == 1
    address = cluster.address
    assert said == [
        f"The Dask scheduler at {address} has no workers left. Waiting for new ones: dask worker {address} --nthreads "
        "NUMBER_OF_CORES"
    ]
    end.touch()
    cluster.add_worker()  # takes the task, and ends it
    wait_for(lambda: engine.standings() == {})
    assert said.pop() == f"The Dask scheduler at {address} has workers again." and len(lines(seen)) == 2

    end.unlink()
    engine.hand_in([task(Store(tmp_path), 3, DAWDLE, tmp_path / "third", end)])
    wait_for(lambda: lines(tmp_path / "third"))
    cluster.kill_scheduler()
    wait_for(lambda: lines(tmp_path / "third")[-1] == "saved")
    wait_for(lambda: engine.standings() is None)
    assert said[1:] == [f"The Dask scheduler at {address} doesn't answer. Waiting for it, or for a new one there."]
    with pytest.raises(RefusedError, match=rf"the scheduler at {address} doesn't answer"):
        engine.hand_in([task(Store(tmp_path), 1, "")])
    cluster.start_scheduler()
    wait_for(lambda: standing(engine, 3) == Standing(Phase.LOST))
    assert standing(engine, 0) is None and "no workers left" in said[2]
    cluster.add_worker()
    wait_for(lambda: engine.standings() and engine.threads == 1)
    engine.hand_in([task(Store(tmp_path), 2, DAWDLE, tmp_path / "other", end)])
    wait_for(lambda: standing(engine, 2) == Standing(Phase.RUNNING))
    end.touch()
    wait_for(lambda: standing(engine, 2) is None)
    assert len(lines(tmp_path / "other")) == 1 and len(said) == 4
    engine.close()
