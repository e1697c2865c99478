"""The results of one task in sentences."""

import statistics
from collections.abc import Collection, Mapping, Sequence

from rlottery.analysis.arrays import rounding_of
from rlottery.analysis.digits import Digits, digits_for
from rlottery.analysis.kinds import GRADIENT_CRITERIA
from rlottery.analysis.mask_analysis import MaskAnalysis
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import WITHOUT_DENSE, ArmScores, TaskScores
from rlottery.report.wording import METRIC_NAMES, capitalised, joined, named, plural, sparsity_text
from rlottery.safety.printable import on_one_line
from rlottery.storage.paths import DENSE

MOST_TICKETS_IN_A_SENTENCE = 4
FAILED_STATUSES = ("failed", "diverged", "unreadable")


def task_lines(tasks: Sequence[TaskScores], seeds: int) -> list[str]:
    """How the arms did on each task; tasks of which nothing else can be said share a line.

    Args:
        seeds: how many the config asks for.
    """
    return [f"{named(names)}: {sentences}" for sentences, names in _by_sentences(tasks, seeds).items()]


def early_look(tasks: Sequence[TaskScores], seeds: int, least_seeds: int) -> list[str]:
    """The same while an arm has fewer seeds than an answer needs, of the tasks that have a score; else nothing.

    ``Early look: on reach-v3, at 80 % sparsity, the normalised score is 0.97 for magnitude over 2 seeds.``
    """
    known = [task for task in tasks if task.arms]
    if not any(len(task.arms) == 1 or any(len(arm.scores) < least_seeds for arm in task.arms) for task in known):
        return []
    lines = [f"on {named(names)}, {sentences}" for sentences, names in _by_sentences(known, seeds).items()]
    return [f"Early look: {line}" if number == 0 else capitalised(line) for number, line in enumerate(lines)]


def _by_sentences(tasks: Sequence[TaskScores], seeds: int) -> dict[str, list[str]]:
    """What is said -> the tasks of which it is."""
    said: dict[str, list[str]] = {}
    for task in tasks:
        said.setdefault(_task_sentences(task, seeds), []).append(task.task)
    return said


def _task_sentences(task: TaskScores, seeds: int) -> str:
    sentences = [_main_sentence(task)]
    dense = task.arm(DENSE)
    not_learned = task.dense_not_learned
    if dense is not None and 0 < len(not_learned) < len(dense.scores):
        agents = "agent with seed" if len(not_learned) == 1 else "agents with seeds"
        sentences.append(f"The dense {agents} {joined(map(str, not_learned))} can't be shown to have learned.")
    failed = [run for run in task.every_run if run.status in FAILED_STATUSES]
    if failed:
        what = " or can't be read" if any(run.status == "unreadable" for run in failed) else ""
        sentences.append(f"{len(failed)} of {plural(seeds * len(task.runs), 'run')} failed{what}.")
    return " ".join(sentences)


def score_text(task: TaskScores, value: float) -> str:
    """A score of this task, with as many decimals as its scores need."""
    return score_digits(task)(value)


def score_digits(task: TaskScores) -> Digits:
    """The format of the scores of this task: it shows how seeds of an arm differ."""
    scores = [arm.scores.values() for arm in task.arms]
    ranges = [apart for of_arm in scores if (apart := max(of_arm) - min(of_arm)) > rounding_of(of_arm)]
    differences = [statistics.median(ranges)] if ranges else []
    return digits_for((score for of_arm in scores for score in of_arm), task.metric, differences)


def measured_line(task: TaskScores, metric: str, last: str) -> str:
    """What the scores of a task are: of which `metric`, and of which evaluations (``the last evaluation``)."""
    return f"{metric[:1].upper()}{metric[1:]}, {last} of each run. Untrained: {untrained_text(task)}."


def untrained_text(task: TaskScores) -> str:
    """The score that is the zero of the scale, and which policies it is the mean of."""
    if task.untrained is None:
        return "not known"
    number = len(task.untrained_sample)
    of = f"{number} fresh policies" if task.fresh else f"{plural(number, 'dense agent')} before training"
    if task.by_first:
        of = f"the first evaluations of {plural(number, 'dense agent')}"
    return f"{score_text(task, task.untrained)} (mean of {of})" if number > 1 else score_text(task, task.untrained)


def overlap_lines(task: TaskScores, masks: MaskAnalysis) -> list[str]:
    """How much the masks of magnitude and gradient overlap, one line per pair of arms."""
    criteria = {name: task.representative(name).criterion for name in task.runs}
    lines = []
    for found in masks.overlaps:
        magnitude, gradient = sorted((found.one, found.other), key=lambda arm: criteria.get(arm) != "magnitude")
        if (
            found.kind == "criterion"
            and found.task == task.task
            and criteria.get(magnitude) == "magnitude"
            and criteria.get(gradient) in GRADIENT_CRITERIA
        ):
            over = "1 seed" if found.pairs == 1 else f"mean of {found.pairs} seeds"
            lines.append(
                f"Mask overlap of {magnitude} and {gradient}: Jaccard index {found.jaccard:.2f} ({over}); random masks "
                f"would have {found.chance:.2f}."
            )
    return lines


def not_normalised_lines(task: TaskScores) -> list[str]:
    """A line about the arms without a normalised score, and why they have none; nothing if all have one."""
    arms = [arm.arm for arm in task.arms if arm.arm != DENSE and not arm.normalised]
    if not arms:
        return []
    who = f"{arms[0]} has" if len(arms) == 1 else f"{len(arms)} arms have"
    return [f"{who} no normalised score: {task.why_no_scale()}."]


def problem_lines(task: TaskScores, told: Collection[tuple[str, int, str]] = ()) -> list[str]:
    """Runs that failed or can't be read, with their errors, and what else is unusual.

    Args:
        told: task, seed and arm of runs to leave out.
    """
    lines = [
        f"{run.status.capitalize()}: {run.arm}, seed {run.seed}: {on_one_line(run.error or '')}"
        for run in task.every_run
        if run.status in FAILED_STATUSES and (task.task, run.seed, run.arm) not in told
    ]
    return lines + [on_one_line(note) for note in task.notes]


def _main_sentence(task: TaskScores) -> str:
    dense = task.arm(DENSE)
    if task.without_dense:
        return f"{WITHOUT_DENSE}."
    if dense is None:
        return "no dense agent is done yet." if task.runs else "no run is done yet."
    metric, over = METRIC_NAMES[task.metric], f"over {plural(len(dense.scores), 'seed')}"
    if len(task.dense_not_learned) == len(dense.scores):
        return (
            f"the dense agents can't be shown to have learned ({metric} {score_text(task, task.untrained or 0.0)} "
            f"untrained, {score_text(task, dense.mean.value)} trained, {over}), so their tickets are compared with "
            "random masks alone."
        )
    others = [arm for arm in task.arms if arm.arm != DENSE]
    shown = [arm for arm in others if arm.normalised]
    if not shown:
        why = task.why_no_scale() if others else "no ticket is done yet"
        return f"the dense agents reached a {metric} of {score_text(task, dense.mean.value)} {over}; {why}."
    numbers = {len(arm.normalised) for arm in shown}
    tail = f" over {plural(max(numbers), 'seed')}" if len(numbers) == 1 else ""
    if len(shown) > MOST_TICKETS_IN_A_SENTENCE:
        ordered = sorted(shown, key=lambda arm: arm.normalised_score or 0.0)
        worst, best = (f"{_normalised(arm)} ({arm.arm})" for arm in (ordered[0], ordered[-1]))
        return f"the normalised scores of {plural(len(shown), 'arm')} range from {worst} to {best}{tail}."
    return f"{_each(task, shown, with_seeds=len(numbers) > 1)}{tail}."


def _each(task: TaskScores, arms: Sequence[ArmScores], *, with_seeds: bool) -> str:
    """``at 80 % sparsity, the normalised score is 0.97 for magnitude and 1.02 for taylor``"""
    runs = {arm.arm: task.representative(arm.arm) for arm in arms}
    parts, what = [], "the normalised score is "
    groups: dict[str, list[ArmScores]] = {}
    for arm in arms:
        groups.setdefault(sparsity_text(task.split(arm.arm)), []).append(arm)
    for sparsity, group in groups.items():
        tickets = []
        for arm in group:
            seeds = f" ({plural(len(arm.normalised), 'seed')})" if with_seeds else ""
            tickets.append(f"{_normalised(arm)} for {_criterion(task, arm.arm, runs)}{seeds}")
        at = f"at {sparsity} sparsity, " if sparsity else ""
        parts.append(f"{at}{what}{joined(tickets)}")
        what = ""
    return "; ".join(parts)


def _normalised(arm: ArmScores) -> str:
    return Digits(2)(arm.normalised_score or 0.0)


def _criterion(task: TaskScores, arm: str, runs: Mapping[str, Run]) -> str:
    """The criterion, if the arm is named after it, and it and the sparsity as shown identify the arm; else its name."""
    criterion, sparsity = runs[arm].criterion, sparsity_text(task.split(arm))
    alike = [name for name in runs if (runs[name].criterion, sparsity_text(task.split(name))) == (criterion, sparsity)]
    return criterion if criterion and arm.startswith(criterion) and len(alike) == 1 else arm
