"""Running a study on a cluster: what a command needs for that, checked before anything is submitted.

One command at a time hands in the allocations of a data folder. It holds the lock `Store.head`. Others that are started
meanwhile follow its work, and one of them continues it if that command ends early.
"""

import contextlib
import secrets
import shutil
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Self

from rlottery.config import Config
from rlottery.config.cluster_profile import ClusterProfile, load_profile
from rlottery.errors import ConfigError, StudyError, unknown_choice
from rlottery.processes.children import python_command
from rlottery.storage.locks import RunLock, holder_of, try_lock
from rlottery.storage.paths import Store
from rlottery.study.execution.allocations import end_asked
from rlottery.study.execution.cluster import ClusterBackend, Phase
from rlottery.study.execution.dask import Dask, threads_at
from rlottery.study.execution.slurm import (
    SavingCommand,
    Slurm,
    check_slurm,
    check_tools,
    job_name,
    sbatch_flags,
    submit,
)
from rlottery.study.mounts import OF_ONE_MACHINE, mount_of
from rlottery.study.resources.estimate import DaskCores

ENGINES = ("slurm", "dask")
HEAD = "head"
"""What the comment of the job of `--detach`, which is the name of its folder, begins with."""
TAKE_OVER_SECONDS = 10.0
"""How often to look whether the command that hands in has ended."""
_LOCAL_FOLDERS = ("/tmp", "/var/tmp", "/dev/shm")


@dataclass(frozen=True)
class Asked:
    """What a command line says about where to run.

    Attributes:
        engine: one of `ENGINES`.
        profile: the file that says what Slurm's jobs ask for.
        detach: whether the command that hands in runs on the cluster as well.
        scheduler: the address of Dask's scheduler.
    """

    engine: str
    profile: Path | None = None
    detach: bool = False
    scheduler: str = ""

    def size(self) -> ClusterProfile | DaskCores:
        """What a dry run's totals are for. A scheduler that can't be reached is not an error."""
        if self.profile is not None:
            return load_profile(self.profile)
        return DaskCores(self.scheduler, threads_at(self.scheduler))


def open_cluster(asked: Asked, config: Config, say: Callable[[str], None]) -> "Cluster":
    """The cluster that a command asks for.

    Raises:
        RlotteryError: nothing can be submitted there, with what is asked for. Nothing was.
    """
    if asked.profile is not None:
        return OnSlurm(asked.profile, config, say)
    return OnDask(asked.scheduler, config, say)


class Cluster(ABC):
    """An engine on which a command runs a study. At the end of a `with` statement another command may hand in.

    Attributes:
        most_runs: the most runs at a time.
        is_head: whether this command hands in.
    """

    most_runs: int

    def __init__(self, config: Config, say: Callable[[str], None]):
        self._say, self._store = say, Store(config.data)
        self._lock: RunLock | None = None
        self._looked = 0.0
        self._asked_before = end_asked(self._store)
        self.is_head = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        if self._lock is not None:
            self._lock.release()

    def take(self) -> bool:
        """Become the command that hands in, if there is none. Returns whether this one is it."""
        if self._lock is None and (self._looked == 0.0 or time.monotonic() - self._looked > TAKE_OVER_SECONDS):
            first, self._looked = self._looked == 0.0, time.monotonic()
            self._store.head.lock.parent.mkdir(parents=True, exist_ok=True)
            self._lock = try_lock(self._store.head)
            self.is_head = self._lock is not None
            if self.is_head and not first:
                self._say("The command that submitted jobs has ended. This one continues its work.")
            elif first and not self.is_head:
                self._say(f"Joining {self._holder()}: it submits the jobs. Ctrl-C leaves, and changes nothing.")
        return self.is_head

    def is_cancelled(self) -> bool:
        """Whether `rlottery cancel` has asked this command to end."""
        return end_asked(self._store) not in (b"", self._asked_before)

    def _holder(self) -> str:
        return f"the command that runs this study ({holder_of(self._store.head) or 'elsewhere'})"

    @abstractmethod
    def backend(self) -> ClusterBackend:
        """What the executor hands jobs to."""

    def detach(self) -> str:
        """Let the cluster run this command. Returns what to tell the user. Raises StudyError if one runs already."""
        raise StudyError("--detach is for a study on Slurm.")

    def tidy(self) -> None:
        """Delete what the nodes were told, and have answered. For a study whose runs are all done."""
        if self.is_head:
            folder, jobs = self._store.cluster, self._store.cluster_jobs
            for path in [*jobs.glob("*"), *folder.glob("*")]:
                if not path.name.startswith(HEAD) and path != jobs:
                    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # the job of --detach still prints there
                jobs.rmdir()

    @property
    def line_when_left(self) -> str:
        """What a command says when a signal ends it."""
        if self.is_cancelled():
            return "Cancelled by `rlottery cancel`. Run the same command again to continue from the last checkpoints."
        return f"Left. Submitted jobs go on: run the same command again to follow them. {self._how_to_cancel}"

    @property
    def _how_to_cancel(self) -> str:
        return f"To cancel all its jobs: rlottery cancel {quote(str(self._store.root))}"


class OnSlurm(Cluster):
    """A study on Slurm, with what a profile asks for."""

    def __init__(self, profile: Path, config: Config, say: Callable[[str], None]):
        super().__init__(config, say)
        self.profile: ClusterProfile = load_profile(profile)
        check_tools()
        self._check()
        check_is_shared(config.data, self.profile)
        self.most_runs = self.profile.jobs * self.profile.cores

    def _check(self) -> None:
        """Raise StudyError if Slurm would not take jobs, unless it has some: nodes may be away now, or a queue full."""
        try:
            check_slurm(self.profile)
        except StudyError as error:
            found = Slurm(self._store, self.profile).standings() or {}
            if all(job.phase is Phase.CANCELLED for job in found.values()):
                raise
            self._say(f"{error} Jobs of this study are in the queue, so this command continues.")

    def backend(self) -> ClusterBackend:
        engine = Slurm(self._store, self.profile)
        return ClusterBackend(self._store, engine, self.profile.cores, self._say, self.take)

    def detach(self) -> str:
        """Submit this command as a job of its own, which submits the others. Returns what to tell the user.

        Raises StudyError if a command hands in already.
        """
        if holder := holder_of(self._store.head):
            raise StudyError(f"This study is running: {holder} submits its jobs. To follow it, leave out --detach.")
        found = Slurm(self._store, self.profile).standings()
        if found is None:
            raise StudyError("Slurm doesn't answer: `squeue` failed. Try again once it does.")
        if any(name.startswith(HEAD) and job.phase is not Phase.CANCELLED for (name, _), job in found.items()):
            raise StudyError(
                "A job of --detach is queued or running already. To follow it, leave out --detach. "
                f"To see it: squeue --name={job_name(self._store)}"
            )
        arguments = [word for word in sys.argv[1:] if word != "--detach"]
        small = self.profile.model_copy(
            update={"time": self.profile.head_time, "cores": 1, "whole_nodes": False, "memory": "2G"}
        )
        check_slurm(small)
        command = [*python_command("rlottery"), *arguments]
        folder = self._store.cluster_jobs / f"{HEAD}-{secrets.token_hex(4)}"
        folder.mkdir(parents=True)
        flags = sbatch_flags(small) | {"comment": folder.name}
        [name] = submit(self._store, small, [SavingCommand(command)], flags, folder)
        follow = " ".join(map(quote, ["rlottery", *arguments]))
        return (
            f"Submitted as Slurm job {name}, which submits the others and writes the report. What it prints is in "
            f"{folder}. To follow the runs: {follow}\n{self._how_to_cancel}"
        )


class OnDask(Cluster):
    """A study on a Dask cluster that runs already. It does a run on each thread of its workers."""

    most_runs = 100_000

    def __init__(self, scheduler: str, config: Config, say: Callable[[str], None]):
        super().__init__(config, say)
        self._dask = Dask(self._store, scheduler, say)

    def tidy(self) -> None:
        if self.is_head:
            self._dask.forget_ended()
        super().tidy()

    def __exit__(self, *exception: object) -> None:
        self._dask.close()
        super().__exit__(*exception)

    def backend(self) -> ClusterBackend:
        return ClusterBackend(self._store, self._dask, 1, self._say, self.take)


def asked_for(engine: str | None, profile: Path | None, scheduler: str | None, *, detach: bool) -> Asked | None:
    """What a command's flags ask for; None: this machine. Raises ConfigError if they don't fit together."""
    if engine not in (None, *ENGINES):
        raise ConfigError(unknown_choice("--on", engine, ENGINES))
    flags = {"--profile": ("slurm", profile), "--detach": ("slurm", detach), "--scheduler": ("dask", scheduler)}
    for flag, (needs, given) in flags.items():
        if given and engine != needs:
            raise ConfigError(f"{flag} is for a study on {needs.capitalize()}: add --on {needs}, or leave it out.")
    if engine is None:
        return None
    if engine == "dask":
        if not scheduler:
            raise ConfigError("--on dask needs --scheduler ADDRESS: what `dask scheduler` prints, tcp://HOST:8786.")
        return Asked(engine, scheduler=scheduler)
    if profile is None:
        raise ConfigError("--on slurm needs --profile cluster.yaml. `rlottery init --cluster slurm` writes that file.")
    return Asked(engine, profile, detach)


def check_is_shared(data: Path, profile: ClusterProfile) -> None:
    """Raise StudyError if the data folder is on a file system of this machine, so that nodes don't see it.

    Unless the profile says that they do: this machine may be the one that exports it.
    """
    mount = mount_of(data)
    kind = "" if mount is None else mount.kind
    is_local = kind in OF_ONE_MACHINE or any(data.resolve().is_relative_to(local) for local in _LOCAL_FOLDERS)
    if is_local and not profile.data_is_shared:
        raise StudyError(
            f"The data folder {data} belongs to this machine alone ({kind or 'a local folder'}), so nodes can't read "
            "it. Choose a folder on a file system that they share with data=FOLDER. If they do share this one, because "
            "this machine exports it, set data_is_shared: true in the profile."
        )
