"""What Dask's workers run for `rlottery.study.execution.dask`. It imports nothing that they don't need."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

WAIT_SECONDS = 0.5
"""How often a task looks at its node process, and at whether it is still wanted."""


def do_allocation(arguments: Sequence[str], log: str) -> int:
    """The task: run a command of Python on a worker, and wait. Returns its exit code.

    The command is asked to save its work and to end (SIGTERM) when the worker closes, or when the task is cancelled.
    It must notice by itself that the worker has died, whose process id is its last argument.

    Args:
        log: the file that its output is appended to.

    Raises:
        Reschedule: the command was asked to end, so it is for another worker.
    """
    from distributed import Reschedule, Status, get_worker

    worker = get_worker()
    task = worker.get_current_task()
    command = [sys.executable, *arguments, str(os.getpid())]
    with Path(log).open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    is_stopped = False
    while process.poll() is None:
        state = worker.state.tasks.get(task)
        if worker.status not in (Status.running, Status.paused) or state is None or state.state != "executing":
            process.terminate()
            is_stopped = True
        time.sleep(WAIT_SECONDS)
    if is_stopped:
        raise Reschedule
    return process.returncode


def is_file(path: str) -> bool:
    """Whether a worker sees this file."""
    return Path(path).is_file()
