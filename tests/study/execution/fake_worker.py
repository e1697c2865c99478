"""Stands in for `study.execution.worker`: does in a moment what the jobs' seeds say, without training anything.

Several jobs are done one after the other. Each is reported as it ends.
"""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

GOOD, RAISES, REFUSES, KILLED, SILENT, SLOW, STUBBORN, TALKS, KILLED_ONCE, FULL_DISK, OBEDIENT = range(11)
LEAVES, LEAVES_OTHERS, NEVER_STARTS = 11, 12, 13
LATE, MUTE = 14, 15
"""Their last file is written just when they are asked to stop; one says that it has stopped, one nothing."""
OTHER, ANOTHER = 20, 21


def main() -> int:
    message = json.loads(sys.stdin.readline())
    if message["jobs"][0]["seed"] == NEVER_STARTS:
        raise ModuleNotFoundError("No module named 'rlottery'")
    os.write(message["endings"], b'[-1, 0, ""]\n')
    for place, job in enumerate(message["jobs"]):
        code, report = do(message, job)
        if report is None:
            return code
        os.write(message["endings"], f"{json.dumps([place, code, report])}\n".encode())
    return 0


def do(message: dict[str, Any], job: dict[str, Any]) -> tuple[int, str | None]:
    """Exit code, and what is reported about it. None: nothing, for the process ends."""
    data, stage, seed = Path(message["config"]["data"]), job["stage"], job["seed"]
    with (data / "order.txt").open("a") as file:
        file.write(f"{stage} {seed} start {os.getpid()} core {message['core']}\n")
    if seed == RAISES:
        raise ValueError("boom")
    if seed == REFUSES:
        return 3, "The mend\nin two lines."
    if seed == KILLED or (seed == KILLED_ONCE and not (data / f"killed-{seed}").exists()):
        (data / f"killed-{seed}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == SILENT:
        deadline = time.monotonic() + 60
        while (data / "wait").exists() and time.monotonic() < deadline:
            time.sleep(0.01)
        return 3, None
    if seed == LEAVES:
        return 0, None
    if seed == FULL_DISK:
        return 5, "" if len(message["jobs"]) > 1 else None
    if seed in (SLOW, STUBBORN, OBEDIENT):
        (data / f"ready-{seed}").touch()
        if seed == STUBBORN:
            time.sleep(600)
        sys.stdin.read()  # it ends when the worker is to stop
        if seed == SLOW:
            os.kill(os.getpid(), signal.SIGTERM)
        (data / "saved").touch()
        return 4, "saved"
    if seed in (LATE, MUTE):
        with (data / "order.txt").open("a") as file:
            file.write(f"{stage} {seed} end\n")
        (data / f"ready-{seed}").touch()
        if seed == MUTE:
            time.sleep(600)
        sys.stdin.read()
        return 4, "stopped"
    if seed == TALKS:
        print("x" * 1_000_000)  # more than a pipe holds
    if seed == LEAVES_OTHERS:
        for place, new_session in enumerate((False, True)):
            left = subprocess.Popen(["sleep", "600"], start_new_session=new_session)
            (data / f"left-{place}").write_text(str(left.pid))
    with (data / "order.txt").open("a") as file:
        file.write(f"{stage} {seed} end\n")
    return 0, ""


if __name__ == "__main__":
    sys.exit(main())
