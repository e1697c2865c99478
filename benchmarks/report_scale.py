"""Processor time and memory of a report on synthetic studies of 1,250 to 10,000 runs, each in a process of its own.

    uv run python -m benchmarks.report_scale              # minutes, and 2 GB of temporary files
    uv run python -m benchmarks.report_scale --runs 1250 2500 --wide-runs --code before

A study has one task, dense agents, three criteria at 90 % and their random control, and a fifth of its runs is its
number of seeds. Runs have 20 evaluations, networks 2 x 64 units; there are fewer runs with 2 x 256.
There are no videos. Prints processor seconds and the peak resident memory, the exponent of growth between two sizes (1:
linear, 2: with the square), and the size of the page. Writes benchmarks/results/report_scale.csv, where rows of other
code are kept.
"""

import argparse
import csv
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmarks.machine import processor_name
from benchmarks.made_studies import Sizes, write_run
from rlottery.config import Config
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from rlottery.storage.trained_with import trained_with

RESULTS = Path(__file__).parent / "results" / "report_scale.csv"
TASK, SPARSITY = "task-a", 0.9
ARMS = {"dense": "", "magnitude-90": "magnitude", "taylor-90": "taylor", "gradient-90": "gradient", "random": "random"}
RUNS = (1_250, 2_500, 5_000, 10_000)
WIDE_RUNS = (625, 1_250)
HEADINGS = ("code", "processor", "width", "runs", "processor_seconds", "growth", "most_mib", "page_mib")
COMMAND = (sys.executable, "-c", "from rlottery.cli import app; app()", "report")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, nargs="*", default=RUNS, help="of networks with 2 x 64 units")
    parser.add_argument("--wide-runs", type=int, nargs="*", default=WIDE_RUNS, help="of networks with 2 x 256 units")
    parser.add_argument("--code", default="now", help="what the rows are called")
    asked = parser.parse_args()
    rows = [*measure(asked.code, 64, asked.runs), *measure(asked.code, 256, asked.wide_runs)]
    kept = list(csv.reader(RESULTS.read_text().splitlines()))[1:] if RESULTS.exists() else []
    with RESULTS.open("w", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerows([HEADINGS, *(row for row in kept if row[0] != asked.code), *rows])


def measure(code: str, width: int, sizes: Sequence[int]) -> Iterator[list[object]]:
    """A row for each number of runs, smallest first."""
    before: tuple[int, float] | None = None
    for runs in sorted(sizes):
        with tempfile.TemporaryDirectory() as folder:
            make_study(Path(folder), runs, width)
            seconds, most = report(folder)
            page = (Path(folder) / "report" / "report.html").stat().st_size / 2**20
        growth = "" if before is None else f"{math.log(seconds / before[1]) / math.log(runs / before[0]):.2f}"
        before = runs, seconds
        print(
            f"{runs:,} runs, 2 x {width}: {seconds:.1f} s, {most:.0f} MiB, growth {growth or 'not known'}", flush=True
        )
        name = processor_name()
        yield [code, name, width, runs, f"{seconds:.1f}", growth, f"{most:.0f}", f"{page:.1f}"]


def report(folder: str) -> tuple[float, float]:
    """Processor seconds and the peak resident memory, in MiB, of the report on a data folder."""
    process = subprocess.Popen([*COMMAND, folder], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(process.pid, 0)
    if status != 0:
        raise SystemExit("The report failed.")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def make_study(folder: Path, runs: int, width: int) -> None:
    """Write a study with this many runs, and its record."""
    sizes = Sizes(evaluations=20, episodes=10, losses=2, width=width)
    config = Config.model_validate(
        {
            "name": "scale",
            "data": str(folder),
            "tasks": [TASK],
            "seeds": list(range(runs // len(ARMS))),
            "network": {"actor": [width, width], "critic": [width, width]},
            "training": {"env_steps": sizes.evaluations * sizes.interval, "warmup_steps": 100},
            "evaluation": {"interval": sizes.interval, "episodes": sizes.episodes, "score_evaluations": 5},
        }
    )
    store, generator = Store(folder), np.random.default_rng(0)
    settings = {"name": config.name, "device": config.device, **trained_with(config, config.tasks[0])}
    for seed in config.seeds:
        for arm, criterion in ARMS.items():
            sparsity = SPARSITY if criterion else 0.0
            fingerprint = {**settings, "seed": seed}
            write_run(store.run(TASK, seed, arm), TASK, seed, arm, criterion, sparsity, sizes, generator, fingerprint)
    note_command(config, has_work=False)


if __name__ == "__main__":
    main()
