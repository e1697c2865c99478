"""A pinned process that times one peer on request, in the peer's own environment.

    sb3/bin/python benchmarks/peers/serve.py time_sb3 --core 1

Request and reply are one line of JSON each, on standard input and output:

    ["rate", {"work": "update", "seconds": 1.0}]    updates per second, including sampling from the replay buffer
    ["loop", {"steps": 500}]                        {"loop": environment steps per second of the peer's training loop}
    ["versions", {}]                                versions of the packages that affect speed

The core and the environment variables are set before NumPy, PyTorch and JAX are imported.
"""

import argparse
import importlib
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

WARM_UP_STEPS = 500
"""Steps before a training loop is timed: one episode, with updates in its last 100 steps."""
WARM_UP_UPDATES = 20
"""Calls before an update is timed: the ancestor compiles until its third call, SBX until its second."""
PACKAGES = ("stable-baselines3", "sbx-rl", "torch", "jax", "jaxlib", "flax", "optax", "metaworld", "gymnasium", "numpy")


class Stopwatch:
    """The requests that a peer serves.

    A peer is a module with a class `Peer`, made from an environment and random transitions. `update` takes one gradient
    step in the library's own way, and returns when it is finished. `train` continues the library's own training loop,
    with one update per step. The first `LEARNING_STARTS` steps of the loop take random actions.
    """

    def __init__(self, module: str):
        from drawer_close import DrawerClose, random_transitions

        self._environment = DrawerClose()
        self._peer = importlib.import_module(module).Peer(self._environment, random_transitions())
        self._warm: set[str] = set()

    def rate(self, work: str, seconds: float) -> float:
        """Calls of the peer's method `work` per second, measured over `seconds`."""
        unit = getattr(self._peer, work)
        if work not in self._warm:
            for _ in range(WARM_UP_UPDATES):
                unit()
            self._warm.add(work)
        began = now = time.monotonic()
        units = 0
        while now - began < seconds:
            unit()
            units += 1
            now = time.monotonic()
        return units / (now - began)

    def loop(self, steps: int) -> dict[str, float]:
        """Environment steps per second over `steps` steps of training, between the starts of two steps."""
        times = self._environment.step_times
        if not times:
            self._peer.train(WARM_UP_STEPS)
        times.clear()
        self._peer.train(steps + 1)
        return {"loop": steps / (times[steps] - times[0])}

    def versions(self) -> dict[str, str]:
        """Versions of the installed packages of `PACKAGES`."""
        found = {}
        for name in PACKAGES:
            try:
                found[name] = importlib.metadata.version(name)
            except importlib.metadata.PackageNotFoundError:
                continue
        return found


def main() -> None:
    """Serve requests until standard input closes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("module", help="the peer: time_sb3, time_sbx, time_torch_sac or time_ancestor")
    parser.add_argument("--core", type=int, help="pin the process to this core")
    parser.add_argument("--checkout", type=Path, help="also import from this folder, a clone of the ancestor")
    arguments = parser.parse_args()

    if arguments.core is not None and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {arguments.core})
    os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_cpu_multi_thread_eigen=false".strip()
    os.environ["JAX_PLATFORMS"] = "cpu"
    if arguments.checkout is not None:
        sys.path.insert(0, str(arguments.checkout))

    # Output of libraries must not mix with the replies.
    replies = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    stopwatch = Stopwatch(arguments.module)
    for line in sys.stdin:
        name, given = json.loads(line)
        reply: Any = getattr(stopwatch, name)(**given)
        print(json.dumps(reply), file=replies, flush=True)


if __name__ == "__main__":
    main()
