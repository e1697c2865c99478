"""Power of the guide's study, from three seeds on reach-v3 that were run before it was planned.

    uv run python -m benchmarks.study_power

Scores are success rates with one ranking over actor and critics each, at 90 %, after 70,000 steps; the twin critics
shared one budget. The study trains for 45,000 steps, with a budget for each critic. Scores are resampled as normal
scores with these means and standard deviations, of at least 0.05. Each row is the share of simulated studies in which
Welch's one-sided test shows the claim at 5 %: by itself, and as one of all registered contrasts and tasks
(Bonferroni, the first step of Holm's correction).
"""

from pathlib import Path

import numpy as np
from scipy import stats

from benchmarks.result_tables import write_rows
from rlottery.config import load_config

EARLIER = {
    "taylor-90": (0.20, 0.53, 0.70),
    "magnitude-90": (0.00, 0.00, 0.00),
    "random-as-taylor-90": (0.70, 0.57, 0.40),
    "random-as-magnitude-90": (0.10, 0.27, 0.17),
}
CLAIMS = (("taylor-90", "magnitude-90"), ("random-as-taylor-90", "random-as-magnitude-90"))
SEEDS = (3, 5, 8, 12)
DRAWS = 200_000
LEAST_SD = 0.05
LEVEL = 0.05
ROOT = Path(__file__).parent


def power(better: str, than: str, seeds: int, level: float, generator: np.random.Generator) -> float:
    """The share of studies with so many seeds in which the claim is shown at this level."""
    samples = [
        float(np.mean(EARLIER[arm]))
        + max(float(np.std(EARLIER[arm], ddof=1)), LEAST_SD) * generator.standard_normal((DRAWS, seeds))
        for arm in (better, than)
    ]
    test = stats.ttest_ind(*samples, axis=1, equal_var=False, alternative="greater")
    return float(np.mean(test.pvalue <= level))


def main() -> None:
    """Write `benchmarks/results/study_power.csv`."""
    config = load_config(ROOT.parent / "results" / "guide" / "config.yaml")
    tests = len(config.registered_contrasts) * len(config.tasks)
    generator = np.random.default_rng(0)
    rows = [
        {
            "claim": f"{better} > {than}",
            "seeds": seeds,
            "power": f"{power(better, than, seeds, LEVEL, generator):.3f}",
            "tests": tests,
            "power_corrected": f"{power(better, than, seeds, LEVEL / tests, generator):.3f}",
        }
        for better, than in CLAIMS
        for seeds in SEEDS
    ]
    write_rows("study_power.csv", rows)


if __name__ == "__main__":
    main()
