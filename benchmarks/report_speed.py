"""Time and memory of a report on a synthetic study of 300 runs with 200 evaluations each, in a separate process.

    uv run python -m benchmarks.report_speed

Masks have the sizes of SAC with 2 x 256 units on Meta-World. There are no videos: they need a task that can be
rendered, and are made only once. Prints the seconds from the start of Python to the last file and the peak resident
memory, and writes them to benchmarks/results/report_speed.csv.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from benchmarks.made_studies import Sizes, write_run
from rlottery.storage.paths import Store

RESULTS = Path(__file__).parent / "results" / "report_speed.csv"
TASKS = ("task-a", "task-b", "task-c")
SEEDS = range(5)
COMMAND = (sys.executable, "-c", "from rlottery.cli import app; app()", "report")
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98, 0.99)
SIZES = Sizes(evaluations=200, episodes=10, losses=10)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        config = make_study(Path(folder))
        began = time.perf_counter()
        subprocess.run([*COMMAND, config], check=True, stdout=subprocess.DEVNULL)
        seconds = time.perf_counter() - began
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    of_cores = used.ru_utime + used.ru_stime
    runs = len(TASKS) * len(SEEDS) * len(arms())
    result = f"{seconds:.1f} s ({of_cores:.1f} s of processor time), {used.ru_maxrss / 1024:.0f} MiB at most"
    print(f"{runs} runs of {SIZES.evaluations} evaluations: {result}")
    row = f"{runs},{SIZES.evaluations},{seconds:.1f},{of_cores:.1f},{used.ru_maxrss / 1024:.0f}\n"
    RESULTS.write_text("runs,evaluations,seconds,processor_seconds,most_mib\n" + row)


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
