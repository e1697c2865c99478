"""The comparison as CSV: a line for every run."""

import csv
import io
import json

from rlottery.analysis.comparison import Comparison

COLUMNS = (
    "task",
    "arm",
    "criterion",
    "sparsity_actor",
    "sparsity_critic",
    "seed",
    "status",
    "metric",
    "score",
    "recipe",
)


def to_csv(comparison: Comparison) -> str:
    """A line for each task, arm and seed. A sparsity or score that isn't known is left empty.

    The recipe is JSON: what the config says of the arm beyond criterion and sparsity, its control first of all.
    """
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
                        json.dumps(arm.recipe) if arm.recipe else "",
                    ]
                )
    return stream.getvalue()
