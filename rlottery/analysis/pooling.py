"""Verdicts over tasks, from the mean over tasks of a ticket's normalised differences."""

from collections.abc import Mapping, Sequence

from rlottery.analysis.contrasts import Pooled, pooled
from rlottery.analysis.decisions import Judged, claims, corrected, decision_of, reason
from rlottery.analysis.verdict import Claim, PooledVerdict, TaskVerdict
from rlottery.config import Verdict


def pool(tasks: Sequence[TaskVerdict], judged: Sequence[Judged], rules: Verdict) -> tuple[PooledVerdict, ...]:
    """The verdict on every kind of ticket, over the tasks on which it could be judged."""
    names = dict.fromkeys(item.verdict.arm for item in judged if item.is_ticket)
    pools = []
    for name in names:
        of = {item.verdict.task: item for item in judged if item.verdict.arm == name and item.is_ticket}
        left_out = {
            task.task: of[task.task].verdict.why if task.task in of else "it has no finished run there"
            for task in tasks
            if task.task not in of or not of[task.task].verdict.p
        }
        pools.append((name, {task: item for task, item in of.items() if task not in left_out}, left_out))
    found = [_pooled(used, rules) for _, used, _ in pools]
    p: list[dict[Claim, float]] = [{} if dense is None else claims(dense, control) for dense, control in found]
    adjusted = corrected(p)
    verdicts = []
    for (name, used, left_out), (dense, control), p_values, corrected_p in zip(pools, found, p, adjusted, strict=True):
        difference, low, high = (None, None, None) if dense is None else _with_bounds(dense)
        verdicts.append(
            PooledVerdict(
                arm=name,
                tasks=tuple(used),
                left_out=left_out,
                measures={task: item.verdict.measure for task, item in used.items()},
                decision=decision_of(corrected_p, rules) if p_values else None,
                why=_pooled_why(p_values, corrected_p, used, rules),
                difference=difference,
                low=low,
                high=high,
                over_control=None if control is None else _with_bounds(control),
                p=p_values,
                adjusted=corrected_p,
            )
        )
    return tuple(verdicts)


def _pooled(used: Mapping[str, Judged], rules: Verdict) -> tuple[Pooled | None, Pooled | None]:
    """Against dense, and against the controls if every task has one with enough seeds."""
    dense = [item.dense for item in used.values() if item.dense is not None]
    control = [item.control for item in used.values() if item.control is not None and "winning" in item.verdict.p]
    return (
        pooled(dense, rules.margin, rules.level) if dense else None,
        pooled(control, rules.margin, rules.level) if control and len(control) == len(dense) else None,
    )


def _pooled_why(
    p: Mapping[Claim, float], adjusted: Mapping[Claim, float], used: Mapping[str, Judged], rules: Verdict
) -> str:
    if not p:
        return "there is no task on which it could be judged"
    decision = decision_of(adjusted, rules)
    control = next((item.verdict.control for item in used.values()), None)
    over = "1 task" if len(used) == 1 else f"{len(used)} tasks"
    return f"over {over}: {reason(decision, p, control, None, None, rules)}"


def _with_bounds(of: Pooled) -> tuple[float, float | None, float | None]:
    return of.difference, of.low, of.high
