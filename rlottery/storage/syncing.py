"""What a crash of the machine, such as a power cut, can't take away: contents and names that were synced.

A file system may forget all that was not synced, or forget it in another order than it was done: a file's content after
its name, a name before the one that replaced it. So everything that something else relies on is synced before: contents
before the record of their checksums, names before what they replace is removed.
"""

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from rlottery.safety.regular_files import regular

_UNSUPPORTED = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EBADF, errno.EACCES, errno.EPERM)
"""The `errno` of an `OSError` where folders can't be synced at all, or not by this user."""
_durable: set[Path] = set()
"""The folders that this process knows to survive a crash of the machine, as long as they exist."""


class WriteError(OSError):
    """The system's error when a file can't be written. Its text says which file and why, without how to fix it."""

    def __str__(self) -> str:
        return f"{self.filename} can't be written: {self.strerror}"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the system's errors that are raised inside into a `WriteError` about this file or folder."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        raise WriteError(error.errno, error.strerror or str(error), str(path)) from None


def make_folder(path: Path) -> None:
    """Make a folder and its parents, if they don't exist. When this returns, they survive a crash of the machine.

    One that exists may be the work of a process that was killed before it could sync it. So each process syncs a folder
    and its parents once, up to the mount point.
    """
    path = path.resolve()
    unsure = []
    for folder in (path, *path.parents):
        if folder.is_dir() and (folder in _durable or os.path.ismount(folder)):
            break
        unsure.append(folder)
    if unsure:
        path.mkdir(parents=True, exist_ok=True)
    for folder in reversed(unsure):
        sync_folder(folder.parent)
        _durable.add(folder)


def sync_file(path: Path) -> None:
    """Put a file's content on the disk."""
    with open(path, "rb", opener=regular) as file:
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Put the names of a folder's files on the disk, on file systems that support it. Raises OSError if that fails."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise
