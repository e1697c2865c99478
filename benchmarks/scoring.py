"""Seconds that each criterion takes to score an agent, with and without compilation: ``python -m benchmarks.scoring``.

One core, SAC with 2 x 256 units, Meta-World's shapes, 100 batches of 256 where data are read. Every criterion is timed
in a process of its own, for what one compiled would be there for the next. Writes benchmarks/results/scoring.csv.
"""

import argparse
import csv
import os
import subprocess
import sys
from pathlib import Path

RESULT = Path(__file__).parent / "results" / "scoring.csv"


def score_once(name: str) -> tuple[float, float]:
    """Seconds with compilation, and of the same again."""
    import time

    import jax
    import numpy as np

    from benchmarks.workloads import METAWORLD, SETTINGS, fresh_state, random_replay
    from rlottery.agents.sac import SAC
    from rlottery.pruning.criteria import CRITERIA, evidence_for, score
    from rlottery.pruning.evidence import as_initial, gather
    from rlottery.pruning.prune import prune

    state, stored, criterion = fresh_state(), random_replay(), CRITERIA[name]
    needed = evidence_for(criterion)
    initial = not needed.trained

    def once() -> float:
        began = time.monotonic()
        masks = None
        for turn in range(1, criterion.iterations + 1):
            pruned = state if masks is None else SAC.with_masks(state, masks)
            found = gather(
                SAC,
                SETTINGS,
                pruned,
                needed.initial if initial else needed.trained,
                stored=stored,
                key=jax.random.key(0),
                generator=np.random.default_rng(0),
                uniform=np.random.default_rng(1),
                batches=100,
                batch_size=METAWORLD.batch_size,
            )
            evidence = as_initial(found) if initial else found
            groups = {
                group: prune(score(criterion, of_group), 1 - 0.2 ** (turn / criterion.iterations))
                for group, of_group in evidence.items()
            }
            if criterion.iterations > 1:
                from rlottery.agents import nest_kernels

                masks = {group: nest_kernels(dict(layers)) for group, layers in groups.items()}
        return time.monotonic() - began

    return once(), once()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--criterion", help=argparse.SUPPRESS)
    parser.add_argument("--core", type=int, default=0)
    given = parser.parse_args()
    if given.criterion:
        print(*score_once(given.criterion))
        return
    from rlottery.pruning.criteria import CRITERIA
    from rlottery.study.environment import worker_environment

    rows = []
    for name in CRITERIA:
        command = [sys.executable, "-m", "benchmarks.scoring", "--criterion", name]
        told = subprocess.run(
            command,
            env=worker_environment("cpu"),
            preexec_fn=lambda: os.sched_setaffinity(0, {given.core}),
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        rows.append([name, *(f"{float(seconds):.2f}" for seconds in told[-2:])])
        print(*rows[-1], sep="\t", flush=True)
    with RESULT.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerows([["criterion", "seconds", "seconds_when_compiled"], *rows])


if __name__ == "__main__":
    main()
