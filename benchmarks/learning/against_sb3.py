"""Compares rlottery's learning curves with Stable-Baselines3's, as a table and a figure.

Of two folders, only seeds that both libraries have trained are compared. Seeds that the table has from earlier stay in
it, so a comparison can grow, and one library can be trained again without the other. For SAC, and the other algorithms
in the same way:

    uv run rlottery run benchmarks/learning/sb3_settings.yaml --stages dense    # {td3,dqn,ppo}_settings.yaml
    for seed in 0 1 2 3 4; do
        sb3/bin/python benchmarks/peers/sb3_sac.py --task HalfCheetah-v5 --seed $seed \\
            --out data/sb3/HalfCheetah-v5-$seed.jsonl
    done
    uv run python -m benchmarks.learning.against_sb3 sac --ours data/sb3-settings --sb3 data/sb3

Ours with other settings, next to existing curves of Stable-Baselines3: the table `ppo_tanh` begins with those of
the table `ppo`.

    uv run rlottery run benchmarks/learning/ppo_settings.yaml --stages dense network.activation=tanh data=data/ppo-tanh
    uv run python -m benchmarks.learning.against_sb3 ppo_tanh --ours data/ppo-tanh

`benchmarks/learning/README.md` has the tasks and the number of steps of each.
"""

import argparse
import csv
import json
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy import stats

from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import DENSE, Store

OURS, THEIRS = "rlottery", "Stable-Baselines3"
COLOURS = {OURS: "#0072B2", THEIRS: "#E69F00"}
RESULTS = Path(__file__).parent / "results"
LAST = 3
"""Evaluations whose mean is a run's final return, as in a study's scores."""

Curve = dict[int, float]
"""Environment steps -> mean return of the deterministic policy over the evaluation's episodes."""
Libraries = dict[str, dict[int, Curve]]
"""Library -> seed -> learning curve."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare rlottery's learning curves with Stable-Baselines3's.")
    parser.add_argument(
        "name", help="of the table and the figure: sac, td3, dqn, ppo, or one of these with an ending, ppo_tanh"
    )
    parser.add_argument("--ours", type=Path, help="data folder of our study")
    parser.add_argument("--sb3", type=Path, help="folder with TASK-SEED.jsonl; ':' and '/' in TASK are '_'")
    arguments = parser.parse_args()
    table = RESULTS / f"against_sb3_{arguments.name}.csv"
    given = {OURS: arguments.ours, THEIRS: arguments.sb3}
    curves = read_table(table)
    if not table.exists():  # of a variant
        algorithm = RESULTS / f"against_sb3_{arguments.name.partition('_')[0]}.csv"
        curves = only(read_table(algorithm), [library for library, folder in given.items() if folder is None])
    if any(given.values()):
        add_runs(curves, arguments.ours, arguments.sb3)
        write_table(table, curves)
    draw(curves, table.with_suffix(".png"))
    for task, libraries in curves.items():
        print_comparison(task, libraries)


def only(curves: dict[str, Libraries], libraries: Collection[str]) -> dict[str, Libraries]:
    """The curves of these libraries."""
    kept = no_curves()
    for task, of_task in curves.items():
        for library in of_task.keys() & libraries:
            kept[task][library] = of_task[library]
    return kept


def add_runs(curves: dict[str, Libraries], ours: Path | None, sb3: Path | None) -> None:
    """Add the curves of each task and seed that both libraries have trained to the same step.

    Without a folder of one library, its curves are those that are there; a seed that has none is added as well.
    """
    found = {OURS: {} if ours is None else our_runs(ours), THEIRS: {} if sb3 is None else their_runs(sb3)}
    for library, other, other_folder in ((OURS, THEIRS, sb3), (THEIRS, OURS, ours)):
        for (task, seed), own in found[library].items():
            known = curves[task][other].get(seed) if other_folder is None else found[other].get((task, seed))
            if max(own) == max(known or (own if other_folder is None else [-1])):  # neither is still running
                curves[task][library][seed] = own


def our_runs(data: Path) -> dict[tuple[str, int], Curve]:
    """The curves of a study's dense agents by task and seed."""
    paths = Store(data).runs.glob(f"*/seed_*/{DENSE}/metrics.jsonl")
    named = {(path.parents[2].name, int(path.parents[1].name.removeprefix("seed_"))): path for path in paths}
    return {key: curve(read_evaluations(path)) for key, path in sorted(named.items())}


def their_runs(folder: Path) -> dict[tuple[str, int], Curve]:
    """The curves in a folder with TASK-SEED.jsonl by task and seed."""
    named = {path: path.stem.rpartition("-") for path in sorted(folder.glob("*.jsonl"))}
    return {
        (task, int(seed)): curve(map(json.loads, path.read_text().splitlines()))
        for path, (task, _, seed) in named.items()
    }


def curve(rows: Iterable[Mapping[str, Any]]) -> Curve:
    return {row["env_steps"]: row["return"] for row in rows}


def no_curves() -> dict[str, Libraries]:
    """An empty table, which has every task and library."""
    return defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))


def read_table(path: Path) -> dict[str, Libraries]:
    curves = no_curves()
    if path.exists():
        with path.open(newline="") as file:
            for row in csv.DictReader(file):
                of_seed = curves[row["task"]][row["library"]][int(row["seed"])]
                of_seed[int(row["env_steps"])] = float(row["return"])
    return curves


def write_table(path: Path, curves: dict[str, Libraries]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["task", "library", "seed", "env_steps", "return"])
        for task, libraries in curves.items():
            for library, runs in libraries.items():
                for seed, found in sorted(runs.items()):
                    writer.writerows([task, library, seed, step, round(value, 2)] for step, value in found.items())


def print_comparison(task: str, libraries: Libraries) -> None:
    """Print the final returns of both libraries, and the difference of their means with its 95 % interval (Welch)."""
    steps = common_steps(libraries)
    print(f"{task}, {steps[-1]:,} steps")
    for name, counted in ((f"mean of the last {LAST} evaluations", steps[-LAST:]), ("mean of the whole curve", steps)):
        means = {library: means_over(counted, runs) for library, runs in libraries.items() if runs}
        for library, values in means.items():
            seeds = ", ".join(f"{value:,.0f}" for value in values)
            print(f"  {name}: {library:18} median {np.median(values):,.0f}, mean {np.mean(values):,.0f} ({seeds})")
        if len(means) < len(COLOURS):
            continue
        ours, theirs = means[OURS], means[THEIRS]
        if len({*ours, *theirs}) == 1:
            print("  no difference")
            continue
        print(f"  {difference_of(ours, theirs)}")


def difference_of(ours: list[float], theirs: list[float]) -> str:
    """The difference of two means with its 95 % interval and p (Welch)."""
    test = stats.ttest_ind(ours, theirs, equal_var=False)
    low, high = test.confidence_interval(0.95)
    difference = np.mean(ours) - np.mean(theirs)
    return f"difference {difference:+,.0f} [{low:+,.0f} to {high:+,.0f}], p = {test.pvalue:.2g}"


def means_over(steps: list[int], runs: dict[int, Curve]) -> list[float]:
    """The mean return over these steps, seed by seed."""
    return [float(np.mean([found[step] for step in steps])) for _, found in sorted(runs.items())]


def common_steps(libraries: Libraries) -> list[int]:
    """The steps at which every run of both libraries was evaluated."""
    return sorted(set.intersection(*(set(found) for runs in libraries.values() for found in runs.values())))


def draw(curves: dict[str, Libraries], path: Path) -> None:
    """Draw one panel per task. Thin lines are seeds, and thick lines are their means."""
    figure = Figure(figsize=(4.5 * len(curves), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(curves), squeeze=False)[0]
    for axes, (task, libraries) in zip(panels, curves.items(), strict=True):
        for library, runs in libraries.items():
            if not runs:
                continue
            for found in runs.values():
                thousands = [step / 1000 for step in found]
                axes.plot(thousands, list(found.values()), color=COLOURS[library], alpha=0.35, linewidth=1)
            steps = common_steps(libraries)
            mean = [np.mean([found[step] for found in runs.values()]) for step in steps]
            axes.plot([s / 1000 for s in steps], mean, color=COLOURS[library], linewidth=2.2, label=library)
        numbers = dict.fromkeys(str(len(runs)) for runs in libraries.values() if runs)
        axes.set_title(f"{task}, {' and '.join(numbers)} seeds", loc="left", fontsize=10)
        axes.set_xlabel("environment steps, thousands")
        axes.set_ylabel("return of an episode")
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False)
    figure.savefig(path, dpi=150)


if __name__ == "__main__":
    main()
