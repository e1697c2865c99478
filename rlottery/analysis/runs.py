"""The runs of a study, read from its files: how each ended, and its evaluations."""

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.storage.made_with import made_with
from rlottery.storage.manifests import Manifest, check_files, check_is_not_lost, list_differences, read_manifest
from rlottery.storage.metrics_log import read_evaluations
from rlottery.storage.paths import DENSE, RunFiles, Store
from rlottery.storage.trained_with import other_settings_message

Metric = Literal["success", "return"]
Status = Literal["done", "failed", "diverged", "unreadable", "missing"]

_FACTS = ("method", "criterion", "sparsity", "env_steps", "recipe", "seconds", "versions", "round_of", "imported")
"""Keys of a manifest that are fields of a `Run`."""


@dataclass(frozen=True, slots=True)
class Evaluation:
    """One evaluation of the deterministic policy, after `env_steps` of training. A study may have a million of them.

    Attributes:
        env_steps: 0 for the untrained policy.
        scores: means over the evaluation's episodes: "return", and "success" where the task reports it.
        returns: the return of every episode.
    """

    env_steps: int
    scores: Mapping[str, float]
    returns: Sequence[float]


@dataclass(frozen=True)
class Run:
    """One arm trained on one task with one seed.

    Attributes:
        status: "unreadable" means that the run ended well but its files can't be read; "diverged" that its weights,
            losses or actions became NaN or infinite, which is a result.
        error: why it failed or can't be read; None for a run that is done.
        method, criterion: of the mask; None for dense agents.
        sparsity: reached, by group; None for dense agents, and where the manifest does not say.
        env_steps: how long it trained; None where the manifest does not say.
        began_at: the step of the dense run from which it continues; 0 for most runs.
        recipe: the rest of the arm's entry in the config, as plain values.
        start: what its initial weights were made from, as plain values: rewinding, rescaling and the like, where they
            differ from a plain ticket's.
        settings: what it was trained with, as the parts of a fingerprint; empty where the manifest does not say.
        seconds: wall-clock time; None where the manifest does not say.
        versions: the software it ran with.
        sessions: the same for each of its sessions that has it.
        round_of: the arm that this run was a pruning round of; None for an arm itself.
        imported: what it was made from, if another tool trained it (`storage.manifests.Imported`); it has no learning
            curve.
        rounds: the earlier rounds of an iterative ticket, without evaluations.
        evaluations: in order of their steps. Of a run that failed or diverged, those before its end.
    """

    arm: str
    seed: int
    files: RunFiles
    status: Status
    error: str | None = None
    method: str | None = None
    criterion: str | None = None
    sparsity: Mapping[str, float] | None = None
    env_steps: int | None = None
    began_at: int = 0
    recipe: Mapping[str, Any] = field(default_factory=dict)
    start: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None
    versions: Mapping[str, str] = field(default_factory=dict)
    sessions: tuple[Mapping[str, str], ...] = ()
    round_of: str | None = None
    imported: Mapping[str, Any] | None = None
    rounds: tuple["Run", ...] = ()
    evaluations: tuple[Evaluation, ...] = ()

    @property
    def trained(self) -> tuple[Evaluation, ...]:
        """The evaluations after step 0."""
        return tuple(evaluation for evaluation in self.evaluations if evaluation.env_steps > 0)


def read_runs(store: Store, task_name: str, seeds: Iterable[int]) -> list[Run]:
    """Read every run of a task that has a manifest, by seed. Rounds of iterative pruning are part of the arm's run.

    A damaged run is "unreadable"; the others are read all the same.
    """
    found: list[Run] = []
    first: tuple[int, Manifest] | None = None
    for seed in seeds:
        dense = _manifest_or_none(store.run(task_name, seed, DENSE))
        of_arms = (_read_run(store.run(task_name, seed, arm), seed, arm, dense) for arm in store.arms(task_name, seed))
        read = [run for run in of_arms if run is not None]
        of_seed = [
            replace(run, rounds=tuple(one for one in read if one.round_of == run.arm))
            for run in read
            if run.round_of is None
        ]
        if dense is not None and dense["status"] == "done":
            first = first or (seed, dense)
            of_seed = [_of_one_study(run, dense, *first) for run in of_seed]
        found += of_seed
    return _with_successes(found)


def _with_successes(runs: list[Run]) -> list[Run]:
    """The runs of a task, where an evaluation without success counts as 0 if others have one.

    Some environments report success only in the step in which it happens.
    """
    if not any("success" in evaluation.scores for run in runs for evaluation in run.evaluations):
        return runs
    return [
        replace(run, evaluations=tuple(replace(one, scores={"success": 0.0, **one.scores}) for one in run.evaluations))
        for run in runs
    ]


def metric_of(runs: Iterable[Run]) -> Metric:
    """The success rate if the task reports success, else the return."""
    scores = [evaluation.scores for run in runs for evaluation in run.evaluations]
    return "success" if scores and all("success" in score for score in scores) else "return"


def untrained_evaluations(runs: Iterable[Run]) -> dict[int, Evaluation]:
    """The evaluations of the dense agents before their first training step, by seed."""
    return {
        run.seed: run.evaluations[0]
        for run in runs
        if run.arm == DENSE and run.evaluations and run.evaluations[0].env_steps == 0
    }


def arm_names(runs: Iterable[Run]) -> list[str]:
    """The arms of these runs: dense first, then by sparsity, then by name."""
    sparsity: dict[str, float] = {}
    for run in runs:
        # Rounded, so that the last bits of equal sums don't decide the order.
        known = math.inf if run.sparsity is None else round(math.fsum(run.sparsity.values()), 6)
        sparsity[run.arm] = min(known, sparsity.get(run.arm, math.inf))
    return sorted(sparsity, key=lambda arm: (arm != DENSE, sparsity[arm], arm))


def representative(runs: Sequence[Run]) -> Run:
    """Of the runs of one arm, one whose manifest shows what kind of arm it is; a damaged manifest doesn't."""
    return max(runs, key=lambda run: (run.sparsity is not None, run.criterion is not None or bool(run.recipe)))


def schedule_of(run: Run) -> str:
    """The name of a run's pruning schedule; empty where its recipe has none."""
    schedule = run.recipe.get("schedule")
    return schedule if isinstance(schedule, str) else next(iter(schedule), "") if schedule else ""


def other_settings_lines(config: Config, runs: Mapping[str, Sequence[Run]]) -> list[str]:
    """A line for each task whose runs were trained with settings that differ from the config's.

    Args:
        runs: task id -> its runs. Unreadable runs are skipped; each of them has its own message.
    """
    lines = []
    for task in config.tasks:
        settings = [run.settings for run in runs[task.id] if run.status != "unreadable"]
        if line := other_settings_message(config, task, settings):
            lines.append(line)
    return lines


def _manifest_or_none(files: RunFiles) -> Manifest | None:
    try:
        return read_manifest(files)
    except StudyError:
        return None


def _read_run(files: RunFiles, seed: int, arm: str, dense: Manifest | None) -> Run | None:
    try:
        manifest = read_manifest(files)
        if manifest is None:
            check_is_not_lost(files)
            return None
    except StudyError as error:
        return Run(arm, seed, files, "unreadable", str(error))
    start = manifest["fingerprint"].get("arm", {})
    rewind = start.get("rewind")
    began_at = rewind["step"] if isinstance(rewind, dict) else 0
    facts: dict[str, Any] = {name: value for name, value in manifest.items() if name in _FACTS}
    sessions = tuple(made_with(seed, arm, manifest).sessions)
    known = Run(
        *(arm, seed, files, "done"),
        **facts,
        began_at=began_at,
        start=start,
        settings=_settings(manifest),
        sessions=sessions,
    )
    status = manifest["status"]
    if known.round_of is not None:
        return replace(known, status=status)
    if other := _other_settings(manifest, dense):
        problem = f"{files.folder} was trained with other settings than the dense agent ({other}). Delete this folder."
        return replace(known, status="unreadable", error=problem)
    try:
        check_files(files.folder, manifest["files"], files.metrics.name)
        read = _evaluations(files)
    except StudyError as error:
        if status != "failed":
            return replace(known, status="unreadable", error=str(error))
        read = ()
    if status != "done":
        return replace(known, status=status, error=str(manifest.get("error")), evaluations=read)
    if all(evaluation.env_steps == 0 for evaluation in read):
        problem = f"{files.metrics} has no evaluation of the trained agent. Train this run again."
        return replace(known, status="unreadable", error=problem, evaluations=read)
    return replace(known, evaluations=read)


def _other_settings(ticket: Manifest, dense: Manifest | None) -> str | None:
    """The first setting in which a ticket's training differs from the dense agent's; None if there is none."""
    if dense is None or dense.get("status") != "done":
        return None
    differences = list_differences(_settings(dense), _settings(ticket))
    started_from = ticket["fingerprint"].get("inputs", {}).get("initial")
    initial = dense["files"].get("initial.safetensors")
    if not differences and started_from is not None and initial is not None and started_from != initial["sha256"]:
        return "other initial weights"
    return differences[0] if differences else None


def _of_one_study(run: Run, dense: Manifest, first_seed: int, first: Manifest) -> Run:
    """The run; "unreadable" where its seed's dense agent was trained with other settings than the first seed's."""
    differences = list_differences(_settings(first, "seed"), _settings(dense, "seed"), asker=f"seed {first_seed} has")
    if not differences:
        return run
    problem = (
        f"{run.files.folder.parent} was trained with other settings than seed {first_seed} "
        f"({differences[0]}), so they can't be "
        "compared. Keep studies with different settings in separate folders: data=FOLDER."
    )
    return replace(run, status="unreadable", error=problem)


def _settings(manifest: Manifest, *but: str) -> dict[str, Any]:
    """The settings that a run was trained with."""
    left_out = ("version", "inputs", "arm", *but)
    return {key: value for key, value in manifest["fingerprint"].items() if key not in left_out}


def _evaluations(files: RunFiles) -> tuple[Evaluation, ...]:
    return tuple(
        Evaluation(
            row["env_steps"],
            {name: float(row[name]) for name in ("return", "success") if name in row},
            array("d", row.get("returns", ())),
        )
        for row in read_evaluations(files.metrics)
    )
