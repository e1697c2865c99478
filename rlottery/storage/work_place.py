"""A command's place in a data folder: the locks of all its runs, and a sign that lasts if the folder is deleted.

The sign is an abstract socket, whose name says which folder this is and which `.locks` it has. A command that finds the
same folder with another `.locks`, or with none, knows that it was deleted or replaced while others work in it. Abstract
sockets belong to a machine and exist on Linux alone: elsewhere, and on other machines, only the runs themselves notice
that their folders are gone (`RunLock.check_intact`).
"""

import contextlib
import hashlib
import os
import resource
import socket
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Self

from rlottery.errors import StudyError
from rlottery.processes.descendants import is_alive
from rlottery.storage import lease
from rlottery.storage.heartbeat import STALE_SECONDS, WATCH
from rlottery.storage.locks import PATIENCE_SECONDS, RunLock, holder_of, in_use_error, is_unsure, pause, try_lock
from rlottery.storage.paths import RunFiles, Store

ORPHAN_SECONDS = 60.0
"""How long a worker whose command has died may take to save its work and end."""
OTHER_FILES = 256
"""Open files that a command needs besides those of its locks."""
_SIGN = "rlottery/data"


class WorkPlace:
    """The locks of a command's runs, and its sign in the data folder. At the end of a `with` statement all are gone.

    While it has locks, a thread renews the command's heartbeat, which all their leases share.

    Until then the limit on open files may be raised.

    Args:
        store: the data folder.
        say: shows a line while another process is waited for.
    """

    def __init__(self, store: Store, say: Callable[[str], None] = lambda line: None):
        self._store, self._say = store, say
        self._locks: dict[RunFiles, RunLock] = {}
        self._folder = -1
        self._sign: socket.socket | None = None
        self._announced = False
        self._limit: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.leave()

    def enter(self, runs: Iterable[RunFiles]) -> None:
        """Take the locks of these runs.

        Two commands that want some of the same runs take them in the same order, so one of them gets all.

        Raises:
            StudyError: another process uses one of the runs, or a folder that was here before, and doesn't end.
        """
        try:
            self._show_sign()
            wanted = sorted(set(runs), key=lambda files: files.lock)
            for files in wanted[: self._room(len(wanted))]:
                self._locks[files] = self._lock(files)
        except BaseException:
            self.leave()
            raise

    def enter_if_free(self, files: RunFiles) -> bool:
        """Take one more lock. Returns whether it was taken: False, at once, if another running command has it.

        Only for a command of another machine, whose lock this one can't see, it takes some seconds to know.
        """
        if files not in self._locks:
            lock = self._lock_within(files, 0.0)
            if lock is None:
                return False
            self._locks[files] = lock
        return True

    def lock(self, files: RunFiles) -> RunLock:
        """The lock of a run. It is taken now if the limit on open files was too low for all. Raises StudyError."""
        if files not in self._locks:
            self._locks[files] = self._lock(files)
        return self._locks[files]

    def inherited(self, runs: Sequence[RunFiles]) -> list[int]:
        """The file descriptors that a worker inherits to hold the locks of these runs, and then those of the sign."""
        signs = [self._folder, self._sign.fileno()] if self._sign else []
        return [self.lock(files).fileno() for files in runs] + signs

    def release(self, files: RunFiles) -> None:
        """Release the lock of a run. A worker that has it may hold it a little longer."""
        if lock := self._locks.pop(files, None):
            lock.release()

    def leave(self) -> None:
        """Release everything."""
        for files in list(self._locks):
            self.release(files)
        if self._sign:
            self._sign.close()
            os.close(self._folder)
            self._sign = None
        if self._limit:
            with contextlib.suppress(OSError, ValueError):  # the hard limit was lowered meanwhile
                resource.setrlimit(resource.RLIMIT_NOFILE, self._limit)
            self._limit = None

    def _room(self, wanted: int) -> int:
        """How many locks this process may hold at once. Raises its own limit on open files if that is too low."""
        needed = wanted + OTHER_FILES
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft == resource.RLIM_INFINITY or soft >= needed:
            return wanted
        raised = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        if raised > soft:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
                self._limit = self._limit or (soft, hard)
                soft = raised
        return max(0, min(wanted, soft - OTHER_FILES))

    def _lock(self, files: RunFiles) -> RunLock:
        lock = self._lock_within(files, PATIENCE_SECONDS)
        if lock is None:
            raise in_use_error(files)
        return lock

    def _lock_within(self, files: RunFiles, seconds: float) -> RunLock | None:
        """The lock of a run; None if a process holds it for longer than that. Orphans are waited for longer."""
        began = time.monotonic()
        while (lock := try_lock(files)) is None:
            holder, unsure = holder_of(files), is_unsure(files)
            is_orphan = holder is not None and holder.is_orphan
            waited = time.monotonic() - began
            if not unsure and waited >= (ORPHAN_SECONDS if is_orphan else seconds):
                return None
            if is_orphan:
                self._announce(f"Waiting for {holder} to save its work: the command that started it has died.")
            elif unsure:
                WATCH.look_at_all(lease.beats_of(files.lock))
                self._announce(
                    f"Waiting for up to {STALE_SECONDS:.0f} seconds to see whether {holder or 'a process'} of another "
                    "machine still works here."
                )
            time.sleep(pause(unsure=unsure))
        return lock

    def _show_sign(self) -> None:
        """Show that this process works here, and look for others that work in a folder that was here before."""
        self._store.locks.mkdir(parents=True, exist_ok=True)
        # Kept open, so that no later folder can have the same number.
        self._folder = os.open(self._store.locks, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        status = os.fstat(self._folder)
        place = f"{_SIGN}/{hashlib.sha256(os.fsencode(self._store.root.resolve())).hexdigest()[:24]}/"
        here = f"{place}{status.st_dev:x}-{status.st_ino:x}/"
        self._sign = socket.socket(socket.AF_UNIX)
        with contextlib.suppress(OSError):  # no abstract sockets here; or this process has another sign in this folder
            self._sign.bind(f"\0{here}{os.getpid()}")
        began = time.monotonic()
        while others := {int(name.rpartition("/")[2]) for name in _signs(place) if not name.startswith(here)}:
            alive = [pid for pid in others if is_alive(pid)]
            if time.monotonic() - began > (PATIENCE_SECONDS if alive else ORPHAN_SECONDS):
                raise StudyError(
                    f"{self._store.root} was deleted or replaced while process {min(alive or others)} works in it. "
                    "Wait until that process ends, or end it, then run this command again."
                )
            if not alive:
                self._announce(f"Waiting for a worker to end: {self._store.root} was deleted while it works there.")
            time.sleep(0.05)

    def _announce(self, line: str) -> None:
        if not self._announced:
            self._announced = True
            self._say(line)


def adopt(files: RunFiles, descriptor: int, parent: int) -> RunLock:
    """The lock of a run that this process has inherited from the command `parent`."""
    lock = RunLock(files, descriptor, lease.inherited(files.lock, parent))
    lock.note_holder(parent)
    return lock


def _signs(place: str) -> list[str]:
    """The names of the signs of processes on this machine whose names begin so."""
    try:
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()
    except OSError:
        return []
    names = (line.rpartition(" ")[2] for line in lines)
    return [name[1:] for name in names if name.startswith(f"@{place}") and name.rpartition("/")[2].isdecimal()]
