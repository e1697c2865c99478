"""Ends a child process together with all processes that environments have started in it.

A child leads a session, so most of them end with its process group. Simulators and servers that begin sessions of their
own are found by a variable of their environment, where the system shows it (Linux).
"""

import contextlib
import os
import signal
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Protocol

MARK = "RLOTTERY_CHILD"
"""The variable that a child and its descendants have in their environment, with a value of their own."""
_ROUNDS = 10
"""How often to look again, in case a process has started another one meanwhile."""
LEADER_SECONDS, OTHERS_SECONDS = 2.0, 0.5
"""How long a child may take to end after SIGTERM before it is killed, and then what it has started."""


class Child(Protocol):
    """A child process, as `subprocess.Popen` has it."""

    pid: int
    stdin: IO[bytes] | None

    def poll(self) -> int | None: ...
    def wait(self) -> int | None: ...
    def send_signal(self, number: int, /) -> None: ...
    def terminate(self) -> None: ...


def new_mark() -> str:
    """A value of `MARK` for one child."""
    return uuid.uuid4().hex


def end_families(families: Sequence[tuple[Child, str]], seconds: float = LEADER_SECONDS) -> None:
    """End children that each lead a session, if they still run, and then all that they have started.

    Each process gets SIGTERM first, so that it can finish what it is writing and remove its temporary files. What a
    child has started is left alone until the child has ended, which may need it.

    Args:
        families: the children, and the values of their `MARK`.
        seconds: how long the children may take after SIGTERM.
    """
    for number in (signal.SIGTERM, signal.SIGKILL):
        for child, _ in families:
            child.send_signal(number)  # unless it has ended
        _wait(lambda: all(child.poll() is not None for child, _ in families), seconds)
    entries = [f"{MARK}={mark}".encode() for _, mark in families]
    if left := _marked(*entries):
        for child, _ in families:
            _signal(os.killpg, child.pid, signal.SIGTERM)
        for pid in left:
            _signal(os.kill, pid, signal.SIGTERM)
        _wait(lambda: not _marked(*entries), OTHERS_SECONDS)
    for child, mark in families:
        _signal(os.killpg, child.pid, signal.SIGKILL)
        kill_marked(mark)


def is_alive(pid: int) -> bool:
    """Whether a process of this machine runs. A zombie has ended."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    with contextlib.suppress(OSError, IndexError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0] != "Z"
    return True


def kill_marked(mark: str) -> None:
    """Kill all processes but this one whose environment has this value of `MARK`."""
    for _ in range(_ROUNDS):
        if not (found := _marked(f"{MARK}={mark}".encode())):
            break
        for pid in found:
            _signal(os.kill, pid, signal.SIGKILL)


def _signal(send: Callable[[int, int], None], process: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: no permission for a dead process
        send(process, number)


def _wait(until: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not until() and time.monotonic() < deadline:
        time.sleep(0.02)


def _marked(*entries: bytes) -> list[int]:
    """All processes but this one that have one of these entries in their environment."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with contextlib.suppress(OSError):  # another user's, or one that has just ended
            here = path.read_bytes().split(b"\0")
            if any(entry in here for entry in entries) and (pid := int(path.parent.name)) != os.getpid():
                found.append(pid)
    return found
