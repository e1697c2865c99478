"""Temporary files: their names say whose they are, so that those of dead processes can be told from all others.

A file is written under a temporary name next to its own, and renamed once it is complete. A process that is killed
leaves it there. `remove_leftovers` removes such files, and none that a process may still be writing: neither those of a
process that lives, nor those of another machine on the same network file system, unless they are days old.
"""

import contextlib
import hashlib
import os
import re
import shutil
import socket
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path

from rlottery.processes.descendants import is_alive
from rlottery.processes.stopping import at_end

DEAD_AFTER_SECONDS = 3 * 86_400.0
"""The age of a temporary file that nobody can be writing any more. Processes need seconds."""
UNKNOWN_AFTER_SECONDS = 3_600.0
"""The same for names of earlier versions, which don't say on which machine."""


def _host() -> str:
    """A digest of what the numbers of processes belong to: the machine, and the container."""
    space = ""
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
    return hashlib.sha256(f"{socket.gethostname()} {space}".encode(errors="replace")).hexdigest()[:8]


_HOST = _host()
_NAMED = re.compile(r"\.(?:.+\.partial|write-test)-(\d{1,10})(?:-([0-9a-f]{8}))?")
_latest: deque[Path] = deque(maxlen=16)
"""The temporary files that this process may be writing: a few threads, one file each."""


def temporary_path(path: Path) -> Path:
    """The temporary name of a file or folder that this process is about to write."""
    return _noted(path.with_name(f".{path.name}.partial-{os.getpid()}-{_HOST}"))


def probe_path(folder: Path) -> Path:
    """The name of an empty file that shows whether a folder can be written, and what time it is there."""
    return _noted(folder / f".write-test-{os.getpid()}-{_HOST}")


def remove_leftovers(folders: Iterable[Path], now: float) -> None:
    """Remove the temporary files of dead processes in these folders, but not below them.

    Args:
        now: the time by the clock that dates the files, which may be another machine's.
    """
    for folder in folders:
        with contextlib.suppress(OSError), os.scandir(folder) as entries:
            for entry in entries:
                if (named := _NAMED.fullmatch(entry.name)) is None:
                    continue
                with contextlib.suppress(OSError):
                    age = now - entry.stat(follow_symlinks=False).st_mtime
                    if _is_dead(int(named[1]), named[2], age):
                        _remove(Path(entry.path))


def revoke(folders: Iterable[Path]) -> None:
    """Remove the temporary files of all other processes in these folders, but not below them.

    Then none of them can put in place what it has written: there is nothing left to rename. Raises OSError.
    """
    for folder in folders:
        with contextlib.suppress(FileNotFoundError), os.scandir(folder) as entries:
            for entry in entries:
                named = _NAMED.fullmatch(entry.name)
                if named is not None and (int(named[1]), named[2]) != (os.getpid(), _HOST):
                    _remove(Path(entry.path))


def discard_folder(folder: Path) -> None:
    """Remove a folder whose name is needed, or that must not be found again. Does nothing if there is none.

    It gets a temporary name first: on a network file system, files that another process has open stay for a while.
    Raises OSError if it can't be renamed.
    """
    away = temporary_path(folder.with_name(f"{folder.name}-{time.time_ns()}"))
    with contextlib.suppress(FileNotFoundError):
        folder.rename(away)
        shutil.rmtree(away, ignore_errors=True)


def _is_dead(pid: int, host: str | None, age: float) -> bool:
    if age > DEAD_AFTER_SECONDS:
        return True
    here = host == _HOST or (host is None and age > UNKNOWN_AFTER_SECONDS)
    return here and not is_alive(pid)


def _noted(path: Path) -> Path:
    if path in _latest:
        _latest.remove(path)
    _latest.append(path)
    return path


@at_end
def _remove_own() -> None:
    for path in _latest:
        with contextlib.suppress(OSError):
            _remove(path)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
