"""The cores that this process may use: which, how many of them it can keep busy, and claims on single cores."""

import contextlib
import os
import socket
from pathlib import Path
from typing import NamedTuple

from rlottery.study.execution.cgroups import cpu_quota

_SLURM = ("SLURM_CPUS_PER_TASK", "SLURM_CPUS_ON_NODE")
_CLAIMS = "rlottery/core"


class CoreLimit(NamedTuple):
    """How many cores this process can keep busy, at least 1, and what limits them."""

    number: int
    why: str


def available_cores() -> list[int]:
    """The cores that this process may use. Numbered from 0 where the system has no affinity (macOS)."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores(root: Path = Path("/")) -> CoreLimit:
    """The tightest of the machine's cores, this process's affinity, its CPU quota, and the cores that Slurm allots.

    Slurm's variables count where it doesn't set the affinity itself. A quota is rounded down, because workers that
    share a core make each other slow.
    """
    affinity, machine = len(available_cores()), os.cpu_count() or 1
    limits = [CoreLimit(affinity, "the affinity of this process" if affinity < machine else "all cores")]
    if quota := cpu_quota(root):
        limits.append(CoreLimit(max(1, int(quota.value)), f"{quota.file} allows {quota.value:.3g} cores"))
    if affinity == machine:
        limits += [
            CoreLimit(int(given), f"{name}={given}")
            for name in _SLURM
            if (given := os.environ.get(name, "")).isdecimal() and int(given) > 0
        ][:1]
    return min(limits, key=lambda limit: limit.number)


class Claim:
    """A core that no other study on this machine pins a worker to until `release`, or until this process has died.

    An abstract socket's name is the claim: it belongs to one process on the machine, whoever runs it, needs no file,
    and is free again when the process is gone.
    """

    def __init__(self, core: int):
        """Claim `core`. Raises OSError if it is claimed already, or nothing can be claimed here."""
        self.core = core
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(f"\0{_CLAIMS}/{core}")
        except OSError:
            self._socket.close()
            raise

    def release(self) -> None:
        self._socket.close()


def claim_core(root: Path = Path("/")) -> Claim | None:
    """The first core that nobody has claimed; None if there is none, or if workers should not be pinned.

    They are not pinned where a quota limits them: other containers may use the same cores, and would claim the same
    ones, because they don't see these claims. The system then distributes the work better.
    """
    cores = available_cores()
    if not hasattr(os, "sched_setaffinity") or usable_cores(root).number < len(cores):
        return None
    for core in cores:
        with contextlib.suppress(OSError):
            return Claim(core)
    return None


def pin(core: int | None) -> None:
    """Restrict this process to one core, if the system supports it and still has that core."""
    if core is not None and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {core})
