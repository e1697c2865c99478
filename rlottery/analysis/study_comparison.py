"""Comparison of studies: in which settings they differ, and the scores of every arm and task that they share."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlottery.analysis.arrays import mean_of
from rlottery.analysis.hypothesis_tests import holm
from rlottery.analysis.linear_forms import linear_form, raw_bounds, two_sided, welch_test
from rlottery.analysis.runs import Metric, Run
from rlottery.analysis.scores import TaskScores
from rlottery.config import ALGORITHMS, DEFAULT_ALGORITHM, LEFT_OUT
from rlottery.config.groups import AlgorithmName
from rlottery.config.training import unread_keys
from rlottery.storage.twins import TWINS, ranks_globally

_OF_TASKS, _OF_STUDIES = ("training", *ALGORITHMS), ("network", "evaluation", "verdict")
"""Sections of a config that a task may override, and those that apply to all tasks."""


@dataclass(frozen=True)
class StudyDifference:
    """The difference between two studies in the scores of one arm on one task.

    Equal seeds of two studies have nothing in common, so the samples are independent (Welch 1947).

    Attributes:
        metric: the unit of means, difference and bounds.
        one, other: names of the studies; n_one, n_other: runs of each.
        least: how many runs of each are needed; the larger of what the two studies ask for.
        difference: other - one; low, high: its 95 % interval; None with too few runs, or without any spread.
        p: two-sided; None with too few runs. adjusted: after Holm's correction over all tested rows of the two studies.
    """

    task: str
    arm: str
    metric: Metric
    one: str
    other: str
    mean_one: float
    mean_other: float
    n_one: int
    n_other: int
    least: int
    difference: float
    low: float | None
    high: float | None
    p: float | None
    adjusted: float | None = None

    @property
    def too_few(self) -> bool:
        """Whether either study has too few runs for a test."""
        return min(self.n_one, self.n_other) < self.least


@dataclass(frozen=True)
class SettingDifference:
    """A setting in which studies differ, on a task or arm that they share.

    Attributes:
        key: as in the config: ``training.env_steps``, or ``arms.allocation`` for a key of an arm's recipe;
            ``arms.twins`` if twin critics share a budget (`storage.twins`).
        of: the arms or tasks that it applies to; empty for every shared task.
        values: study -> its value, for the studies that have the task or arm and read the key; None where the recipe
            omits it.
        where: tasks, each with an arm or with None for all of its arms.
    """

    key: str
    of: tuple[str, ...]
    values: Mapping[str, Any]
    where: tuple[tuple[str, str | None], ...]

    @property
    def trains(self) -> bool:
        """Whether scores depend on it. Settings of the verdict only matter when a report is made."""
        return not self.key.startswith("verdict.")

    def touches(self, row: StudyDifference) -> bool:
        """Whether the scores of this row were made with different values of it."""
        here = (row.task, None) in self.where or (row.task, row.arm) in self.where
        return self.trains and here and self.values.get(row.one) != self.values.get(row.other)


def study_differences(
    studies: Mapping[str, Sequence[TaskScores]], least_seeds: Mapping[str, int]
) -> tuple[StudyDifference, ...]:
    """Compare the first study with each of the others, in the order of the first study's tasks and arms.

    Args:
        studies: name -> its scores, one entry per task.
        least_seeds: name -> how many seeds the study needs for a decision. Rows with fewer than either study's number
            are not tested.
    """
    (first, ours), *others = studies.items()
    return tuple(
        row
        for name, theirs in others
        for row in _compared(first, ours, name, theirs, max(least_seeds[first], least_seeds[name]))
    )


def setting_differences(
    configs: Mapping[str, Mapping[str, Any]],
    studies: Mapping[str, Sequence[TaskScores]],
    shared: Collection[str] = (),
) -> tuple[SettingDifference, ...]:
    """The settings of training, networks, evaluation, verdict and arms in which the studies differ.

    Args:
        configs: name -> the config of the study in plain values.
        studies: name -> its scores, whose runs have the recipes of the arms. Only tasks and arms that the first study
            shares with another count.
        shared: the studies in whose globally allocated masks the twin critics share one budget.
    """
    tasks = {name: {task["id"]: task for task in config.get("tasks", ())} for name, config in configs.items()}
    first, *others = configs
    in_both = [task for task in tasks[first] if any(task in tasks[name] for name in others)]
    found: dict[str, SettingDifference] = {}
    whole = {
        name: _flat({key: LEFT_OUT.get(key, {}) | config.get(key, {}) for key in _OF_STUDIES})
        for name, config in configs.items()
    }
    algorithms = {name: _algorithm(config) for name, config in configs.items()}
    for task in in_both:
        of_task = {name: _task_settings(configs[name], of[task]) for name, of in tasks.items() if task in of}
        # The settings of an algorithm are compared between the studies that train with it.
        by_algorithm = (
            {name: _section(configs[name], tasks[name][task], one) for name in of_task if algorithms[name] == one}
            for one in ALGORITHMS
        )
        for settings in (of_task, *by_algorithm, whole):
            for key, values in _unlike(settings):
                path = tuple(key.split(".", 1))
                read = {name: value for name, value in values.items() if path not in unread_keys(algorithms[name])}
                _note(found, key, task, read, (task, None))
    for task in in_both:
        made = {name: _recipes(scores, task, name in shared) for name, scores in studies.items()}
        for arm in made[first]:
            for key, values in _unlike({name: arms[arm] for name, arms in made.items() if arm in arms}):
                _note(found, f"arms.{key}", arm, values, (task, arm))
    differences = (replace(one, of=()) if one.of == tuple(in_both) else one for one in found.values())
    order = ("algorithm", *_OF_TASKS, *_OF_STUDIES, "tasks", "arms")
    return tuple(sorted(differences, key=lambda one: order.index(one.key.partition(".")[0])))


def _task_settings(config: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Any]:
    """Key -> value: the algorithm's name, and what training and the environment are set to."""
    kwargs = {f"tasks.kwargs.{key}": value for key, value in task.get("kwargs", {}).items()}
    return {"algorithm": _algorithm(config), **_section(config, task, "training"), **kwargs}


def _algorithm(config: Mapping[str, Any]) -> AlgorithmName:
    name: AlgorithmName = config.get("algorithm", DEFAULT_ALGORITHM)
    return name


def _section(config: Mapping[str, Any], task: Mapping[str, Any], section: str) -> dict[str, Any]:
    """Key -> value of a section, where the task's own settings override the study's."""
    left_out = LEFT_OUT.get(section, {})
    return _flat({section: {**left_out, **config.get(section, {}), **task.get(section, {})}})


def _flat(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {f"{name}.{key}": value for name, section in sections.items() for key, value in section.items()}


def _recipes(scores: Sequence[TaskScores], task: str, shared: bool) -> dict[str, dict[str, Any]]:
    """Arm -> key of its recipe -> value, for the arms that have a score."""
    found = next((of for of in scores if of.task == task), None)
    return {arm.arm: _recipe(found, found.representative(arm.arm), shared) for arm in found.arms} if found else {}


def _recipe(scores: TaskScores, run: Run, shared: bool) -> dict[str, Any]:
    of = run.recipe.get("of") or {}
    recipe = {key: value for key, value in run.recipe.items() if key != "of"}
    recipe |= {f"of.{key}": value for key, value in of.items()}
    # Of arms that the config doesn't list, only the sparsity that was reached is known: networks of other widths reach
    # the requested one to within a weight.
    reached = {group: round(share, 3) for group, share in (run.sparsity or {}).items()}
    made = {"criterion": run.criterion, "sparsity": scores.asked.get(run.arm) or reached or None, **recipe}
    # A control has the layer counts of its ticket.
    ranked = {TWINS: ranks_globally(made), f"of.{TWINS}": ranks_globally(of)}
    return made | {key: "shared" for key, globally in ranked.items() if shared and globally}


def _unlike(of: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every key with more than one value, and study -> value."""
    for key in dict.fromkeys(key for settings in of.values() for key in settings):
        values = {name: settings.get(key) for name, settings in of.items()}
        if any(value != next(iter(values.values())) for value in values.values()):
            yield key, values


def _note(
    found: dict[str, SettingDifference], key: str, of: str, values: Mapping[str, Any], where: tuple[str, str | None]
) -> None:
    """Add a difference, merging it with the same difference of other tasks or arms."""
    same = f"{key} {values!r}"
    before = found.get(same, SettingDifference(key, (), values, ()))
    names = tuple(dict.fromkeys([*before.of, of]))
    found[same] = replace(before, of=names, where=(*before.where, where))


def _compared(
    one: str, ours: Sequence[TaskScores], other: str, theirs: Sequence[TaskScores], least: int
) -> list[StudyDifference]:
    """The rows of two studies, after Holm's correction."""
    by_task = {task.task: task for task in theirs}
    rows = []
    for task in ours:
        counterpart = by_task.get(task.task)
        if counterpart is None or counterpart.metric != task.metric:
            continue
        for arm in task.arms:
            if (of_other := counterpart.arm(arm.arm)) is None:
                continue
            a, b = (list(of.scores.values()) for of in (arm, of_other))
            form = linear_form(["other"], ["one"], {"one": a, "other": b})
            assert form is not None  # arms without scores are not among the arms
            low = high = p = None
            if min(len(a), len(b)) >= least and (test := welch_test([form])) is not None:
                p = two_sided(test)
                low, high = raw_bounds(form, 0.025) if form.has_spread else (None, None)
            row = StudyDifference(
                task=task.task,
                arm=arm.arm,
                metric=task.metric,
                one=one,
                other=other,
                mean_one=mean_of(a),
                mean_other=mean_of(b),
                n_one=len(a),
                n_other=len(b),
                least=least,
                difference=form.raw,
                low=low,
                high=high,
                p=p,
            )
            rows.append(row)
    adjusted = holm([row.p for row in rows])
    return [replace(row, adjusted=value) for row, value in zip(rows, adjusted, strict=True)]
