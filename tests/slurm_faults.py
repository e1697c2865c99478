"""What can go wrong on Slurm, done to the jobs of a study on a real one (`tests.faults --on slurm`).

A run fails, as it should, if it gets nowhere too often, and if its worker is killed twice in one job. So nothing is
done to a run that has come no further since the last faults. Nor is a job sent SIGKILL by scancel: Slurm says then that
it was cancelled, and a job that its user has cancelled isn't submitted again.
"""

import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.progress import read_progress
from rlottery.study.execution import sessions
from rlottery.study.execution.allocations import batch_names, known_allocations
from tests.faults import parent
from tests.slurm_cluster import NODES, SlurmCluster

PROFILE = "{time: '0:30:00', memory: 500M, cores: %d, array_size: 4, requeue: %s, data_is_shared: true}\n"
LIMIT_MINUTES = 30
SPARED = 2
"""How often a run may have begun at the place where it is now, for something to be done to it."""
LIMIT_SECONDS = 150.0
"""How long Slurm may take to warn and to end a job that is near its time limit."""
DEAD_SECONDS = (2.0, 45.0)
"""For how long a node is dead. Slurm gives it up after 20 seconds."""


class Running(NamedTuple):
    """A run that a job does now."""

    files: RunFiles
    job: str
    worker: int


class SlurmFaults:
    """A Slurm of two nodes, and what can be done to a study there (`faults.Engine`)."""

    def __init__(self, cluster: SlurmCluster, cores: int, requeue: bool):
        self._cluster, self._profile = cluster, PROFILE % (cores, "true" if requeue else "false")
        self.environment = cluster.environment
        self.arguments: tuple[str, ...] = ("--on", "slurm", "--profile", "cluster.yaml")
        self._killed = set[tuple[str, str]]()
        self._kinds: dict[str, Callable[[Running, random.Random], bool]] = {
            "worker killed": self._kill_worker,
            "node process killed": self._kill_node_process,
            "job's first process killed": self._kill_first_process,
            "scancel --signal=TERM": self._signal_job("TERM"),
            "scancel --signal=USR2": self._signal_job("USR2"),
            "scontrol requeue": self._requeue,
            "time limit": self._reach_limit,
            "node's power cut": self._cut_power,
            "slurmd killed": self._kill_slurmd,
            "slurmctld killed": self._kill_controller,
        }

    def prepare(self, folder: Path) -> None:
        """Write what a command needs besides the study."""
        (folder / "cluster.yaml").write_text(self._profile)

    def disturb(self, data: Path, chance: random.Random) -> str | None:
        """Do something to the study. Returns what; None if nothing can be done now."""
        running = [run for run in _running(Store(data)) if self._may_suffer(Store(data), run.files)]
        if not running:
            return None
        kind, victim = chance.choice(list(self._kinds)), chance.choice(running)
        if kind.startswith(("node's", "slurmd")) and len(running) < len(_running(Store(data))):
            return None  # another run of the node has suffered enough
        return kind if self._kinds[kind](victim, chance) else None

    def _may_suffer(self, store: Store, files: RunFiles) -> bool:
        now = sessions.mark(files)
        return sum(one.mark == now for one in sessions._sessions(sessions._path(store, files))) <= SPARED

    def _kill_worker(self, run: Running, chance: random.Random) -> bool:
        key = (run.job, str(run.files.folder))
        if key in self._killed or not self._cluster.kill_process(run.worker):
            return False
        self._killed.add(key)
        return True

    def _kill_node_process(self, run: Running, chance: random.Random) -> bool:
        return self._cluster.kill_process(parent(run.worker))

    def _kill_first_process(self, run: Running, chance: random.Random) -> bool:
        return self._cluster.kill_process(parent(parent(run.worker)))

    def _signal_job(self, name: str) -> Callable[[Running, random.Random], bool]:
        def signal_job(run: Running, chance: random.Random) -> bool:
            self._cluster.ask("scancel", f"--signal={name}", run.job)
            return True

        return signal_job

    def _requeue(self, run: Running, chance: random.Random) -> bool:
        return self._cluster.ask("scontrol", "requeue", run.job) == "" and "true" in self._profile

    def _reach_limit(self, run: Running, chance: random.Random) -> bool:
        """Lower the time limit to less than a minute from now. Returns whether the job ended soon after."""
        ran = self._job(run.job, "%M").split(":")
        if not self._runs(run.job) or len(ran) != 2:
            return False
        self._cluster.ask("scontrol", "update", f"jobid={run.job}", f"TimeLimit={int(ran[0]) + 1}")
        deadline = time.monotonic() + LIMIT_SECONDS
        while self._runs(run.job) and time.monotonic() < deadline:
            time.sleep(0.5)
        self._cluster.ask("scontrol", "update", f"jobid={run.job}", f"TimeLimit={LIMIT_MINUTES}")
        return time.monotonic() < deadline

    def _cut_power(self, run: Running, chance: random.Random) -> bool:
        with self._node_of(run) as node:
            self._cluster.cut_power(node)
            time.sleep(chance.uniform(*DEAD_SECONDS))
        return True

    def _kill_slurmd(self, run: Running, chance: random.Random) -> bool:
        with self._node_of(run) as node:
            self._cluster.kill_node(node)
            time.sleep(chance.uniform(*DEAD_SECONDS))
        return True

    def _kill_controller(self, run: Running, chance: random.Random) -> bool:
        self._cluster.kill_controller()
        time.sleep(chance.uniform(0.0, 10.0))
        self._cluster.start_controller()
        return True

    @contextmanager
    def _node_of(self, run: Running) -> Iterator[str]:
        node = self._job(run.job, "%N")
        node = node if node in NODES else NODES[0]
        try:
            yield node
        finally:
            self._cluster.start_node(node)

    def _runs(self, job: str) -> bool:
        return self._job(job, "%T") in ("RUNNING", "SIGNALING")

    def _job(self, job: str, what: str) -> str:
        return self._cluster.ask("squeue", "--noheader", f"--jobs={job}", f"--format={what}")


def _running(store: Store) -> list[Running]:
    """The runs that have a worker now, and the jobs that do them."""
    found = []
    for batch in batch_names(store):
        for allocation, name, jobs in known_allocations(store, batch):
            began, ends = allocation.read()
            for place, (task, seed, arm, stage) in enumerate(jobs):
                files = store.untrained(task) if stage == "untrained" else store.run(task, seed, arm or "dense")
                progress = read_progress(files.progress) if began and place not in ends else None
                if progress is not None:
                    found.append(Running(files, name, progress.pid))
    return list({run.files: run for run in found}.values())
