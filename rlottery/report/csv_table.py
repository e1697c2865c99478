"""The comparison as CSV: a line for every run."""

import csv
import io

from rlottery.analysis.comparison import Comparison

COLUMNS = ("task", "arm", "criterion", "sparsity_actor", "sparsity_critic", "seed", "status", "metric", "score")


def to_csv(comparison: Comparison) -> str:
    """A line for each task, arm and seed. A sparsity or score that isn't known is left empty."""
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(COLUMNS)
    for task in comparison.tasks:
        for arm in task.arms:
            sparsity = arm.sparsity or {}
            for seed in arm.seeds:
                writer.writerow(
                    [
                        task.task,
                        arm.name,
                        arm.criterion or "",
                        sparsity.get("actor", ""),
                        sparsity.get("critic", ""),
                        seed.seed,
                        seed.status,
                        task.metric,
                        "" if seed.score is None else seed.score,
                    ]
                )
    return stream.getvalue()
