"""Locks: one process at a time works in a run's folder.

A lock is the kernel's (flock), and next to it a lease, for file systems on which the kernels of two machines don't know
of each other's locks (`rlottery.storage.lease`).

A command takes the locks of its runs before any work starts, and hands each to the worker that does the run: the file
descriptor is inherited, and the kernel releases the lock once all processes that have it have ended in any way. The
command renews its leases; workers check them.

The lock files are in a folder of their own, so that deleting a run's folder lets nobody in while the run is trained.
"""

import contextlib
import fcntl
import json
import os
import stat
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Self

from rlottery.errors import GoneError, StudyError
from rlottery.processes.descendants import is_alive
from rlottery.storage import fence, lease
from rlottery.storage.heartbeat import STALE_SECONDS, WATCH, Owner, this_host, this_job
from rlottery.storage.lease import Lease, Standing
from rlottery.storage.paths import RunFiles
from rlottery.storage.temporary_files import revoke

PATIENCE_SECONDS = 2.0
"""How long to wait for another process that may be about to end."""
RECENT_SECONDS = 3_600.0
"""The age of a heartbeat, by clocks that differ, until which a process of another machine is said to be at work."""
_MAX_BYTES = 4096
_NEW = os.O_RDWR | os.O_CREAT


@dataclass(frozen=True)
class Holder:
    """A process that holds the lock of a run, the command that it works for, and since when (seconds since 1970).

    `job` is the engine's job that it belongs to, such as "Slurm job 12"; "" if there is none.
    """

    pid: int
    parent: int
    host: str
    since: float
    job: str = ""

    def __str__(self) -> str:
        return f"process {self.pid} {self.place}, since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M}"

    @property
    def place(self) -> str:
        """Where it is: ``on node7 (Slurm job 12)``."""
        return f"on {self.host}{f' ({self.job})' if self.job else ''}"

    @property
    def is_elsewhere(self) -> bool:
        """Whether it is on another machine."""
        return self.host != this_host().name

    @property
    def is_orphan(self) -> bool:
        """Whether the command that started it has died. Then it saves its work and ends by itself."""
        return not self.is_elsewhere and not is_alive(self.parent)


class RunLock:
    """The lock of a run and its lease, which this process holds until `release`.

    In a `with` statement, nothing is put in place (`rlottery.storage.fence`) unless `check` finds the lease intact.

    Args:
        files: the run.
        descriptor: the lock file, opened and locked, here or in the process that has started this one.
        lease: the lease, taken here or in the process that has started this one.
    """

    def __init__(self, files: RunFiles, descriptor: int, lease: Lease):
        self.files, self._descriptor, self._folder, self._lease = files, descriptor, -1, lease
        self._parent = os.getpid()
        self._fences: list[fence.Raised] = []
        os.set_inheritable(descriptor, False)

    def __enter__(self) -> Self:
        self._fences.append(fence.raise_fence(self.check))
        return self

    def __exit__(self, *exception: object) -> None:
        fence.lower_fence(self._fences.pop())
        self.release()

    @contextlib.contextmanager
    def fenced(self) -> Iterator[None]:
        """A context with the fence of a `with` statement, after which this process still holds the lock."""
        raised = fence.raise_fence(self.check)
        try:
            yield
        finally:
            fence.lower_fence(raised)

    def fileno(self) -> int:
        return self._descriptor

    def note_holder(self, parent: int) -> None:
        """Write into the lock file that this process holds the lock, and works for the command `parent`."""
        self._parent = parent
        holder = Holder(os.getpid(), parent, this_host().name, time.time(), this_job())
        with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, json.dumps(asdict(holder)).encode(), 0)

    def watch_folder(self) -> None:
        """Let `check_intact` look at the run's folder too. It exists."""
        # Kept open, so that no later folder can have the same number.
        self._folder = os.open(self.files.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)

    def check_intact(self) -> None:
        """Raise GoneError if others may work here: the lock file or the run's folder was deleted, or the lease is seen
        to be lost. Quick enough for every episode."""
        for path, descriptor in ((self.files.lock, self._descriptor), (self.files.folder, self._folder)):
            if descriptor >= 0 and not _is_at(path, descriptor):
                raise GoneError(
                    f"{path} was deleted or replaced while this run was trained, so the run has ended. Run this "
                    "command again."
                )
        if self._lease.has_successor():
            raise self._lost_error()

    def check(self) -> None:
        """`check_intact`, and raise GoneError if the lease is lost. Raises OSError if that can't be found out."""
        self.check_intact()
        if not self._lease.is_newest():
            raise self._lost_error()

    def release(self) -> None:
        """Release the lock, unless a child still has it. A worker leaves the lease to its command, if that lives."""
        if self._descriptor >= 0 and (self._lease.is_own or not is_alive(self._parent)):
            self._lease.release()
        for descriptor in (self._descriptor, self._folder):
            if descriptor >= 0:
                os.close(descriptor)
        self._descriptor = self._folder = -1

    def _lost_error(self) -> GoneError:
        owner = lease.look(self.files.lock).owner
        by = _holder(owner) if owner is not None else "another process"
        return GoneError(
            f"{self.files.folder} was taken over by {by}: this process and its command gave no sign of life for "
            f"{STALE_SECONDS:.0f} seconds. So the run has ended here, and nothing more is written. If it is not done "
            "elsewhere, run this command again."
        )


def try_lock(files: RunFiles) -> RunLock | None:
    """Take the lock of a run; None if another process holds it. Raises StudyError if that can't be found out."""
    if _is_held(files.earlier_lock):
        return None
    files.lock.parent.mkdir(parents=True, exist_ok=True)
    while True:
        descriptor = _open(files.lock, _NEW)
        lock = None
        try:
            if not _try(descriptor, fcntl.LOCK_EX, files.lock):
                return None
            if _is_at(files.lock, descriptor):
                lock = _leased(files, descriptor)
                return lock
            # It was deleted between opening and locking.
        finally:
            if lock is None:
                os.close(descriptor)


def _leased(files: RunFiles, descriptor: int) -> RunLock | None:
    """The lock of a run whose lock file is locked, if there is a lease to be had."""
    try:
        taken = lease.take(files.lock)
        if taken is None:
            return None
        if not taken.was_released:
            revoke(one for of in (files, files.aside) for one in (of.folder, of.checkpoint))
    except OSError as error:
        raise StudyError(
            f"{error.filename or files.lock} can't be written: {error.strerror}. Fix this, then run this command again."
        ) from None
    lock = RunLock(files, descriptor, taken)
    lock.note_holder(os.getpid())
    return lock


def hold(files: RunFiles) -> RunLock:
    """Take the lock of a run, so that no other process works in its folder. Raises StudyError if another one does."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (lock := try_lock(files)) is None:
        unsure = is_unsure(files)
        if time.monotonic() > deadline and not unsure:
            raise in_use_error(files)
        time.sleep(pause(unsure=unsure))
    return lock


def is_unsure(files: RunFiles) -> bool:
    """Whether only watching can show that the process of another machine which has the run still lives."""
    return not _is_held(files.lock) and lease.look(files.lock).standing is Standing.UNSURE


def pause(*, unsure: bool) -> float:
    """Seconds between two looks at a run that another process has."""
    return 1.0 if unsure else 0.05


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for it if necessary. The file is made if it doesn't exist, and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = _open(path, _NEW)
    try:
        _flock(descriptor, fcntl.LOCK_EX, path)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def one_machine_at_a_time(path: Path) -> Iterator[None]:
    """`one_at_a_time` for a lock file among the locks of runs, also where locks don't hold between machines."""
    with one_at_a_time(path):
        while (taken := lease.take(path)) is None:
            WATCH.look_at_all(lease.beats_of(path))
            time.sleep(pause(unsure=lease.look(path).standing is Standing.UNSURE))
        try:
            yield
        finally:
            taken.release()


def holder_of(files: RunFiles) -> Holder | None:
    """The process that holds the lock of a run, or None.

    Whether a process of another machine lives can only be judged by its heartbeat's age, if the lock doesn't show it.
    """
    for path in (files.lock, files.earlier_lock):
        if _is_held(path):
            return _read_holder(path)
    newest = lease.look(files.lock)
    is_recent = abs(time.time() - newest.beat) < RECENT_SECONDS
    if newest.owner is None or newest.standing is Standing.FREE or not is_recent:
        return None
    return _holder(newest.owner)


def _holder(owner: Owner) -> Holder:
    return Holder(owner.pid, owner.pid, owner.host, owner.since, owner.job)


def in_use_error(files: RunFiles) -> StudyError:
    """The error for a run whose lock another process holds."""
    holder = holder_of(files) or Holder(0, 0, "an unknown host", time.time())  # it has ended meanwhile
    return StudyError(
        f"Another process is using {files.folder}: {holder}. "
        "Wait until it ends, or end it, then run this command again."
    )


def _is_held(path: Path) -> bool:
    try:
        descriptor = _open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        # A shared lock, released at once: processes that only look don't disturb each other.
        return not _try(descriptor, fcntl.LOCK_SH, path)
    finally:
        os.close(descriptor)


def _open(path: Path, flags: int) -> int:
    """Open a lock file. Links aren't followed, and pipes aren't waited for."""
    what = "not a regular file"
    try:
        descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o644)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor
        os.close(descriptor)
    except OSError as error:
        if not os.path.lexists(path):
            raise
        if path.is_file() and not path.is_symlink():
            what = str(error.strerror)
    raise StudyError(f"The lock file {path} can't be used: {what}. Delete it, then run this command again.")


def _try(descriptor: int, kind: int, path: Path) -> bool:
    try:
        _flock(descriptor, kind | fcntl.LOCK_NB, path)
    except BlockingIOError:
        return False
    return True


def _flock(descriptor: int, kind: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, kind)
    except BlockingIOError:
        raise
    except OSError as error:
        raise StudyError(
            f"{path} can't be locked: {error.strerror}. The file system must have locks: mount Lustre with flock, and "
            "NFS without nolock; or choose another data folder with data=FOLDER."
        ) from None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the open file is the one that has this path. If that can't be found out now, it is."""
    try:
        return os.path.samestat(os.lstat(path), os.fstat(descriptor))
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def _read_holder(path: Path) -> Holder:
    descriptor = -1
    try:
        descriptor = _open(path, os.O_RDONLY)
        saved: Any = json.loads(os.pread(descriptor, _MAX_BYTES, 0))
        job = str(saved.get("job", ""))[:200]  # earlier versions wrote none
        holder = Holder(int(saved["pid"]), int(saved["parent"]), str(saved["host"])[:200], float(saved["since"]), job)
        str(holder)  # the time may be none
        return holder
    except (OSError, StudyError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return Holder(0, 0, "an unknown host", 0.0)  # it has the lock and has not written its name yet
    finally:
        if descriptor >= 0:
            os.close(descriptor)
