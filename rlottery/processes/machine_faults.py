"""Errors that are the machine's, and no fault of what ran: what to do about each."""

import errno
import os
import traceback
from pathlib import Path

_MEMORY = "Free memory, raise its limit (ulimit -v, the job's memory), or run fewer workers: workers=1"
_PROCESSES = (
    "End other programs, raise the limit on processes and threads (ulimit -u, the container's pids.max), or run fewer "
    "workers: workers=1"
)
_FILES = "Raise the limit on open files: ulimit -n"
_ANYWHERE = {errno.EMFILE: _FILES, errno.ENFILE: _FILES}
"""Limits of the process or of the system, whatever file an error names."""
_FIXES = {
    errno.EROFS: "Its file system is read-only: mount it for writing, or choose another data folder with data=FOLDER",
    errno.EIO: "The disk, or its connection, reports a fault: check it",
    errno.ESTALE: "The network file system has lost this file: mount it again",
    errno.ENOMEM: _MEMORY,
    errno.EFBIG: "Raise the limit on the size of files: ulimit -f",
}
"""For the study's own files, and where no file is named."""
_ALLOW = "Change who may write to it, or choose another data folder with data=FOLDER"
_OWN_FIXES = {errno.EACCES: _ALLOW, errno.EPERM: _ALLOW}
"""For the study's own files."""


def fix_for(error: BaseException, folder: Path | None) -> str | None:
    """What to do about an error that is the machine's; None if it may be one of the code that ran.

    Args:
        folder: where rlottery itself writes. An error about a file elsewhere, such as one in a simulator's own folder
            that is read-only, is one of the code that ran.
    """
    if isinstance(error, MemoryError):
        return _MEMORY
    if isinstance(error, RuntimeError) and "can't start new thread" in str(error):
        return _PROCESSES
    if not isinstance(error, OSError):
        return None
    if error.errno == errno.EAGAIN:  # of a fork, and not of the code's own sockets
        frames = traceback.extract_tb(error.__traceback__)[-1:]
        return _PROCESSES if frames and frames[0].filename.endswith(("subprocess.py", "popen_fork.py")) else None
    number, named = error.errno or 0, isinstance(error.filename, str | bytes | os.PathLike)
    if named and not _is_in(error.filename, folder):
        return _ANYWHERE.get(number)
    return (_ANYWHERE | _FIXES | (_OWN_FIXES if named else {})).get(number)


def _is_in(path: str | bytes | os.PathLike[str], folder: Path | None) -> bool:
    """Whether a file is in a folder, however both are written."""
    try:
        return folder is not None and Path(os.path.realpath(os.fsdecode(path))).is_relative_to(os.path.realpath(folder))
    except (OSError, ValueError):  # the current folder was deleted; a name that no file can have
        return False
