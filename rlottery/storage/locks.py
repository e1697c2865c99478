"""Locks: one process at a time works in a run's folder. The kernel releases a lock when its process ends in any way."""

import contextlib
import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

from rlottery.errors import StudyError
from rlottery.storage.disk import read_json
from rlottery.storage.paths import RunFiles

PATIENCE_SECONDS = 2.0
"""How long `hold` waits for another process that may be about to end."""
_MAX_BYTES = 4096


@dataclass(frozen=True)
class Holder:
    """A process that holds the lock of a run, the process that started it, and since when (seconds since 1970)."""

    pid: int
    parent: int
    host: str
    since: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {datetime.fromtimestamp(self.since):%Y-%m-%d %H:%M}"

    @property
    def is_orphan(self) -> bool:
        """Whether the command that started it has died. Then it saves its work and ends by itself."""
        return self.host == socket.gethostname() and not _is_alive(self.parent)


@contextlib.contextmanager
def hold(files: RunFiles, parent: int = 0) -> Iterator[None]:
    """Hold the lock of a run, so that no other process works in its folder. Raises StudyError if another one does.

    Args:
        parent: the process that this one works for. By default the one that started it.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    with _open(files.lock, os.O_RDWR | os.O_CREAT) as lock:
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not _try(lock, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise in_use_error(files, _read_holder(files.lock))
            time.sleep(0.05)
        holder = Holder(os.getpid(), parent or os.getppid(), socket.gethostname(), time.time())
        lock.truncate(0)
        os.pwrite(lock.fileno(), json.dumps(asdict(holder)).encode(), 0)
        yield


@contextlib.contextmanager
def one_at_a_time(path: Path) -> Iterator[None]:
    """Hold a lock file, waiting for it if necessary. The file is made if it doesn't exist, and stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path, os.O_RDWR | os.O_CREAT) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def holder_of(files: RunFiles) -> Holder | None:
    """The process that holds the lock of a run, or None."""
    try:
        with _open(files.lock, os.O_RDONLY) as lock:
            # A shared lock, released at once: processes that only look don't disturb each other.
            return None if _try(lock, fcntl.LOCK_SH) else _read_holder(files.lock)
    except FileNotFoundError:
        return None


def in_use_error(files: RunFiles, holder: Holder) -> StudyError:
    """The error for a run whose lock another process holds."""
    return StudyError(
        f"Another process is using {files.folder}: {holder}. "
        "Wait until it ends, or end it, then run this command again."
    )


def _open(path: Path, flags: int) -> IO[bytes]:
    descriptor = os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "r+b", buffering=0)


def _try(lock: IO[bytes], kind: int) -> bool:
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(path: Path) -> Holder:
    try:
        saved = read_json(path, _MAX_BYTES)
        return Holder(int(saved["pid"]), int(saved["parent"]), str(saved["host"])[:200], float(saved["since"]))
    except (OSError, ValueError, TypeError, KeyError, OverflowError):
        return Holder(0, 0, "an unknown host", 0.0)  # it has the lock and has not written its name yet


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):  # a zombie has ended
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    return True
