"""A study as pandas frames: its runs, their evaluations, and the layers of their masks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rlottery.analysis.comparison import compare_runs
from rlottery.analysis.mask_facts import readable_masks
from rlottery.analysis.runs import Run, other_settings_lines, read_runs
from rlottery.analysis.scores import TaskScores, task_scores
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.storage.open_study import config_from_started_study
from rlottery.storage.paths import Store

_RUNS = {
    "task": "string",
    "arm": "string",
    "seed": "int64",
    "status": "string",
    "error": "string",
    "criterion": "string",
    "control": "string",
    "sparsity_actor": "Float64",
    "sparsity_critic": "Float64",
    "metric": "string",
    "score": "Float64",
    "area": "Float64",
    "untrained": "Float64",
    "normalised_score": "Float64",
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
    "digest": "string",
}


@dataclass(frozen=True, eq=False)
class Study:
    """What a study's files hold. A value that is not there is pandas' NA.

    Attributes:
        config: its settings; data: its folder.
        runs: one row per run that has ended, by task, seed and arm. The rounds of iterative pruning have no rows.
            `metric` is "success" or "return", and `score` the mean of the last evaluations in that unit. `area` is the
            mean score over all of training; arms that start at a later step have none. `untrained` is the mean score of
            the task's dense agents before training. `normalised_score` is 0 for that, and 1 for the mean of the dense
            agents with the same seeds as the arm. A run that diverged scores as an untrained agent. One that failed or
            can't be read has no score, and `error` says why. `sparsity_actor` and `sparsity_critic` are the shares that
            were pruned; dense agents have none. `control` is the kind of control. `env_steps` counts training steps,
            `seconds` wall-clock time.
        evaluations: one row an evaluation: the mean return of its `episodes`, and the share of them with success.
        masks: one row a layer of a mask: `kept` of `total` weights; `group` is actor or critic, and `digest` tells
            masks apart. Those of runs that can't be read are left out, and so are damaged ones, told in `problems`.
        problems: in words: masks and runs that can't be read, and runs that were trained with other settings than
            `config` has.
    """

    config: Config
    data: Path
    runs: pd.DataFrame
    evaluations: pd.DataFrame
    masks: pd.DataFrame
    problems: tuple[str, ...]


def load_study(path: str | Path) -> Study:
    """Read a study, done or half done, into frames.

    Args:
        path: its data folder, or its config file.

    Raises:
        StudyError: nothing there, no study, or nothing of it is done yet; a folder without a record of its settings.
        ConfigError: a config file that can't be read.
    """
    config = config_from_started_study(Path(path))
    store = Store(config.data)
    runs = {task.id: tuple(read_runs(store, task.name, config.seeds)) for task in config.tasks}
    if not any(runs.values()):
        raise StudyError(
            f"{store.root} has no run that has ended of the tasks and seeds of {path}. Run the study first: "
            "`rlottery run CONFIG`; or give another data folder."
        )
    compared = compare_runs(config, runs)
    scores = {task.task: task_scores(task.task, runs[task.task], task.least_gain, config) for task in compared.tasks}
    every = [(task, run) for task, of_task in runs.items() for run in of_task]
    masks, problems = _masks(runs)
    unreadable = [
        f"{task}: {run.arm}, seed {run.seed}: {run.error}" for task, run in every if run.status == "unreadable"
    ]
    return Study(
        config,
        store.root,
        runs=_frame([_run(task, run, scores[task]) for task, run in every], _RUNS),
        evaluations=_frame([row for task, run in every for row in _evaluations(task, run)], _EVALUATIONS),
        masks=_frame(masks, _MASKS),
        problems=(*other_settings_lines(config, runs), *unreadable, *problems),
    )


def _run(task: str, run: Run, scores: TaskScores) -> list[Any]:
    sparsity, of_arm = run.sparsity or {}, scores.arm(run.arm)
    numbers = [of_arm.scores, of_arm.areas, of_arm.normalised] if of_arm else [{}, {}, {}]
    score, area, normalised = (of.get(run.seed) for of in numbers)
    made = [run.criterion, run.recipe.get("control"), sparsity.get("actor"), sparsity.get("critic")]
    told = [scores.metric, score, area, scores.untrained, normalised, run.env_steps, run.seconds, str(run.files.folder)]
    return [task, run.arm, run.seed, run.status, run.error, *made, *told]


def _evaluations(task: str, run: Run) -> list[list[Any]]:
    return [
        [task, run.arm, run.seed, e.env_steps, e.scores["return"], e.scores.get("success"), len(e.returns)]
        for e in run.evaluations
    ]


def _masks(runs: Mapping[str, Sequence[Run]]) -> tuple[list[list[Any]], tuple[str, ...]]:
    """A row a layer of each run's mask, and what could not be read."""
    problems: list[str] = []
    rows = [
        [task, run.arm, run.seed, group, layer, np.count_nonzero(kept), kept.size, mask.metadata["digest"]]
        for task, of_task in runs.items()
        for run, mask in readable_masks(of_task, problems)
        for group, layers in mask.groups.items()
        for layer, kept in layers.items()
    ]
    return rows, tuple(problems)


def _frame(rows: list[list[Any]], columns: dict[str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns)).astype(columns)
