"""What can go wrong on Dask, done to the tasks of a study on a real one (`tests.faults --on dask`).

A run fails, as it should, if it gets nowhere too often. So nothing is done to one that has come no further since the
last faults.
"""

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

from rlottery.storage.locks import holder_of
from rlottery.storage.paths import Store
from rlottery.study.execution import sessions
from rlottery.study.execution.allocations import Allocation
from rlottery.study.execution.worker import decode
from tests.dask_cluster import DaskCluster

WORKERS = 2
SPARED = 2
"""How often a run may have begun at the place where it is now, for something to be done to it."""
AWAY_SECONDS = (0.0, 20.0)
"""For how long a worker or a scheduler is gone before there is another one."""


class DaskFaults:
    """A Dask cluster of two workers, and what can be done to a study there (`cluster_faults.Engine`)."""

    def __init__(self, cluster: DaskCluster):
        self._cluster = cluster
        self.arguments: tuple[str, ...] = cluster.arguments
        self.environment: dict[str, str] = {}
        self._kinds: dict[str, Callable[[int], None]] = {
            "worker killed": self._cluster.lose_worker,
            "worker closed": self._close_worker,
            "machine's power cut": self._cut_power,
            "node process killed": self._kill_node,
            "all workers killed": self._kill_all,
            "scheduler killed": self._kill_scheduler,
        }
        self._fill()

    def prepare(self, folder: Path) -> None:
        """Nothing is needed besides the study."""

    def disturb(self, data: Path, chance: random.Random) -> str | None:
        """Do something to the study. Returns what; None if nothing can be done now."""
        if holder_of(Store(data).head) is None:  # a command that begins finds a whole cluster, or ends
            return None
        workers = {worker.pid: self._may_suffer(Store(data), worker.pid) for worker in self._cluster.workers}
        kind, victim = chance.choice(list(self._kinds)), chance.choice(list(workers))
        if not (all(workers.values()) if kind.startswith(("all", "scheduler")) else workers[victim]):
            return None
        if kind.startswith("node") and not descendants(victim):
            return None
        self._kinds[kind](victim)
        time.sleep(chance.uniform(*AWAY_SECONDS))
        if kind.startswith("scheduler"):
            self._cluster.start_scheduler()
        self._fill()
        return kind

    def _may_suffer(self, store: Store, worker: int) -> bool:
        """Whether the runs of a worker, if it has any, have come further since the last faults."""
        for node in descendants(worker):
            command = Path(f"/proc/{node}/cmdline").read_text().split("\0")
            if "rlottery.study.execution.node" in command:
                place = command.index("rlottery.study.execution.node")
                allocation = Allocation(store, command[place + 2], int(command[place + 3]))
                for files in {job.files for job in decode(allocation.message())}:
                    now = sessions.mark(files)
                    began = [one for one in sessions._sessions(sessions._path(store, files)) if one.mark == now]
                    if len(began) > SPARED:
                        return False
        return True

    def _close_worker(self, worker: int) -> None:
        self._cluster.lose_worker(worker, signal.SIGTERM)

    def _cut_power(self, worker: int) -> None:
        """Kill a worker and all that it has started, so that nothing is saved."""
        below = descendants(worker)
        self._cluster.lose_worker(worker)
        for pid in below:
            os.kill(pid, signal.SIGKILL)

    def _kill_node(self, worker: int) -> None:
        os.kill(descendants(worker)[0], signal.SIGKILL)

    def _kill_all(self, worker: int) -> None:
        for one in list(self._cluster.workers):
            self._cluster.lose_worker(one.pid)

    def _kill_scheduler(self, worker: int) -> None:
        self._cluster.kill_scheduler()

    def _fill(self) -> None:
        """Let there be as many workers as at first: a command that is started again needs one."""
        while len(self._cluster.workers) < WORKERS:
            self._cluster.add_worker()
        self._cluster.wait_for_workers()


def descendants(pid: int) -> list[int]:
    """The processes that a process has started, those first that it has started itself."""
    parents = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if fields[0] != "Z":
            parents[int(path.parent.name)] = int(fields[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found[1:]
