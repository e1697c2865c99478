"""The verdict on each task: from scores to what may be said of its tickets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from rlottery.analysis.cautions import head_start, two_levels
from rlottery.analysis.contrasts import Paired, contrast, paired
from rlottery.analysis.decisions import Judged, claims, corrected, decision_of, reason
from rlottery.analysis.further_seeds import seeds_needed, seeds_needed_equal
from rlottery.analysis.kinds import LayerCounts, kind_of, random_control_of
from rlottery.analysis.pooling import pool
from rlottery.analysis.runs import Run
from rlottery.analysis.scores import ArmScores, Estimate, TaskScores, learning_test
from rlottery.analysis.verdict import ArmVerdict, Claim, Contrast, Measure, PooledVerdict, TaskState, TaskVerdict
from rlottery.config import Verdict
from rlottery.storage.paths import DENSE

_NOT_JUDGED: dict[TaskState, str] = {
    "did not learn": "dense agents can't be shown to have learned this task",
    "too few seeds": "too few seeds have a finished dense agent",
}

POWER = 0.8
"""With which an undecided ticket's further seeds would decide it."""


@dataclass(frozen=True)
class TaskToJudge:
    """What a verdict on one task is made from.

    Attributes:
        runs: arm -> its runs.
        counts: arm -> survivors and weights of its layers, where its masks could be read.
        least_gain: as in `task_scores`.
    """

    scores: TaskScores
    runs: Mapping[str, Sequence[Run]]
    counts: Mapping[str, LayerCounts]
    least_gain: float


def controls_of(task: TaskToJudge) -> dict[str, str | None]:
    """Ticket -> its random control."""
    tickets = (runs[0] for runs in task.runs.values() if kind_of(runs[0]) == "ticket")
    return {ticket.arm: random_control_of(ticket, task.runs, task.counts) for ticket in tickets}


def judge(tasks: Sequence[TaskToJudge], rules: Verdict) -> tuple[tuple[TaskVerdict, ...], tuple[PooledVerdict, ...]]:
    """The verdicts of every task, and over tasks."""
    states = [_state(task, rules) for task in tasks]
    opened = [
        [_compare(task, state, why, arm, rules) for arm in task.scores.arms if arm.arm != DENSE]
        for task, (state, why, _) in zip(tasks, states, strict=True)
    ]
    judged = _decided([item for of_task in opened for item in of_task], rules)
    by_task = {task.scores.task: [item for item in judged if item.verdict.task == task.scores.task] for task in tasks}
    verdicts = tuple(
        TaskVerdict(
            task=task.scores.task,
            state=state,
            why=why,
            seeds=tuple(_dense(task).scores),
            p_learned=p_learned,
            arms=tuple(item.verdict for item in by_task[task.scores.task]),
            two_levels=two_levels(task.scores, rules.margin) if state == "learned" else None,
            head_start=head_start(task.scores, _pruned(by_task[task.scores.task]), rules.margin)
            if state == "learned"
            else None,
        )
        for task, (state, why, p_learned) in zip(tasks, states, strict=True)
    )
    return verdicts, pool(verdicts, judged, rules)


def _pruned(judged: Sequence[Judged]) -> set[str]:
    """Tickets, and the random masks that stand beside them."""
    return {arm for item in judged if item.is_ticket for arm in (item.verdict.arm, item.verdict.control) if arm}


# ------------------------------------------------------------------------------------------ One task


def _dense(task: TaskToJudge) -> ArmScores:
    """The dense arm; one without scores where none is done."""
    nothing = Estimate(math.nan, None, None)
    return task.scores.arm(DENSE) or ArmScores(DENSE, {}, {}, {}, {}, nothing, nothing, nothing)


def _state(task: TaskToJudge, rules: Verdict) -> tuple[TaskState, str, float | None]:
    dense, starts = _dense(task).scores, task.scores.starts
    seeds, p = learning_test(dense, starts, rules.level)
    if seeds < rules.least_seeds:
        have = f"{seeds} seed{'s' if seeds != 1 else ''} with a finished dense agent"
        return "too few seeds", f"{have}, and the verdict asks for {rules.least_seeds}: nothing is decided", p
    gain = (task.scores.dense or 0.0) - (task.scores.untrained or 0.0)
    if task.scores.gain is None:
        return (
            "did not learn",
            f"dense agents can't be shown to have learned: they score {task.scores.dense or 0.0:.3g} on average, "
            f"{task.scores.untrained or 0.0:.3g} before training (p = {p:.2g}; and a gain of more than "
            f"{task.least_gain:.3g} is asked for)",
            p,
        )
    return "learned", f"the dense agents gained {gain:.4g} over untrained ones (p = {p:.2g})", p


def _compare(task: TaskToJudge, state: TaskState, why: str, arm: ArmScores, rules: Verdict) -> Judged:
    """One arm against dense and its control, nothing decided yet."""
    run = task.runs[arm.arm][0]
    kind = kind_of(run)
    is_ticket = kind == "ticket"
    control = random_control_of(run, task.runs, task.counts) if is_ticket else None
    dense, beside = _dense(task), task.scores.arm(control) if control else None
    # What is not judged needs no other measure than its score.
    measure: Measure = "area" if is_ticket and _tied_at_ceiling(task.scores, arm, dense, rules) else "score"
    # Without a gain there is nothing to measure differences by.
    if task.scores.gain is None or (measure == "score" and not arm.normalised):
        dense = replace(dense, scores={}, areas={})
    against_dense = _paired(task.scores, arm, dense, dense, measure)
    against_control = _paired(task.scores, arm, beside, dense, measure) if beside is not None else None
    told = [_contrast(of, rules) for of in (against_dense, against_control)]
    verdict = ArmVerdict(
        task=task.scores.task,
        arm=arm.arm,
        control=control,
        measure=measure,
        decision=None,
        why=why,
        against_dense=told[0],
        against_control=told[1],
        p={},
        adjusted={},
        further_seeds=None,
        kind=kind,
    )
    opened = Judged(verdict, against_dense, against_control)
    if not is_ticket:
        it_is = "a control" if kind == "control" else "no ticket of rewound weights"
        return replace(opened, verdict=replace(verdict, why=f"{it_is}: compared, not judged"))
    if state != "learned":
        return replace(opened, verdict=replace(verdict, why=_NOT_JUDGED[state]))
    if (lacking := _lacking(against_dense, task.scores, arm, dense, measure, rules)) is not None:
        return replace(opened, verdict=replace(verdict, why=lacking))
    assert told[0] is not None
    # Claims about a control need as many seeds with one.
    enough = against_control is not None and len(against_control.seeds) >= rules.least_seeds
    return replace(opened, verdict=replace(verdict, p=claims(told[0], told[1] if enough else None)))


def _tied_at_ceiling(scores: TaskScores, arm: ArmScores, dense: ArmScores, rules: Verdict) -> bool:
    """Whether every run of both arms is as good as the best run of the task, but for a small share of the gain."""
    if scores.gain is None or not arm.scores or not dense.scores:
        return False
    best = max(score for of in scores.arms for score in of.scores.values())
    return min(*arm.scores.values(), *dense.scores.values()) >= best - rules.saturated_within * scores.gain


def _paired(scores: TaskScores, arm: ArmScores, other: ArmScores, dense: ArmScores, measure: Measure) -> Paired | None:
    ours, theirs, tops = ((of.areas if measure == "area" else of.scores) for of in (arm, other, dense))
    return paired(other.arm, ours, theirs, tops, scores.zero)


def _contrast(of: Paired | None, rules: Verdict) -> Contrast | None:
    return None if of is None else contrast(of, rules.margin, rules.level)


def _lacking(
    of: Paired | None, scores: TaskScores, arm: ArmScores, dense: ArmScores, measure: Measure, rules: Verdict
) -> str | None:
    """What keeps a ticket of a learned task from being judged."""
    if of is None and measure == "area" and not arm.areas:
        return "scores are tied at the ceiling, and there is no area under the curve of runs that begin late"
    if of is None and measure == "area" and arm.areas.keys() & dense.areas.keys() & scores.starts.keys():
        return "scores are tied at the ceiling, and the dense agents' curves lie below the untrained policy on average"
    have = 0 if of is None else len(of.seeds)
    if have < rules.least_seeds:
        return f"{have} of {rules.least_seeds} seeds that the verdict asks for: nothing is decided"
    return None


def _decided(opened: Sequence[Judged], rules: Verdict) -> list[Judged]:
    """Holm's correction of each claim over all arms and tasks it is made of, and the decision."""
    adjusted = corrected([item.verdict.p for item in opened])
    family = sum(bool(item.verdict.p) for item in opened)
    return [_decide(item, claims, family, rules) for item, claims in zip(opened, adjusted, strict=True)]


def _decide(item: Judged, adjusted: Mapping[Claim, float], family: int, rules: Verdict) -> Judged:
    verdict = item.verdict
    if not verdict.p:
        return item
    decision = decision_of(adjusted, rules)
    further = _further_seeds(item, rules.level / family, rules) if decision == "undecided" else None
    why = reason(decision, verdict.p, verdict.control, verdict.against_control, further, rules)
    return replace(
        item,
        verdict=replace(verdict, adjusted=adjusted, decision=decision, why=why, further_seeds=further),
    )


def _further_seeds(item: Judged, level: float, rules: Verdict) -> int | None:
    """The fewest further seeds with which one of the claims would be shown with 80 % power, as it looks now."""
    dense, control = item.dense, item.control
    assert dense is not None
    n = len(dense.seeds)

    def needed(values: np.ndarray, power: float) -> float:
        found = seeds_needed(float(values.mean()), float(values.std(ddof=1)), n, level=level, power=power)
        return math.inf if found is None else found

    totals = [needed(-dense.beyond(-rules.margin), POWER)]
    if control is not None and len(control.seeds) >= 2:
        differences, each = control.beyond(0.0), (1 + POWER) / 2  # of two tests: both fail with 1 - POWER at most
        not_worse = needed(dense.beyond(-rules.margin), each)
        same = seeds_needed_equal(
            float(differences.mean()), float(differences.std(ddof=1)), rules.margin, n, level=level, power=each
        )
        totals += [max(not_worse, needed(differences, each)), max(not_worse, math.inf if same is None else same)]
    fewest = min(totals)
    return None if math.isinf(fewest) else int(fewest) - n
