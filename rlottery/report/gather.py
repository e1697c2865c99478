"""Gather a report's contents from the store: runs are read once, and everything else is made from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from rlottery.analysis.comparison import Comparison, TaskComparison, compare_runs
from rlottery.analysis.costs import costs_of
from rlottery.analysis.judging import TaskToJudge, controls_of, judge
from rlottery.analysis.kinds import LayerCounts
from rlottery.analysis.mask_analysis import MaskPages, analyse_masks
from rlottery.analysis.method_contrasts import compare_methods
from rlottery.analysis.rules import rules_in_words
from rlottery.analysis.runs import Run, arm_names, other_settings_lines, read_runs
from rlottery.analysis.scores import across_tasks, task_scores
from rlottery.analysis.verdict import Verdicts
from rlottery.config import Config, config_to_dict
from rlottery.errors import StudyError
from rlottery.report.contents import Command, Contents
from rlottery.storage.paths import DENSE, Store
from rlottery.storage.study_record import read_study_record


def gather(store: Store, config: Config) -> Contents:
    """All that a report tells of what the store holds of a config's tasks and seeds, half done or not."""
    runs = {task.id: tuple(read_runs(store, task.name, config.seeds)) for task in config.tasks}
    comparison = compare_runs(config, runs)
    masks = analyse_masks(store, config, runs)
    tasks = [_to_judge(task, runs[task.task], masks, config) for task in comparison.tasks]
    controls = {ticket: found for task in reversed(tasks) for ticket, found in controls_of(task).items() if found}
    history, settings = _history(store), config_to_dict(config)
    verdicts, pooled = judge(tasks, config.verdict)
    ripe = [task for task in tasks if _has_enough_seeds(task, config)] or tasks
    methods, trends = compare_methods(ripe, config.verdict)
    return Contents(
        title=config.name,
        config=settings,
        config_text=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        commands=history.commands,
        versions=_versions(run for of_task in runs.values() for run in of_task),
        comparison=comparison,
        runs=runs,
        scores=tuple(task.scores for task in tasks),
        across=across_tasks([task.scores for task in ripe], controls, config.verdict.resamples),
        verdicts=Verdicts(rules_in_words(config), verdicts, pooled, methods, trends, history.seeds_added, config.seeds),
        masks=masks,
        costs=tuple(
            cost
            for task, judged in zip(config.tasks, tasks, strict=True)
            for cost in costs_of(task, config, judged.runs, judged.counts)
        ),
        missing=(
            *other_settings_lines(config, runs),
            *_missing(config, comparison),
            *masks.problems,
            *history.problems,
        ),
        films={},
        asked=len(config.tasks) * len(config.seeds) * (1 + len(config.recipes)),
    )


def _has_enough_seeds(task: TaskToJudge, config: Config) -> bool:
    """Whether what is said over tasks may rest on this one.

    Where no task has enough, all are shown, and nothing is claimed.
    """
    dense = task.scores.arm(DENSE)
    return dense is not None and len(dense.scores) >= config.verdict.least_seeds


@dataclass(frozen=True)
class _History:
    commands: tuple[Command, ...]
    seeds_added: int
    problems: tuple[str, ...] = ()


def _history(store: Store) -> _History:
    """From the study's record; a study from before there were any has none."""
    try:
        record = read_study_record(store.root)
    except StudyError as error:
        lost = f"{error} How often seeds were added is not known."
        return _History((), 0, (lost,) if store.record.exists() else ())
    commands = (
        Command(command["when"], command["line"], command["version"], tuple(command["seeds"]))
        for command in record["commands"]
    )
    return _History(tuple(commands), record["seeds_added"])


def _to_judge(task: TaskComparison, runs: Sequence[Run], masks: MaskPages, config: Config) -> TaskToJudge:
    by_arm: dict[str, Sequence[Run]] = {
        name: _those_that_tell_first([run for run in runs if run.arm == name]) for name in arm_names(runs)
    }
    counts: dict[str, LayerCounts] = {
        arm.arm: LayerCounts({layer.path: layer.total for layer in arm.layers}, arm.kept)
        for arm in masks.arms
        if arm.task == task.task
    }
    return TaskToJudge(task_scores(task.task, runs, task.least_gain, config), by_arm, counts, task.least_gain)


def _those_that_tell_first(runs: Sequence[Run]) -> list[Run]:
    """A damaged run doesn't say what kind of arm it is of."""
    return sorted(runs, key=lambda run: run.criterion is None and run.status == "unreadable")


def _versions(runs: Any) -> Mapping[str, str]:
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in found.items()}


def _missing(config: Config, comparison: Comparison) -> list[str]:
    """What the config asks for and the store has not, a line for each arm and task, then what is wrong with runs."""
    lines = []
    for task in comparison.tasks:
        if not any(arm.done or arm.failures for arm in task.arms):
            lines.append(f"{task.task}: no run is finished yet.")
            continue
        there = {arm.name: [seed.seed for seed in arm.seeds if seed.status == "missing"] for arm in task.arms}
        listed = {recipe.name or "": list(config.seeds) for recipe in config.recipes}
        for name, seeds in {"dense": list(config.seeds), **listed, **there}.items():
            if seeds:
                which = "no seed" if len(seeds) == len(config.seeds) else f"seed {', '.join(map(str, seeds))}"
                verb = "is finished" if which == "no seed" else "is not there"
                lines.append(f"{task.task}: {name}: {which} {verb} yet.")
        if not config.arms and not task.tickets:
            lines.append(f"{task.task}: no ticket is there yet.")
        for arm in task.arms:
            for seed in arm.failures:
                why = " ".join((seed.error or "").split())
                lines.append(f"{task.task}: {arm.name}, seed {seed.seed}: {seed.status}: {why}")
        lines += [f"{task.task}: {note}" for note in task.notes]
    return lines
