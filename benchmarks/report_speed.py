"""Time and memory of a report on a synthetic study of 300 runs with 200 evaluations each, on one core and on all.

    uv run python -m benchmarks.report_speed

Masks have the sizes of SAC with 2 x 256 units on Meta-World. There are no videos: they need a task that can be
rendered, and are made only once. Prints the seconds from the start of Python to the last file, the median of three
reports, and the most resident memory of its largest process. Writes them to benchmarks/results/report_speed.csv. Linux
only: elsewhere a process can't be bound to cores.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import yaml

from benchmarks.machine import processor_name
from benchmarks.made_studies import Sizes, write_run
from benchmarks.result_tables import write_rows
from rlottery.storage.paths import Store
from rlottery.study.execution.cores import available_cores

RESULTS = "report_speed.csv"
ROUNDS = 3
TASKS = ("task-a", "task-b", "task-c")
SEEDS = range(5)
COMMAND = (sys.executable, "-c", "from rlottery.cli import app; app()", "report")
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
SIZES = Sizes(evaluations=200, episodes=10, losses=10)


def main() -> None:
    cores = available_cores()
    runs = len(TASKS) * len(SEEDS) * len(arms())
    rows: list[dict[str, object]] = []
    with tempfile.TemporaryDirectory() as folder:
        config = make_study(Path(folder))
        for used in sorted({1, len(cores)}):
            seconds, most = zip(*(report(config, cores[:used]) for _ in range(ROUNDS)), strict=True)
            row = {
                "runs": runs,
                "evaluations": SIZES.evaluations,
                "cores": used,
                "seconds": round(statistics.median(seconds), 1),
                "most_mib": round(max(most)),
                "processor": processor_name(),
            }
            rows.append(row)
    write_rows(RESULTS, rows)


def report(config: str, cores: Sequence[int]) -> tuple[float, float]:
    """Seconds of a report on these cores, and the most MiB of its largest process."""
    began = time.perf_counter()
    bind = partial(os.sched_setaffinity, 0, cores)
    process = subprocess.Popen([*COMMAND, config], stdout=subprocess.DEVNULL, preexec_fn=bind)
    _, status, used = os.wait4(process.pid, 0)
    seconds, process.returncode = time.perf_counter() - began, os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"rlottery report ended with exit code {process.returncode}.")
    return seconds, used.ru_maxrss / 1024


def arms() -> dict[str, tuple[str, float]]:
    """Name -> criterion and sparsity: dense, three criteria at six sparsities, and one more control."""
    kinds = {
        f"{kind}-{100 * sparsity:g}": (kind, sparsity)
        for kind in ("magnitude", "taylor", "random")
        for sparsity in SPARSITIES
    }
    return {"dense": ("", 0.0), **kinds, "small-dense": ("small-dense", 0.95)}


def make_study(folder: Path) -> str:
    """Write the study. Returns its config file."""
    store, generator = Store(folder / "data"), np.random.default_rng(0)
    for task in TASKS:
        for seed in SEEDS:
            for arm, (criterion, sparsity) in arms().items():
                write_run(store.run(task, seed, arm), task, seed, arm, criterion, sparsity, SIZES, generator)
    settings = {
        "name": "speed",
        "data": str(store.root),
        "data_anywhere": True,
        "tasks": list(TASKS),
        "seeds": list(SEEDS),
        "training": {"env_steps": SIZES.evaluations * SIZES.interval},
        "evaluation": {"interval": SIZES.interval, "episodes": SIZES.episodes, "score_evaluations": 5},
    }
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings))
    return str(config)


if __name__ == "__main__":
    main()
