"""The tables of verdicts: on each task, over tasks, at a glance, and of gradient against magnitude."""

import statistics
from collections import Counter
from collections.abc import Mapping
from typing import Any

from rlottery.analysis.digits import MINUS
from rlottery.analysis.power import MOST_MORE_SEEDS
from rlottery.analysis.splits import Split, is_uniform
from rlottery.analysis.verdict import ArmVerdict, Claim, Contrast, MethodContrast, PooledVerdict
from rlottery.report.arm_styles import Look
from rlottery.report.contents import Contents
from rlottery.report.panels import sparsity_groups
from rlottery.report.tables import (
    NOTHING,
    Bounded,
    Cell,
    Column,
    Table,
    difference,
    make_table,
    normalised,
    number,
    p_value,
    text,
)
from rlottery.report.wording import interval_name, joined, plural, sparsity_text

_NOWHERE: Bounded = (None, None, None)


def verdict_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """A row for every arm and task but the dense arm. Controls are compared, but not judged."""
    interval = interval_name(contents.rules.level)
    sparsities = _nominal_sparsities(looks)
    columns = (
        text("Arm", "arm", lambda arm: arm.arm),
        text("Task", "task", lambda arm: arm.task),
        text("Kind", "kind", lambda arm: _family(arm.arm, looks)),
        sparsity_column(looks),
        decision_column(),
        text("Measure", "measure", lambda arm: arm.measure),
        normalised(f"Normalised [{interval}]", "normalised", lambda arm: _bounds(arm.against_dense)),
        difference(f"Over random [{interval}]", "over_control", lambda arm: _bounds(arm.against_control)),
        *_claim_columns(),
        p_value("Sign-flip p", "p_sign_flip", _sign_flip_p),
        Column("n", _seeds, numeric=True),
        Column("More seeds", _more_seeds, numeric=True),
        text("Why", "why", lambda arm: arm.why),
    )
    caption = (
        "Verdicts on each task. Measure: what is compared, the score or, where scores are tied at the maximum, the "
        "area under the learning curve. Normalised: the normalised score of the arm by this measure, where 0 is "
        f"untrained and 1 is dense: mean over the n seeds that both arms have, with its {interval} from two one-sided "
        "tests. Over random: the difference to the random control with the same counts in every layer, with the same "
        "kind of interval. p (one-sided t-test), its Holm correction over arms and tasks, and the sign-flip p belong "
        "to the claim that is decided or, if none is, to the one with the smallest p. n: seeds that have both arm and "
        "dense; after a slash, seeds that have both arm and random control, if that is another number. More seeds: "
        "how many would give 80 % power to decide, at current estimates."
    )
    return make_table(
        "verdicts",
        caption,
        columns,
        (arm for task in contents.verdicts.tasks for arm in task.arms),
        tags=lambda arm: {
            "task": arm.task,
            "kind": _family(arm.arm, looks),
            "sparsity": sparsities.get(arm.arm, ""),
            "decision": _decision(arm),
        },
    )


def pooled_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """A row for every ticket, over all tasks that the dense agents learned."""
    interval = interval_name(contents.rules.level)
    columns: tuple[Column[PooledVerdict], ...] = (
        text("Arm", "arm", lambda arm: arm.arm),
        sparsity_column(looks),
        decision_column(),
        Column("Measure", _measures),
        normalised(f"Normalised [{interval}]", "normalised", lambda arm: (arm.difference, arm.low, arm.high)),
        difference(f"Over random [{interval}]", "over_control", lambda arm: arm.over_control or _NOWHERE),
        *_claim_columns(),
        number("Tasks", "tasks", lambda arm: len(arm.tasks)),
        text("Why", "why", lambda arm: f"{arm.why}; without {joined(arm.left_out)}" if arm.left_out else arm.why),
    )
    caption = (
        f"Verdicts over tasks. Normalised: the mean over tasks of the normalised score, with its {interval} from two "
        "one-sided tests. Measure: what it is computed from; where both are named, from scores on some tasks and from "
        "areas under the learning curve on the others, where scores are tied at the maximum. p (one-sided t-test) and "
        "its Holm correction over arms belong to the claim that is decided or, if none is, to the one with the "
        "smallest p."
    )
    return make_table("verdicts_over_tasks", caption, columns, contents.verdicts.pooled)


def glance_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """Tickets by tasks, with the decision in each cell."""
    tasks = contents.verdicts.tasks
    decided = {(task.task, arm.arm): arm.decision for task in tasks for arm in task.arms}
    pooled = {arm.arm: arm.decision for arm in contents.verdicts.pooled}
    judged = {arm for (_, arm), decision in decided.items() if decision} | {arm for arm, d in pooled.items() if d}
    names = [arm for arm in looks if arm in judged] + sorted(judged - looks.keys())

    def decisions(title: str, where: str, task: str | None) -> Column[str]:
        def cell(arm: str) -> Cell:
            decision = pooled.get(arm) if task is None else decided.get((task, arm))
            return Cell(decision or NOTHING, {where: decision}, mark=decision or "")

        return Column(title, cell)

    columns: list[Column[str]] = [
        text("Ticket", "arm", lambda arm: arm),
        Column("Sparsity", lambda arm: sparsity_cell(looks.get(arm)), numeric=True),
        *([decisions("All tasks", "all tasks", None)] if pooled else []),
        *(decisions(task.task, task.task, task.task) for task in tasks),
    ]
    return make_table("decisions", "The decision on each kind of ticket.", columns, names)


def method_table(contents: Contents) -> Table:
    """Gradient minus magnitude at each sparsity, by task and over all tasks."""
    interval = interval_name(contents.rules.level)
    columns: tuple[Column[MethodContrast], ...] = (
        text("Task", "task", lambda row: row.task or "all tasks"),
        text("Gradient", "gradient", lambda row: row.gradient),
        text("Magnitude", "magnitude", lambda row: row.magnitude),
        Column("Sparsity", lambda row: split_cell(row.sparsity), numeric=True),
        text("Measure", "measure", lambda row: row.measure),
        difference(f"Difference [{interval}]", "difference", lambda row: (row.difference, row.low, row.high)),
        p_value("p", "p", lambda row: row.p),
        p_value("Holm p", "p_holm", lambda row: row.adjusted),
        number("n", "n", lambda row: row.n),
    )
    caption = (
        f"Gradient {MINUS} magnitude in normalised score, or in normalised area under the learning curve, with its "
        f"{interval}; two-sided p, and its Holm correction over the sparsities of a task."
    )
    return make_table("gradient_against_magnitude", caption, columns, contents.verdicts.methods)


def sparsity_column(looks: Mapping[str, Look]) -> Column[Any]:
    """The sparsity of the arm that a row is about."""
    return Column("Sparsity", lambda row: sparsity_cell(looks.get(getattr(row, "arm", ""))), numeric=True)


def sparsity_cell(look: Look | None) -> Cell:
    return split_cell(look.split if look else {})


def split_cell(split: Split) -> Cell:
    """``90 %``, or ``90 / 50 %``; in CSV also the share of each group, and no common one where they differ."""
    common = statistics.fmean(split.values()) if split and is_uniform(split) else None
    values = {"sparsity": common} | {f"sparsity_{group}": share for group, share in split.items()}
    return Cell(sparsity_text(split) if split else NOTHING, values)


def decision_column() -> Column[Any]:
    """The decision on a ticket, with its symbol."""

    def cell(arm: ArmVerdict | PooledVerdict) -> Cell:
        return Cell(_decision(arm), {"decision": arm.decision}, mark=_decision(arm))

    return Column("Decision", cell, wraps=True)


def _decision(arm: ArmVerdict | PooledVerdict) -> str:
    return arm.decision or "not judged"


def _claim_columns() -> tuple[Column[Any], ...]:
    """The claim that is decided, else the one with the smallest p, and its p-values."""
    return (
        text("Claim", "claim", _claim),
        p_value("p", "p", lambda arm: arm.p.get(_claim(arm))),
        p_value("Holm p", "p_holm", lambda arm: arm.adjusted.get(_claim(arm))),
    )


def _claim(arm: ArmVerdict | PooledVerdict) -> Claim | None:
    for claim in arm.adjusted:
        if claim == arm.decision:
            return claim
    return min(arm.adjusted, key=lambda claim: arm.adjusted[claim], default=None)


def _sign_flip_p(arm: ArmVerdict) -> float | None:
    """The sign-flip p-value of the claim. A claim with two parts holds if both do, so the larger p-value counts."""
    dense, control = arm.against_dense, arm.against_control
    parts: dict[Claim | None, list[tuple[Contrast | None, str]]] = {
        "winning": [(dense, "non_inferior"), (control, "superior")],
        "matches dense, no better than random": [(dense, "non_inferior"), (control, "equivalent")],
        "losing": [(dense, "inferior")],
    }
    found = [contrast.sign_flip.get(name) if contrast else None for contrast, name in parts.get(_claim(arm), ())]
    return max((p for p in found if p is not None), default=None) if None not in found else None


def _bounds(contrast: Contrast | None) -> Bounded:
    return _NOWHERE if contrast is None else (contrast.difference, contrast.low, contrast.high)


def _seeds(arm: ArmVerdict) -> Cell:
    """How many seeds the difference to dense is over; and the difference to the control, if that is another number."""
    n = len(arm.against_dense.differences) if arm.against_dense else None
    over = len(arm.against_control.differences) if arm.against_control else None
    shown = NOTHING if n is None else str(n)
    return Cell(shown if over in (n, None) else f"{shown} / {over}", {"n": n, "n_over_control": over})


def _measures(arm: PooledVerdict) -> Cell:
    tasks = Counter(arm.measures[task] for task in arm.tasks if task in arm.measures)
    by_score, by_area = tasks["score"], tasks["area"]
    values = {"measure": " and ".join(sorted(tasks, reverse=True)) or None}
    shown = f"score and area ({by_score} and {plural(by_area, 'task')})" if by_score and by_area else values["measure"]
    return Cell(shown or NOTHING, {**values, "tasks_by_score": by_score, "tasks_by_area": by_area})


def _more_seeds(arm: ArmVerdict) -> Cell:
    """Sorted by the smallest possible number: more than 100 comes after every number that is known."""
    if arm.decision != "undecided":
        return Cell(NOTHING, {"more_seeds_at_least": None, "more_seeds": None})
    if arm.more_seeds is None:
        return Cell(f"over {MOST_MORE_SEEDS}", {"more_seeds_at_least": MOST_MORE_SEEDS + 1, "more_seeds": None})
    return Cell(str(arm.more_seeds), {"more_seeds_at_least": arm.more_seeds, "more_seeds": arm.more_seeds})


def _family(arm: str, looks: Mapping[str, Look]) -> str:
    return looks[arm].family if arm in looks else ""


def _nominal_sparsities(looks: Mapping[str, Look]) -> dict[str, str]:
    """Arm -> its sparsity as a filter names it: arms that nearly have the same sparsity share a name."""
    return {arm: title for title, arms in sparsity_groups(looks.values()) for arm in arms}
