"""Allocations as tasks of a real Dask cluster: a scheduler and two workers, each a process of its own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rlottery.errors import StudyError
from rlottery.storage.paths import Store
from rlottery.study.execution import dask
from rlottery.study.execution.allocations import Allocation
from rlottery.study.execution.cluster import Phase, RefusedError
from rlottery.study.execution.dask import Dask

pytest.importorskip("distributed", reason="needs Dask: uv sync, or pip install 'rlottery[dask]'")

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


def task(store: Store, index: int, code: str, *arguments: Path) -> Code:
    return Code(store, "20260101-000000-ab", index, (code, *map(str, arguments)))


class Cluster:
    """A scheduler and its workers."""

    def __init__(self, folder: Path):
        self._folder, self._processes = folder, list[subprocess.Popen[bytes]]()
        file = folder / "scheduler.json"
        self._start("scheduler", "--port=0", f"--scheduler-file={file}", "--host=127.0.0.1", "--dashboard-address=:0")
        wait_for(file.exists)
        self.address = json.loads(file.read_text())["address"]

    def add_worker(self) -> subprocess.Popen[bytes]:
        threads = ["--nthreads=1", "--no-nanny", "--no-dashboard", f"--local-directory={self._folder}"]
        return self._start("worker", self.address, *threads)

    def close(self) -> None:
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait()

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "dask.log").open("ab") as log:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
            self._processes.append(subprocess.Popen(command, stdout=log, stderr=log))
        return self._processes[-1]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    started = Cluster(tmp_path_factory.mktemp("dask"))
    yield started
    started.close()


def wait_for(condition: Callable[[], object], seconds: float = 120.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def test_what_is_wrong_with_a_cluster(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path / "data")
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1.0)
    with pytest.raises(StudyError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1: .*--scheduler tcp://"):
        Dask(store, "tcp://127.0.0.1:1")
    monkeypatch.undo()
    with pytest.raises(StudyError, match=r"has no workers.*dask worker tcp://"):
        Dask(store, cluster.address)
    workers = [cluster.add_worker(), cluster.add_worker()]
    client = dask.connect(cluster.address)
    client.wait_for_workers(len(workers), timeout=120)
    client.close()
    with monkeypatch.context() as patched:
        patched.setattr("distributed.versions._version_cached", lambda package: "99.0")  # asked by this process
        with pytest.raises(StudyError, match=r"The Dask scheduler has rlottery .*, and this command has 99\.0\."):
            Dask(store, cluster.address)
    with monkeypatch.context() as patched:
        patched.setattr(dask, "write_bytes", lambda path, content: None)
        with pytest.raises(StudyError, match=r"The Dask worker at tcp://.* doesn't see .*data\. The data folder must"):
            Dask(store, cluster.address)
    assert not store.root.exists()


def test_tasks_outlive_the_command_and_their_workers(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where workers are not
    store, end = Store(Path("data")), tmp_path / "end"
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
    process, worker = map(int, lines(seen[0])[0].split())
    assert worker != int(lines(seen[1])[0].split()[1])  # each has a worker of its own
    os.kill(worker, signal.SIGKILL)
    os.kill(process, signal.SIGKILL)  # a real node notices by itself
    end.touch()  # the other one ends, and its worker takes the task
    wait_for(lambda: len(lines(seen[0])) == 2)
    wait_for(lambda: later.standings() == {})
    assert later._client.list_datasets() == ()
    later._client.close()


def test_a_worker_that_closes_lets_the_task_save(cluster: Cluster, tmp_path: Path) -> None:
    seen = tmp_path / "seen"
    engine = Dask(Store(tmp_path / "data"), cluster.address)
    engine.hand_in([task(engine._store, 0, DAWDLE, seen, tmp_path / "never")])
    wait_for(lambda: lines(seen))
    engine._futures["rlottery-20260101-000000-ab-0"].cancel(force=True)
    wait_for(lambda: lines(seen)[-1] == "saved")
    wait_for(lambda: engine.standings() == {})
    engine._client.close()


def test_a_lost_scheduler(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = Dask(Store(tmp_path / "data"), cluster.address)
    monkeypatch.setattr(dask, "CONNECT_SECONDS", 1.0)
    cluster.close()
    wait_for(lambda: engine._client.status != "running")
    assert engine.standings() is None
    with pytest.raises(RefusedError, match=r"the scheduler at tcp://.* doesn't answer"):
        engine.hand_in([task(engine._store, 0, "")])
