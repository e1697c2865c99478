"""From scores to verdicts: every ticket against the dense agents and its random control, by task and over tasks."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from rlottery.analysis.arrays import FloatArray
from rlottery.analysis.cautions import bimodal, head_start
from rlottery.analysis.contrasts import Paired, contrast, paired, pooled
from rlottery.analysis.decisions import claims, corrected, decision_of, reason
from rlottery.analysis.digits import number_formatter
from rlottery.analysis.hypothesis_tests import mean_and_sd
from rlottery.analysis.kinds import LayerCounts, kind_of, made_alike, random_control_of
from rlottery.analysis.learning import learning_test
from rlottery.analysis.power import seeds_needed, seeds_needed_equivalent
from rlottery.analysis.scores import ArmScores, Estimate, TaskScores
from rlottery.analysis.verdict import ArmVerdict, Measure, PooledVerdict, TaskState, TaskVerdict
from rlottery.config import Verdict
from rlottery.storage.paths import DENSE

_NOT_JUDGED: dict[TaskState, str] = {
    "did not learn": "dense agents can't be shown to have learned this task",
    "too few seeds": "too few seeds have a finished dense agent",
}

POWER = 0.8
"""The power that the suggested number of more seeds would have."""


@dataclass(frozen=True)
class TaskToJudge:
    """The scores of one task, and how many weights its masks keep.

    Attributes:
        counts: arm -> its layers, for the arms whose masks could be read.
    """

    scores: TaskScores
    counts: Mapping[str, LayerCounts]


@dataclass(frozen=True)
class _Judged:
    """The verdict on an arm, with the differences that pooling needs."""

    verdict: ArmVerdict
    dense: Paired | None
    control: Paired | None

    @property
    def is_ticket(self) -> bool:
        return self.verdict.kind == "ticket"


def controls_of(task: TaskToJudge) -> dict[str, str | None]:
    """Ticket -> its random control."""
    every = map(task.scores.representative, task.scores.runs)
    return {run.arm: random_control_of(run, task.scores.runs, task.counts) for run in every if kind_of(run) == "ticket"}


def judge(tasks: Sequence[TaskToJudge], rules: Verdict) -> tuple[tuple[TaskVerdict, ...], tuple[PooledVerdict, ...]]:
    """The verdicts on every task, and over tasks."""
    states = [_state(task.scores, rules) for task in tasks]
    compared = [
        [_compare(task, state, why, arm, rules) for arm in task.scores.arms if arm.arm != DENSE]
        for task, (state, why, _) in zip(tasks, states, strict=True)
    ]
    judged = _decided([item for of_task in compared for item in of_task], rules)
    tickets = [item for item in judged if item.is_ticket]
    verdicts = []
    for task, (state, why, p_learned) in zip(tasks, states, strict=True):
        name, learned = task.scores.task, state == "learned"
        of_task = [item.verdict for item in tickets if item.verdict.task == name]
        # Tickets and their random controls.
        pruned = {arm for verdict in of_task for arm in (verdict.arm, verdict.control) if arm}
        verdicts.append(
            TaskVerdict(
                task=name,
                state=state,
                why=why,
                seeds=tuple(_dense(task.scores).scores),
                p_learned=p_learned,
                arms=tuple(item.verdict for item in judged if item.verdict.task == name),
                bimodal=bimodal(task.scores, rules.margin) if learned else None,
                head_start=head_start(task.scores, pruned, rules.margin) if learned else None,
            )
        )
    alike = {arm: made_alike((task.scores for task in tasks), arm) for arm in {item.verdict.arm for item in tickets}}
    pooled_tasks = {arm: [scores.task for scores in of_arm] for arm, of_arm in alike.items()}
    return tuple(verdicts), _pool(verdicts, tickets, pooled_tasks, rules)


# ------------------------------------------------------------------------------------------ One task


def _dense(scores: TaskScores) -> ArmScores:
    """The dense arm; without scores if no dense agent is done."""
    nothing = Estimate(math.nan, None, None)
    return scores.arm(DENSE) or ArmScores(DENSE, {}, {}, {}, {}, nothing, nothing, nothing)


def _state(scores: TaskScores, rules: Verdict) -> tuple[TaskState, str, float | None]:
    seeds, p = learning_test(_dense(scores).scores, scores.starts, rules.level)
    if seeds < rules.least_seeds:
        have = "1 seed has" if seeds == 1 else f"{seeds} seeds have"
        return "too few seeds", f"only {have} a finished dense agent, and {rules.least_seeds} are needed", p
    dense, untrained = scores.dense or 0.0, scores.untrained or 0.0
    shown = number_formatter([dense, untrained])
    if scores.gain is None:
        return (
            "did not learn",
            f"dense agents can't be shown to have learned: their mean score is {shown(dense)}, and {shown(untrained)} "
            f"before training (one-sided p = {p:.2g}; the gain must also exceed {scores.least_gain:.3g})",
            p,
        )
    return "learned", f"training improved the dense agents by {dense - untrained:.4g} (one-sided p = {p:.2g})", p


def _compare(task: TaskToJudge, state: TaskState, why: str, arm: ArmScores, rules: Verdict) -> _Judged:
    """Compare one arm with dense and with its control, before any decision."""
    scores, run = task.scores, task.scores.representative(arm.arm)
    kind = kind_of(run)
    is_ticket = kind == "ticket"
    control = random_control_of(run, scores.runs, task.counts) if is_ticket else None
    dense, of_control = _dense(scores), scores.arm(control) if control else None
    # Arms that are not judged need no other measure than the score.
    measure: Measure = "area" if is_ticket and _tied_at_maximum(scores, arm, dense, rules) else "score"
    # Without a gain there is no scale for differences.
    if scores.gain is None or (measure == "score" and not arm.normalised):
        dense = replace(dense, scores={}, areas={})
    to_dense = _paired(scores, arm, dense, dense, measure)
    to_control = _paired(scores, arm, of_control, dense, measure) if of_control is not None else None
    against_dense, against_control = (
        None if of is None else contrast(of, rules.margin, rules.level) for of in (to_dense, to_control)
    )
    p = {}
    if not is_ticket:
        it_is = "a control" if kind == "control" else "not a ticket with rewound weights"
        why = f"{it_is}: compared, but not judged"
    elif state != "learned":
        why = _NOT_JUDGED[state]
    elif (lacking := _lacking(to_dense, scores, arm, dense, measure, rules)) is not None:
        why = lacking
    elif against_dense is not None:
        # Claims about the control need as many seeds that have one.
        enough = to_control is not None and len(to_control.seeds) >= rules.least_seeds
        p = claims(against_dense, against_control if enough else None)
    verdict = ArmVerdict(
        task=scores.task,
        arm=arm.arm,
        control=control,
        measure=measure,
        why=why,
        against_dense=against_dense,
        against_control=against_control,
        p=p,
        kind=kind,
    )
    return _Judged(verdict, to_dense, to_control)


def _tied_at_maximum(scores: TaskScores, arm: ArmScores, dense: ArmScores, rules: Verdict) -> bool:
    """Whether every run of both arms is as good as the best run of the task, up to a small share of the gain."""
    if scores.gain is None or not arm.scores or not dense.scores:
        return False
    best = max(score for of in scores.arms for score in of.scores.values())
    near = best - rules.saturated_within * scores.gain - scores.rounding
    return min(*arm.scores.values(), *dense.scores.values()) >= near


def _paired(scores: TaskScores, arm: ArmScores, other: ArmScores, dense: ArmScores, measure: Measure) -> Paired | None:
    ours, theirs, tops = ((of.areas if measure == "area" else of.scores) for of in (arm, other, dense))
    return paired(other.arm, ours, theirs, tops, scores.zero)


def _lacking(
    of: Paired | None, scores: TaskScores, arm: ArmScores, dense: ArmScores, measure: Measure, rules: Verdict
) -> str | None:
    """Why a ticket on a task that the dense agents learned can't be judged; None if it can."""
    if of is None and measure == "area" and not arm.areas:
        return "scores are tied at the maximum, and runs that start at a later step have no area under the curve"
    if of is None and measure == "area" and arm.areas.keys() & dense.areas.keys() & scores.starts.keys():
        return "scores are tied at the maximum, and the dense agents' mean score over training is below untrained"
    have = 0 if of is None else len(of.seeds)
    if have < rules.least_seeds:
        return f"it has {have} of {rules.least_seeds} seeds that are needed"
    return None


def _decided(compared: Sequence[_Judged], rules: Verdict) -> list[_Judged]:
    """Decide, after Holm's correction of each claim over all arms and tasks for which it can be tested."""
    family = sum(bool(item.verdict.p) for item in compared)
    decided = []
    for item, adjusted in zip(compared, corrected([item.verdict.p for item in compared]), strict=True):
        verdict = item.verdict
        if verdict.p:
            decision = decision_of(adjusted, rules)
            more = _more_seeds(item, rules.level / family, rules) if decision == "undecided" else None
            why = reason(decision, verdict.p, verdict.control, verdict.against_control, more, rules)
            verdict = replace(verdict, adjusted=adjusted, decision=decision, why=why, more_seeds=more)
        decided.append(replace(item, verdict=verdict))
    return decided


def _more_seeds(item: _Judged, level: float, rules: Verdict) -> int | None:
    """The smallest number of more seeds that gives 80 % power for one of the claims, at current estimates."""
    dense, control = item.dense, item.control
    assert dense is not None
    n = len(dense.seeds)

    def needed(of: Paired, differences: FloatArray, power: float) -> float:
        found = seeds_needed(*mean_and_sd(differences, of.rounding), n, level=level, power=power)
        return math.inf if found is None else found

    totals = [needed(dense, -dense.beyond(-rules.margin), POWER)]
    if control is not None and len(control.seeds) >= 2:
        differences, each = control.beyond(0.0), (1 + POWER) / 2  # of two tests: one of them fails with 1 - POWER
        non_inferior = needed(dense, dense.beyond(-rules.margin), each)
        equivalent = seeds_needed_equivalent(
            *mean_and_sd(differences, control.rounding), rules.margin, n, level=level, power=each
        )
        totals += [
            max(non_inferior, needed(control, differences, each)),
            max(non_inferior, math.inf if equivalent is None else equivalent),
        ]
    fewest = min(totals)
    return None if math.isinf(fewest) else int(fewest) - n


# ------------------------------------------------------------------------------------------ Over tasks


def _pool(
    tasks: Sequence[TaskVerdict], tickets: Sequence[_Judged], alike: Mapping[str, Sequence[str]], rules: Verdict
) -> tuple[PooledVerdict, ...]:
    """The verdict on every kind of ticket, over the tasks on which it could be judged.

    Args:
        alike: arm -> the tasks on which it has the same recipe.
    """
    by_arm: dict[str, dict[str, _Judged]] = {}
    for item in tickets:
        by_arm.setdefault(item.verdict.arm, {})[item.verdict.task] = item
    undecided = [_undecided(arm, of_task, tasks, alike[arm], rules) for arm, of_task in by_arm.items()]
    pools = []
    for verdict, adjusted in zip(undecided, corrected([verdict.p for verdict in undecided]), strict=True):
        if not verdict.p:
            pools.append(verdict)
            continue
        decision, control = decision_of(adjusted, rules), by_arm[verdict.arm][verdict.tasks[0]].verdict.control
        over = "1 task" if len(verdict.tasks) == 1 else f"{len(verdict.tasks)} tasks"
        why = f"over {over}: {reason(decision, verdict.p, control, None, None, rules)}"
        pools.append(replace(verdict, adjusted=adjusted, decision=decision, why=why))
    return tuple(pools)


def _undecided(
    arm: str, of_task: Mapping[str, _Judged], tasks: Sequence[TaskVerdict], alike: Sequence[str], rules: Verdict
) -> PooledVerdict:
    """The differences to dense; and to the controls, if every task has one with enough seeds."""
    left_out = {
        task.task: of_task[task.task].verdict.why if task.task in of_task else "it has no finished run there"
        for task in tasks
        if task.task not in of_task or not of_task[task.task].verdict.p
    }
    left_out |= {task: f"it has another recipe there than on {alike[0]}" for task in of_task if task not in alike}
    used = {task: item for task, item in of_task.items() if task not in left_out}
    dense = [item.dense for item in used.values() if item.dense is not None]
    control = [item.control for item in used.values() if item.control is not None and "winning" in item.verdict.p]
    to_dense = pooled(dense, rules.margin, rules.level) if dense else None
    to_control = pooled(control, rules.margin, rules.level) if control and len(control) == len(dense) else None
    return PooledVerdict(
        arm=arm,
        tasks=tuple(used),
        left_out=left_out,
        measures={task: item.verdict.measure for task, item in used.items()},
        why="there is no task on which it could be judged",
        difference=to_dense.difference if to_dense else None,
        low=to_dense.low if to_dense else None,
        high=to_dense.high if to_dense else None,
        over_control=(to_control.difference, to_control.low, to_control.high) if to_control else None,
        p=claims(to_dense, to_control) if to_dense else {},
    )
