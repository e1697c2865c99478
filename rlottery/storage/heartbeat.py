"""Heartbeats: a small file per process that works in a data folder, and how others judge whether that process lives.

``.locks/.beats/{id}`` says which process it is. The process renews the file's time of change while it lives, and
removes the file once it has left. Clocks of machines differ, so nobody compares that time with a clock: another process
watches whether it changes. A process that is suspended renews nothing, and looks as if it were dead.
"""

import contextlib
import hashlib
import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import Enum, auto
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field

from rlottery.processes.descendants import is_alive
from rlottery.processes.stopping import at_end
from rlottery.storage.disk import read_json, write_bytes
from rlottery.storage.stored_types import Count, Moment, Name, validated
from rlottery.storage.temporary_files import DEAD_AFTER_SECONDS

BEAT_SECONDS = 10.0
"""How often a process renews its heartbeat: one small operation, however many runs it holds."""
STALE_SECONDS = 120.0
"""For how long a heartbeat must be seen not to change until its process counts as dead. It is longer than a network
file system hides a change (60 s), and than a worker takes to end whose command has died."""
LOOK_SECONDS = 30.0
"""The most that one look adds to the time of watching: the watcher may have been suspended since the one before."""
_JOBS = {"SLURM_JOB_ID": "Slurm job", "PBS_JOBID": "PBS job", "LSB_JOBID": "LSF job"}
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Host:
    """A machine that is up.

    Attributes:
        boot: differs for each start of each machine. Where the system has no such number (macOS), the host's name.
        machine: the same after each start of one machine; "" if unknown.
    """

    name: str
    boot: str
    machine: str


@cache
def this_host() -> Host:
    """The machine that this process runs on."""
    name, boot, machine = socket.gethostname(), "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    with contextlib.suppress(OSError):
        # The nodes of a cluster may share an image, so the name counts too.
        number = Path("/etc/machine-id").read_text().strip()
        machine = hashlib.sha256(f"{number} {name}".encode()).hexdigest()[:16] if number else ""
    return Host(name, boot or name, machine)


@dataclass(frozen=True)
class Owner:
    """A process that works in a data folder.

    Attributes:
        id: a random name.
        boot, machine: as of its `Host`.
        space: the process namespace that `pid` belongs to. Containers have one each.
        started: when the process started, in ticks since the boot; 0 if unknown.
        job: the engine's job that it belongs to, such as "Slurm job 12"; "" if there is none.
        since: when it came, in seconds since 1970 by its own clock.
    """

    id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    host: Name
    boot: Name
    machine: Name
    space: Name
    pid: Annotated[int, Field(strict=True, gt=0, lt=2**31)]
    started: Count
    job: Name
    since: Moment

    @property
    def is_on_this_boot(self) -> bool:
        return self.boot == this_host().boot

    @property
    def lives_here(self) -> bool:
        """Whether it is another process of this machine that is known to live."""
        here = self.is_on_this_boot and self.space == _process_space()
        return here and self.pid != os.getpid() and is_alive(self.pid) and _started(self.pid) == self.started

    @property
    def has_gone_with_its_boot(self) -> bool:
        """Whether it was on this machine before the machine was started again."""
        here = this_host()
        return bool(self.machine) and self.machine == here.machine and self.boot != here.boot


def this_owner() -> Owner:
    """This process, under a new name."""
    here, pid = this_host(), os.getpid()
    space, started = _process_space(), _started(pid)
    return Owner(uuid.uuid4().hex, here.name, here.boot, here.machine, space, pid, started, this_job(), time.time())


def this_job() -> str:
    """The engine's job that this process belongs to, such as "Slurm job 12"; "" if there is none."""
    return next((f"{kind} {os.environ[name][:100]}" for name, kind in _JOBS.items() if os.environ.get(name)), "")


def read_owner(path: Path) -> Owner | None:
    """The owner that a heartbeat or a lease names; None if its content is none. Raises FileNotFoundError."""
    try:
        return validated(Owner, read_json(path, _MAX_BYTES))
    except FileNotFoundError:
        raise
    except (OSError, ValueError):  # pydantic's errors are of that type
        return None


class Heartbeat:
    """The heartbeat of this process in one data folder. It beats from `join` to the last `part`.

    Args:
        folder: where heartbeats are.
    """

    def __init__(self, folder: Path):
        self.owner, self._users = this_owner(), 0
        self.path = folder / self.owner.id
        folder.mkdir(parents=True, exist_ok=True)
        try:
            write_bytes(self.path, json.dumps(asdict(self.owner)).encode())  # leases are links to it
            _remove_old(folder, self.path.stat().st_mtime)
        except OSError:
            self._remove()
            raise
        self._ended = threading.Event()
        with contextlib.suppress(RuntimeError):  # no thread can be started: whoever watches will take it for dead
            threading.Thread(target=self._beat, daemon=True, name="heartbeat").start()

    @classmethod
    def join(cls, folder: Path) -> "Heartbeat":
        """This process's heartbeat in a folder, with one more user. Raises OSError if it can't be written."""
        with _GUARD:
            key = folder.absolute()
            if (found := _running.get(key)) is None or not found.path.exists():  # else: the folder was deleted
                found = _running[key] = cls(folder)
            found._users += 1
            return found

    def part(self) -> None:
        """One user less. Without users it ends, and its file is removed."""
        with _GUARD:
            self._users -= 1
            if self._users == 0:
                self._ended.set()
                self._remove()
                for key in [key for key, running in _running.items() if running is self]:
                    del _running[key]

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with contextlib.suppress(OSError):  # whoever can't see it change will judge by that
                os.utime(self.path)

    def _remove(self) -> None:
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)


_GUARD = threading.Lock()
_running: dict[Path, Heartbeat] = {}
"""The heartbeats of this process, by their folders."""


@at_end
def _leave() -> None:
    for heartbeat in list(_running.values()):
        heartbeat._remove()


class Sign(Enum):
    """What watching has shown about a process so far."""

    UNSURE = auto()
    LIFE = auto()
    DEATH = auto()


@dataclass
class _Seen:
    beat: int
    looked: float
    unchanged: float = 0.0
    has_changed: bool = False


class Watch:
    """Watches heartbeats, by this process's own clock, which doesn't jump."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def look(self, key: str, beat: int) -> Sign:
        """What has been seen of a heartbeat, after one more look at its time of change."""
        now = self._clock()
        seen = self._seen.setdefault(key, _Seen(beat, now))
        if seen.beat != beat:
            self._seen[key] = seen = _Seen(beat, now, has_changed=True)
        seen.unchanged += min(now - seen.looked, LOOK_SECONDS)
        seen.looked = now
        if seen.unchanged >= STALE_SECONDS:
            return Sign.DEATH
        return Sign.LIFE if seen.has_changed else Sign.UNSURE

    def look_at_all(self, folder: Path) -> None:
        """Look at every heartbeat of a folder, so that several dead processes are waited for at the same time."""
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    self.look(entry.name, entry.stat(follow_symlinks=False).st_mtime_ns)


WATCH = Watch()
"""What this process has seen of others."""


def _started(pid: int) -> int:
    """When a process started, in ticks since the boot. Numbers of processes are used again, this one isn't."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[19])
    return 0


def _process_space() -> str:
    with contextlib.suppress(OSError):
        return os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    return ""


def _remove_old(folder: Path, now: float) -> None:
    """Remove the heartbeats that nobody has renewed for days, by the clock of the files."""
    with os.scandir(folder) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                if now - entry.stat(follow_symlinks=False).st_mtime > DEAD_AFTER_SECONDS:
                    Path(entry.path).unlink()
