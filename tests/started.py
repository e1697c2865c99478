"""Commands that tests start, which end with their test."""

import contextlib
import os
import signal
from subprocess import Popen

_STARTED: list[Popen[str]] = []


def ends_with_its_test(process: Popen[str]) -> Popen[str]:
    """The process, which leads a process group: all of it is killed if the test leaves it running."""
    _STARTED.append(process)
    return process


def kill_what_still_runs() -> None:
    """End what a test has left, as one that failed does. It would disturb the tests after it, and fail one of them."""
    for process in _STARTED:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    _STARTED.clear()
