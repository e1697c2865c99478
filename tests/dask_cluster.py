"""A Dask cluster on this machine: a scheduler and workers of one thread, each a process of its own.

with DaskCluster(folder) as cluster:
    cluster.add_worker()
    subprocess.run(["rlottery", "run", *cluster.arguments])
"""

import os
import signal
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from tests.waiting import PATIENCE_SECONDS, wait_for

DASK = find_spec("distributed") is not None
"""Whether Dask is installed. Importing it takes longer than most tests."""


class DaskCluster:
    """A scheduler, from `with` to its end, and the workers that are added. Its logs are in one folder.

    Attributes:
        address: the scheduler's. It stays the same when the scheduler is started again.
        workers: those that were added and have not been killed or closed here.
    """

    def __init__(self, folder: Path):
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = int(free.getsockname()[1])
        self.address = f"tcp://127.0.0.1:{self._port}"
        self.arguments = ("--on", "dask", "--scheduler", self.address)

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        self.start_scheduler()
        return self

    def __exit__(self, *exception: object) -> None:
        for process in reversed(self._processes):
            process.kill()
        for process in self._processes:
            process.wait()

    def start_scheduler(self) -> None:
        """Start a scheduler, and wait until it listens."""
        self._scheduler = self._start("scheduler", "--host=127.0.0.1", f"--port={self._port}", "--dashboard-address=:0")
        wait_for(self._listens)

    def kill_scheduler(self) -> None:
        """Kill the scheduler. Its workers close."""
        assert self._scheduler is not None
        self._scheduler.kill()
        self._scheduler.wait()
        self.workers.clear()

    def add_worker(self) -> subprocess.Popen[bytes]:
        """Start a worker. It joins once it has started."""
        flags = ["--nthreads=1", "--no-nanny", "--no-dashboard", "--memory-limit=0"]
        self.workers.append(self._start("worker", self.address, *flags, f"--local-directory={self._folder}"))
        return self.workers[-1]

    def wait_for_workers(self) -> None:
        """Wait until all workers have joined that were added."""
        from distributed import Client

        with Client(self.address, timeout=PATIENCE_SECONDS, set_as_default=False) as client:
            client.wait_for_workers(len(self.workers), timeout=PATIENCE_SECONDS)

    def lose_worker(self, pid: int, number: signal.Signals = signal.SIGKILL) -> None:
        """Kill a worker, or ask it to close."""
        os.kill(pid, number)
        self.workers = [worker for worker in self.workers if worker.pid != pid]

    def _listens(self) -> bool:
        assert self._scheduler is not None and self._scheduler.poll() is None, self._folder / "dask.log"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0

    def _start(self, what: str, *arguments: str) -> subprocess.Popen[bytes]:
        with (self._folder / "dask.log").open("ab") as log:
            command = [sys.executable, "-m", f"distributed.cli.dask_{what}", *arguments]
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self._processes.append(process)
        return process
