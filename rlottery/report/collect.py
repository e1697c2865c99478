"""Collect the contents of a report from the store. Runs are read once, and everything else is computed from them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import yaml

from rlottery.analysis.across_tasks import across_tasks
from rlottery.analysis.contrasts import evaluate_contrasts
from rlottery.analysis.costs import costs_of
from rlottery.analysis.judging import TaskToJudge, controls_of, judge
from rlottery.analysis.kinds import LayerCounts
from rlottery.analysis.mask_analysis import MaskAnalysis, analyse_masks
from rlottery.analysis.method_contrasts import compare_methods
from rlottery.analysis.rules import rules_as_sentences
from rlottery.analysis.runs import Run, other_settings_lines, read_runs
from rlottery.analysis.scores import TaskScores, score_tasks
from rlottery.analysis.untrained import read_samples
from rlottery.analysis.verdict import Verdicts
from rlottery.config import Config, Contrast, RegisteredContrast, recorded_settings
from rlottery.config.built_in import METHODS, recipes_for
from rlottery.errors import StudyError
from rlottery.report.contents import Claims, Command, Contents
from rlottery.report.setting import setting_line
from rlottery.report.task_sentences import FAILED_STATUSES
from rlottery.report.version_lines import change_lines
from rlottery.report.wording import joined
from rlottery.storage.made_with import MadeWith
from rlottery.storage.paths import DENSE, Store
from rlottery.storage.study_record import read_study_record
from rlottery.storage.trial_record import code_name, deviation_lines, read_trials


def collect(store: Store, config: Config) -> Contents:
    """The contents of a report on a config's tasks and seeds, as far as the store has them."""
    runs = {task.id: tuple(read_runs(store, task.name, config.seeds)) for task in config.tasks}
    samples, unusable = read_samples(store, config, runs)
    scores, asked = score_tasks(config, runs, samples), _asked(config, runs)
    masks = analyse_masks(store, config, runs)
    tasks = [TaskToJudge(task, _layer_counts(task, masks)) for task in scores]
    controls = {ticket: found for task in reversed(tasks) for ticket, found in controls_of(task).items() if found}
    commands, seeds_added, claims, no_record = _history(store)
    trials = read_trials(config)
    settings = recorded_settings(config)
    verdicts, pooled = judge(tasks, config.verdict)
    # Where no task has enough seeds all are shown, and nothing is claimed.
    least = config.verdict.least_seeds
    ready = [task for task in scores if (dense := task.arm(DENSE)) and len(dense.scores) >= least] or scores
    methods, trends = compare_methods(ready, config.verdict)
    return Contents(
        title=config.name,
        config=settings,
        config_text=yaml.safe_dump(settings, sort_keys=False, allow_unicode=True),
        commands=commands,
        versions=_versions(run for of_task in runs.values() for run in of_task),
        seeds=config.seeds,
        score_evaluations=config.evaluation.score_evaluations,
        lists_arms=bool(config.arms),
        scores=scores,
        across=across_tasks(ready, controls, config.verdict.resamples),
        verdicts=Verdicts(
            rules_as_sentences(config),
            verdicts,
            pooled,
            methods,
            trends,
            seeds_added,
            config.seeds,
            (*deviation_lines(trials), *_code_lines(runs), *_version_lines(runs)),
            evaluate_contrasts(scores, _registered(config, claims), config.verdict),
        ),
        success_keys={task: trial.success_key for task, trial in trials.items()},
        masks=masks,
        costs=tuple(
            cost
            for task, judged in zip(config.tasks, tasks, strict=True)
            for cost in costs_of(task, config, judged.scores.runs, judged.counts)
        ),
        missing=(
            *other_settings_lines(config, runs),
            *(line for task in scores for line in _missing(config, asked, task)),
            *unusable,
            *masks.problems,
            *no_record,
        ),
        films={},
        claims=claims,
        setting=setting_line(config),
        asked=len(config.tasks) * len(config.seeds) * len(asked),
    )


def _history(store: Store) -> tuple[tuple[Command, ...], int, Claims, tuple[str, ...]]:
    """The commands in the study's record, how often seeds were added, its claims, and why the record can't be read.

    Studies made before there were records have none.
    """
    try:
        record = read_study_record(store.root)
    except StudyError as error:
        unknown = f"{error} It is not known how often seeds were added."
        return (), 0, {}, (unknown,) if store.record.exists() else ()
    commands = (
        Command(command["when"], command["line"], command["version"], tuple(command["seeds"]))
        for command in record["commands"]
    )
    claims: Claims = {(claim["claim"], claim["measure"]): claim["ended"] for claim in record.get("claims", [])}
    return tuple(commands), record["seeds_added"], claims, ()


def _registered(config: Config, claims: Claims) -> tuple[RegisteredContrast, ...]:
    """The contrasts of the config and those that it had once: a claim that is dropped still counts in corrections."""
    recorded = (part for claim, measure in claims for part in Contrast(claim=claim, measure=measure).parts())
    return tuple(dict.fromkeys([*config.registered_contrasts, *recorded]))


def _code_lines(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """The tasks whose runs were made with different code of the environment."""
    for task, of_task in runs.items():
        codes = {run.versions[code_name(task)] for run in of_task if code_name(task) in run.versions}
        if len(codes) > 1:
            yield (
                f"Runs of {task} were made with {len(codes)} versions of its code, so arms may not be comparable. If "
                "the change matters, train them again: data=ANOTHER_FOLDER."
            )


def _version_lines(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """The runs that were made with other versions than their dense agents, or continued with others."""
    for task, of_task in runs.items():
        made = [one for run in of_task for one in (run, *run.rounds)]
        yield from change_lines(task, [MadeWith(run.seed, run.arm, run.versions, run.sessions) for run in made])


def _layer_counts(task: TaskScores, masks: MaskAnalysis) -> dict[str, LayerCounts]:
    return {
        arm.arm: LayerCounts({layer.path: layer.total for layer in arm.layers}, arm.kept)
        for arm in masks.arms
        if arm.task == task.task
    }


def _versions(runs: Iterable[Run]) -> Mapping[str, str]:
    found: dict[str, dict[str, None]] = {}
    for run in runs:
        for name, version in run.versions.items():
            found.setdefault(name, {})[version] = None
    return {name: ", ".join(versions) for name, versions in found.items()}


def _asked(config: Config, runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """The arms that are asked for: those that the config lists, or those of the built-in methods that have begun.

    What has begun on no task isn't missing: a study may use one of the methods, and earlier versions made no controls.
    """
    recipes = config.recipes
    if not config.arms:
        begun = {run.arm for of_task in runs.values() for run in of_task}
        of_methods = (recipe for method in METHODS for recipe in recipes_for(method, config.pruning))
        recipes = [recipe for recipe in of_methods if recipe.name in begun]
    return list(dict.fromkeys([DENSE, *(recipe.name or "" for recipe in recipes)]))


def _missing(config: Config, asked: Sequence[str], task: TaskScores) -> list[str]:
    """What is asked for and the store does not have, one line per arm; then what is wrong with runs."""
    if not task.runs:
        return [f"{task.task}: no run is finished yet."]
    lines = []
    for arm in dict.fromkeys([*asked, *task.runs]):
        there = {run.seed for run in task.runs.get(arm, ())}
        seeds = [str(seed) for seed in config.seeds if seed not in there]
        if len(seeds) == len(config.seeds):
            lines.append(f"{task.task}: {arm}: no seed is finished yet.")
        elif seeds:
            what = f"seed {seeds[0]} is" if len(seeds) == 1 else f"seeds {joined(seeds)} are"
            lines.append(f"{task.task}: {arm}: {what} not finished yet.")
    if len(asked) == 1 and not task.runs.keys() - {DENSE}:
        lines.append(f"{task.task}: no ticket is finished yet.")
    for run in task.every_run:
        if run.status in FAILED_STATUSES:
            why = " ".join((run.error or "").split())
            lines.append(f"{task.task}: {run.arm}, seed {run.seed}: {run.status}: {why}")
    return lines + [f"{task.task}: {note}" for note in task.notes]
