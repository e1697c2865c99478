"""Compares rlottery's learning curves with Stable-Baselines3's, as a table and a figure.

Only seeds that both libraries have trained are compared.

uv run rlottery run benchmarks/learning/sb3_settings.yaml --stages dense
for seed in 0 1 2 3 4 5 6 7 8 9; do for task in InvertedDoublePendulum-v5 HalfCheetah-v5; do
    sb3/bin/python benchmarks/peers/sb3_sac.py --task $task --seed $seed --out data/sb3/$task-$seed.jsonl
done; done
uv run python -m benchmarks.learning.against_sb3 --ours data/sb3-settings --sb3 data/sb3

The same for TD3:

uv run rlottery run benchmarks/learning/td3_settings.yaml --stages dense
for seed in 0 1 2 3 4; do
    sb3/bin/python benchmarks/peers/sb3_td3.py --task InvertedDoublePendulum-v5 --seed $seed --steps 30000 \\
        --out data/sb3-td3/InvertedDoublePendulum-v5-$seed.jsonl
    sb3/bin/python benchmarks/peers/sb3_td3.py --task HalfCheetah-v5 --seed $seed \\
        --out data/sb3-td3/HalfCheetah-v5-$seed.jsonl
done
uv run python -m benchmarks.learning.against_sb3 --ours data/td3-settings --sb3 data/sb3-td3 --name td3_against_sb3
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import DENSE, Store

TASKS = ("InvertedDoublePendulum-v5", "HalfCheetah-v5")
SEEDS = range(10)
COLOURS = {"rlottery": "#0072B2", "Stable-Baselines3": "#E69F00"}
RESULTS = Path(__file__).parent / "results"

Curve = dict[int, float]
"""Environment steps -> mean return of the deterministic policy over the evaluation's episodes."""


def our_file(store: Store, task: str, seed: int) -> Path:
    return store.run(task, seed, DENSE).metrics


def sb3_file(folder: Path, task: str, seed: int) -> Path:
    return folder / f"{task}-{seed}.jsonl"


def our_curve(path: Path) -> Curve:
    rows = read_evaluations(path)
    return {row["env_steps"]: row["return"] for row in rows}


def sb3_curve(path: Path) -> Curve:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return {row["env_steps"]: row["return"] for row in rows}


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare rlottery's learning curves with Stable-Baselines3's.")
    parser.add_argument("--ours", type=Path, required=True, help="data folder of our study")
    parser.add_argument("--sb3", type=Path, required=True, help="folder with {task}-{seed}.jsonl")
    parser.add_argument("--name", default="against_sb3", help="of the files in benchmarks/learning/results")
    arguments = parser.parse_args()
    store = Store(arguments.ours)
    curves: dict[tuple[str, str], dict[int, Curve]] = {}
    for task in TASKS:
        seeds = [s for s in SEEDS if our_file(store, task, s).exists() and sb3_file(arguments.sb3, task, s).exists()]
        curves[task, "rlottery"] = {seed: our_curve(our_file(store, task, seed)) for seed in seeds}
        curves[task, "Stable-Baselines3"] = {seed: sb3_curve(sb3_file(arguments.sb3, task, seed)) for seed in seeds}
    RESULTS.mkdir(exist_ok=True)
    with (RESULTS / f"{arguments.name}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["task", "library", "seed", "env_steps", "return"])
        for (task, library), runs in curves.items():
            for seed, curve in runs.items():
                writer.writerows([task, library, seed, step, round(value, 2)] for step, value in curve.items())
    draw(curves, RESULTS / f"{arguments.name}.png")
    for (task, library), runs in curves.items():
        both = [curve for other in COLOURS for curve in curves[task, other].values()]
        steps = sorted(set.intersection(*map(set, both)))
        last = [curve[steps[-1]] for curve in runs.values()]
        area = [float(np.mean([curve[step] for step in steps])) for curve in runs.values()]
        print(f"{task:26} {library:18} at {steps[-1]:,} {np.round(last)}, mean up to there {np.round(area)}")


def draw(curves: dict[tuple[str, str], dict[int, Curve]], path: Path) -> None:
    """Draw one panel per task. Thin lines are seeds, and thick lines are their means."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, task in zip(figure.subplots(1, len(TASKS)), TASKS, strict=True):
        for library, colour in COLOURS.items():
            runs = list(curves[task, library].values())
            for curve in runs:
                axes.plot([s / 1000 for s in curve], list(curve.values()), color=colour, alpha=0.35, linewidth=1)
            steps = sorted(set.intersection(*(set(curve) for curve in runs)))
            mean = [np.mean([curve[step] for curve in runs]) for step in steps]
            axes.plot([s / 1000 for s in steps], mean, color=colour, linewidth=2.2, label=library)
        axes.set_title(f"{task}, {len(curves[task, 'rlottery'])} seeds", loc="left", fontsize=10)
        axes.set_xlabel("environment steps, thousands")
        axes.set_ylabel("return of an episode")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
