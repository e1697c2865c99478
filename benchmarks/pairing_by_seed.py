"""Whether runs that share a seed end alike: rank correlations over seeds between the arms of a finished study.

    uv run python -m benchmarks.pairing_by_seed

Arms with one seed start from the same initial weights. If that made their scores alike, tests should compare arms seed
by seed. For every task of the study, and every pair of arms whose scores differ between seeds, this takes
Spearman's rank correlation over the seeds that both have, and writes the mean over pairs by task.
"""

import csv
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.result_tables import write_rows

ROOT = Path(__file__).parent
STUDIES = ("reference",)
LEAST_SEEDS = 5


def correlations(path: Path) -> dict[str, list[float]]:
    """Task -> the rank correlation of every pair of its arms, from a study's `comparison.csv`."""
    scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    with path.open() as file:
        for row in csv.DictReader(file):
            if row["score"]:
                scores[row["task"]][row["arm"]][int(row["seed"])] = float(row["score"])
    found: dict[str, list[float]] = {}
    for task, arms in scores.items():
        of_task = []
        for one, other in combinations(arms.values(), 2):
            seeds = sorted(one.keys() & other.keys())
            pair = [[arm[seed] for seed in seeds] for arm in (one, other)]
            if len(seeds) >= LEAST_SEEDS and all(np.ptp(values) > 0 for values in pair):
                of_task.append(float(stats.spearmanr(*pair).statistic))
        if of_task:
            found[task] = of_task
    return found


def main() -> None:
    """Write `benchmarks/results/pairing_by_seed.csv`."""
    rows = []
    for study in STUDIES:
        of_study = correlations(ROOT.parent / "results" / study / "comparison.csv")
        everything = {**of_study, "all tasks": [value for values in of_study.values() for value in values]}
        rows += [
            {
                "study": study,
                "task": task,
                "pairs": len(values),
                "mean": f"{np.mean(values):.3f}",
                "median": f"{np.median(values):.3f}",
            }
            for task, values in everything.items()
            if values
        ]
    write_rows("pairing_by_seed.csv", rows)


if __name__ == "__main__":
    main()
