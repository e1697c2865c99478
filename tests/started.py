"""Commands that tests start, which end with their test."""

import contextlib
import os
import signal
from subprocess import Popen

_STARTED: list[Popen[str]] = []


def ends_with_its_test(process: Popen[str]) -> Popen[str]:
    """The process, which leads a process group. The group is killed at the end of the test, if the test leaves it.

    Workers are in sessions of their own. They end by themselves once their command has ended.
    """
    _STARTED.append(process)
    return process


def kill_what_still_runs() -> None:
    """End what a test has left, as one that failed does. It would disturb the tests after it, and fail one of them."""
    for process in _STARTED:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    _STARTED.clear()
