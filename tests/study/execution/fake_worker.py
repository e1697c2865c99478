"""Stands in for `study.execution.worker`: does in a moment what the jobs' seeds say, without training anything.

Several jobs are done one after the other, each told of as it ends.
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

GOOD, RAISES, REFUSES, KILLED, SILENT, SLOW, STUBBORN, TALKS, KILLED_ONCE, FULL_DISK, OBEDIENT = range(11)
OTHER, ANOTHER = 20, 21


def main() -> int:
    message = json.loads(sys.stdin.read())
    if len(message["jobs"]) == 1:
        return do(message, message["jobs"][0])
    for place, job in enumerate(message["jobs"]):
        print(json.dumps([place, do(message, job)]), flush=True)
    return 0


def do(message: dict[str, Any], job: dict[str, Any]) -> int:
    data, stage, seed = Path(message["config"]["data"]), job["stage"], job["seed"]
    with (data / "order.txt").open("a") as file:
        file.write(f"{stage} {seed} start {os.getpid()} core {message['core']}\n")
    if seed == RAISES:
        raise ValueError("boom")
    if seed == REFUSES:
        print("a warning", file=sys.stderr)
        print("error: The mend\nin two lines.", file=sys.stderr)
        return 3
    if seed == KILLED or (seed == KILLED_ONCE and not (data / f"killed-{seed}").exists()):
        (data / f"killed-{seed}").touch()
        os.kill(os.getpid(), signal.SIGKILL)
    if seed == SILENT:
        return 3
    if seed == FULL_DISK:
        return 5
    if seed in (SLOW, STUBBORN, OBEDIENT):
        if seed == STUBBORN:
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        if seed == OBEDIENT:
            signal.signal(signal.SIGTERM, lambda *_: ((data / "saved").touch(), os._exit(4)))
        (data / f"ready-{seed}").touch()
        time.sleep(60)
    if seed == TALKS:
        print("x" * 1_000_000)  # more than a pipe holds
    with (data / "order.txt").open("a") as file:
        file.write(f"{stage} {seed} end\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
