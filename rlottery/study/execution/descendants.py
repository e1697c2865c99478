"""The processes that a worker's environments have started, and that they started in turn.

A worker leads a session, so most of them end with its process group. Simulators and servers that begin sessions of
their own are found by a variable of their environment, where the system shows it (Linux).
"""

import contextlib
import os
import signal
from pathlib import Path

MARK = "RLOTTERY_WORKER"
"""The variable that a worker and its descendants have in their environment."""
_ROUNDS = 10
"""How often to look again, in case a process has started another one meanwhile."""


def kill_descendants(mark: str) -> None:
    """Kill all processes but this one whose environment has this value of `MARK`."""
    for _ in range(_ROUNDS):
        if not (found := _marked(f"{MARK}={mark}".encode())):
            break
        for pid in found:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)


def _marked(entry: bytes) -> list[int]:
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or one that has just ended
            if entry in path.read_bytes().split(b"\0") and (pid := int(path.parent.name)) != os.getpid():
                found.append(pid)
    return found
