"""Checks that dense agents learn: the median over seeds in the study configs/learning.yaml, compared with a goal.

    uv run rlottery run configs/learning.yaml --stages dense
    uv run python -m benchmarks.learning.medians

Writes every evaluation to results/learning.csv, and prints for each task whether its median reached the goal.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from rlottery.config import load_config
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import DENSE, Store

GOALS = {
    "Pendulum-v1": -200.0,
    "InvertedPendulum-v5": 1000.0,
    "InvertedDoublePendulum-v5": 9000.0,
    "drawer-close-v3": 0.9,
}
"""What the median of 5 seeds should reach at the end: a return, or a success rate on Meta-World."""
RESULTS = Path(__file__).parent / "results" / "learning.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description="Medians over seeds of the learning study.")
    parser.add_argument("--config", type=Path, default=Path("configs/learning.yaml"))
    parser.add_argument("overrides", nargs="*", help="config keys, as for rlottery run: data=FOLDER")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.overrides)
    store = Store(config.data)
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "seed", "env_steps", "return", "success"])
        for task in config.tasks:
            final: list[float] = []
            for seed in config.seeds:
                rows = read_evaluations(store.run(task.name, seed, DENSE).metrics)
                for row in rows:
                    writer.writerow([task.id, seed, row["env_steps"], round(row["return"], 2), row.get("success", "")])
                last = rows[-1]
                final.append(last["success"] if "success" in last else last["return"])
            median, goal = float(np.median(final)), GOALS[task.id]
            verdict = "reached" if median >= goal else "NOT reached"
            print(f"{task.id:28} median {median:10.2f}   goal {goal:8.1f} {verdict:12} seeds {np.round(final, 2)}")


if __name__ == "__main__":
    main()
