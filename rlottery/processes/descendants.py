"""Ends a child process together with all processes that environments have started in it.

A child leads a session, so most of them end with its process group. Simulators and servers that begin sessions of their
own are found by a variable of their environment, where the system shows it (Linux).
"""

import contextlib
import os
import signal
import uuid
from pathlib import Path

MARK = "RLOTTERY_CHILD"
"""The variable that a child and its descendants have in their environment, with a value of their own."""
_ROUNDS = 10
"""How often to look again, in case a process has started another one meanwhile."""


def new_mark() -> str:
    """A value of `MARK` for one child."""
    return uuid.uuid4().hex


def kill_family(leader: int, mark: str) -> None:
    """Kill a process that leads a session, if it still runs, and all that it has started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: no permission for a dead process
        os.killpg(leader, signal.SIGKILL)
    kill_marked(mark)


def kill_marked(mark: str) -> None:
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
