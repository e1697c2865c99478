"""Seconds that each criterion needs to score and prune an agent: ``python -m benchmarks.scoring``.

One core, SAC with 2 x 256 units, Meta-World's sizes, 100 batches of 256 for criteria that read data. Every criterion
runs in its own process, since compiled programs would be reused otherwise. Writes benchmarks/results/scoring.csv.
"""

import argparse
from pathlib import Path

from benchmarks.worker import Worker
from rlottery.pruning.criteria import CRITERIA
from rlottery.storage.disk import write_bytes

RESULT = Path(__file__).parent / "results" / "scoring.csv"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--core", type=int, default=0)
    core = parser.parse_args().core
    lines = [["criterion", "seconds", "seconds_when_compiled"]]
    for name in CRITERIA:
        with Worker(core) as worker:
            measured = [worker.ask("score_and_prune", criterion=name) for _ in range(2)]
        lines.append([name, *(f"{seconds:.2f}" for seconds in measured)])
        print(*lines[-1], sep="\t", flush=True)
    write_bytes(RESULT, "".join(",".join(line) + "\n" for line in lines).encode())


if __name__ == "__main__":
    main()
