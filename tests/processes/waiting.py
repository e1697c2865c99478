"""Processes that tests wait for."""

import contextlib
import os
import time
from pathlib import Path


def is_alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


def wait_until_dead(process: int) -> None:
    """Wait until a process that was killed has ended; its parent may never ask how it did."""
    deadline = time.monotonic() + 60
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        while "Z" not in Path(f"/proc/{process}/stat").read_text().rpartition(")")[2]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
