"""Stands in for `rlottery.worker`: does in a moment what the job's seed says, without training anything."""

import json
import os
import signal
import sys
import time
from pathlib import Path

GOOD, RAISES, REFUSES, KILLED, SILENT, SLOW, STUBBORN, TALKS, KILLED_ONCE, FULL_DISK, OBEDIENT = range(11)
OTHER, ANOTHER = 20, 21


def main() -> int:
    job = json.loads(sys.stdin.read())
    data, stage, seed = Path(job["config"]["data"]), job["stage"], job["seed"]
    with (data / "order.txt").open("a") as file:
        file.write(f"{stage} {seed} start {os.getpid()} core {job['core']}\n")
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
