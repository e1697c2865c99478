"""Opening files that may not be what they seem: a pipe, socket or device in the place of a file is an error at once."""

import errno
import os
import stat
from pathlib import Path


class NotRegularError(OSError):
    """Something other than a regular file, where one is expected."""

    def __init__(self, path: str | os.PathLike[str]):
        super().__init__(errno.EINVAL, "not a regular file", str(path))


class FileSizeError(ValueError):
    """A file that is larger than any of its kind."""


def regular(path: str | os.PathLike[str], flags: int) -> int:
    """A descriptor of a regular file, for `open(path, mode, opener=regular)`.

    What is written is never reached through a symbolic link.

    Raises:
        NotRegularError: the path is a folder, pipe, socket or device. It is not opened, as far as that can be known
            beforehand: opening a pipe can wait forever, and opening a device can do anything.
    """
    writes = flags & (os.O_WRONLY | os.O_RDWR)
    try:
        if not stat.S_ISREG(Path(path).stat().st_mode):
            raise NotRegularError(path)
    except FileNotFoundError:
        if not flags & os.O_CREAT:
            raise
    flags |= os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC | (os.O_NOFOLLOW if writes else 0)
    descriptor = os.open(path, flags, 0o666)
    # Looked at again: another process may have put something else there in between.
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotRegularError(path)
    return descriptor


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a regular file. Raises OSError, and FileSizeError if it has more than `limit` bytes."""
    with open(path, "rb", opener=regular) as file:
        size = os.fstat(file.fileno()).st_size
        # The system's own files, as below /proc, say 0.
        data = b"" if size > limit else file.read(limit + 1 if size == 0 else size + 1)
    if max(size, len(data)) > limit:
        raise FileSizeError(f"more than {limit:,} bytes")
    return data
