"""A study as pandas data frames: its runs, their evaluations, and the layers of their masks."""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from rlottery.analysis.mask_facts import readable_masks
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import TaskScores
from rlottery.errors import MaskError
from rlottery.pruning.masks import effective_of

_RUN = {
    "task": "string",
    "arm": "string",
    "seed": "int64",
    "status": "string",
    "error": "string",
    "criterion": "string",
    "control": "string",
}
_RESULTS = {
    "metric": "string",
    "score": "Float64",
    "area": "Float64",
    "untrained": "Float64",
    "task_untrained": "Float64",
    "normalised_score": "Float64",
    "from_start": "Float64",
    "env_steps": "Int64",
    "seconds": "Float64",
    "folder": "string",
}
_EVALUATIONS = {
    "task": "string",
    "arm": "string",
    "seed": "int64",
    "env_steps": "int64",
    "return": "float64",
    "success": "Float64",
    "episodes": "int64",
}
_MASKS = {
    "task": "string",
    "arm": "string",
    "seed": "int64",
    "group": "string",
    "layer": "string",
    "kept": "int64",
    "total": "int64",
    "useful": "int64",
    "digest": "string",
}


def run_frame(scores: Sequence[TaskScores], groups: Sequence[str]) -> pd.DataFrame:
    """One row per run, by task, seed and arm, with the sparsity of each group of networks."""
    columns = _RUN | {f"sparsity_{group}": "Float64" for group in groups} | _RESULTS
    return _frame([_run(task, run, groups) for task in scores for run in _by_seed(task)], columns)


def evaluation_frame(scores: Sequence[TaskScores]) -> pd.DataFrame:
    """One row per evaluation."""
    rows = [
        [task.task, run.arm, run.seed, e.env_steps, e.scores["return"], e.scores.get("success"), len(e.returns)]
        for task in scores
        for run in _by_seed(task)
        for e in run.evaluations
    ]
    return _frame(rows, _EVALUATIONS)


def mask_frame(scores: Sequence[TaskScores]) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """One row per layer of every mask, and why some masks could not be read."""
    problems: list[str] = []
    rows: list[list[Any]] = []
    for task in scores:
        for run, mask in readable_masks(_by_seed(task), problems):
            try:
                kept = {group: effective_of(layers) for group, layers in mask.groups.items()}
            except MaskError as error:
                problems.append(f"{run.files.mask}: {error}")
                continue
            about = [task.task, run.arm, run.seed]
            rows += [
                [*about, group, path, of.kept[path], layer.size, of.useful[path], mask.metadata["digest"]]
                for group, of in kept.items()
                for path, layer in mask.groups[group].items()
            ]
    return _frame(rows, _MASKS), tuple(problems)


def _by_seed(task: TaskScores) -> list[Run]:
    return sorted(task.every_run, key=lambda run: (run.seed, run.arm))


def _run(task: TaskScores, run: Run, groups: Sequence[str]) -> list[Any]:
    sparsity, of_arm = run.sparsity or {}, task.arm(run.arm)
    numbers = [of_arm.scores, of_arm.areas, of_arm.before, of_arm.normalised, of_arm.from_start] if of_arm else [{}] * 5
    score, area, before, normalised, from_start = (of.get(run.seed) for of in numbers)
    kind = [run.criterion, run.recipe.get("control"), *(sparsity.get(group) for group in groups)]
    scaled = [before, task.untrained, normalised, from_start]
    results = [task.metric, score, area, *scaled, run.env_steps, run.seconds]
    return [task.task, run.arm, run.seed, run.status, run.error, *kind, *results, str(run.files.folder)]


def _frame(rows: list[list[Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
