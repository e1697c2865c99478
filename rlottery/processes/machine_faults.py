"""Errors that are the machine's, and no fault of what ran: what to do about each."""

import errno
import traceback
from pathlib import Path

_MEMORY = "Free memory, raise its limit (ulimit -v, the job's memory), or run fewer workers: workers=1"
_PROCESSES = (
    "End other programs, raise the limit on processes and threads (ulimit -u, the container's pids.max), or run fewer "
    "workers: workers=1"
)
_FILES = "Raise the limit on open files: ulimit -n"
_FIXES = {
    errno.EROFS: "Its file system is read-only: mount it for writing, or choose another data folder with data=FOLDER",
    errno.EIO: "The disk, or its connection, reports a fault: check it",
    errno.ESTALE: "The network file system has lost this file: mount it again",
    errno.ENOMEM: _MEMORY,
    errno.EMFILE: _FILES,
    errno.ENFILE: _FILES,
    errno.EFBIG: "Raise the limit on the size of files: ulimit -f",
}
_NOT_ALLOWED = (errno.EACCES, errno.EPERM)


def fix_for(error: BaseException, folder: Path | None) -> str | None:
    """What to do about an error that is the machine's; None if it may be one of the code that ran.

    Args:
        folder: where rlottery itself writes. Whether other files may be written is not the machine's business.
    """
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _PROCESSES
    if not isinstance(error, OSError):
        return None
    if error.errno in _NOT_ALLOWED and folder is not None and Path(str(error.filename)).is_relative_to(folder):
        return "Change who may write to it, or choose another data folder with data=FOLDER"
    if error.errno == errno.EAGAIN:  # of a fork, and not of the code's own sockets
        frames = traceback.extract_tb(error.__traceback__)[-1:]
        return _PROCESSES if frames and frames[0].filename.endswith(("subprocess.py", "popen_fork.py")) else None
    return _FIXES.get(error.errno or 0)
