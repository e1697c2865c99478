"""The tables of contrasts: those that the config registers and the defaults, and gradient against magnitude."""

from rlottery.analysis.digits import MINUS
from rlottery.analysis.verdict import ContrastResult, MethodContrast
from rlottery.report.answer_tables import ALL_TASKS
from rlottery.report.contents import Contents
from rlottery.report.contrast_sentences import outcome, registered
from rlottery.report.tables import (
    Cell,
    Column,
    Table,
    difference,
    make_table,
    number,
    p_value,
    raw_difference,
    text,
)
from rlottery.report.verdict_tables import median_column, split_cell
from rlottery.report.wording import NOTHING, interval_name


def contrast_table(contents: Contents) -> Table:
    """A row for every contrast, on each task and over tasks."""
    interval = interval_name(contents.rules.level)
    metrics = {task.task: task.metric for task in contents.scores}
    columns: tuple[Column[ContrastResult], ...] = (
        text("Contrast", "contrast", lambda row: row.text),
        text("Task", "task", lambda row: row.task or ALL_TASKS),
        Column("Outcome", lambda row: Cell(outcome(row), {"outcome": row.outcome, "why": row.why}), wraps=True),
        raw_difference(
            f"Difference [{interval}]",
            "difference",
            lambda row: row,
            lambda row: metrics.get(row.task or "", "return"),
        ),
        difference(
            f"Normalised difference [{interval}]", "normalised", lambda row: (row.difference, row.low, row.high)
        ),
        median_column("Median", "median", lambda row: row.median),
        p_value("p", "p", lambda row: row.p),
        p_value("Holm p", "p_holm", lambda row: row.adjusted),
        Column("Runs", _runs, numeric=True),
        Column("Sides", lambda row: Cell("two" if row.two_sided else "one", {"two_sided": row.two_sided})),
        text("Measure", "measure", lambda row: row.measure),
        Column("Registered", lambda row: Cell(registered(row, contents), _claim_values(row, contents)), wraps=True),
        text("Family", "family", lambda row: row.origin),
    )
    caption = (
        "Contrasts: arms against arms, those that the config registers first. Difference: in the unit of the score, "
        f"and normalised, with its {interval}; over tasks, the mean and the median of the normalised differences. p: "
        "Welch's test, one-sided or two-sided as the contrast is. Holm p: corrected over the contrasts of its family "
        "and all tasks; over tasks, over the contrasts of the family. Runs: the fewest and the most of its arms. "
        "Registered: how many runs had ended when the study's record first had the contrast."
    )
    return make_table("contrasts", caption, columns, contents.verdicts.contrasts)


def method_table(contents: Contents) -> Table:
    """Gradient minus magnitude at each sparsity, by task and over all tasks."""
    interval = interval_name(contents.rules.level)
    columns: tuple[Column[MethodContrast], ...] = (
        text("Task", "task", lambda row: row.task or ALL_TASKS),
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


def _runs(row: ContrastResult) -> Cell:
    """``8``, or ``5 to 8``."""
    low, high = min(row.runs.values(), default=None), max(row.runs.values(), default=None)
    shown = NOTHING if low is None else str(low) if low == high else f"{low} to {high}"
    return Cell(shown, {"runs_at_least": low, "runs_at_most": high})


def _claim_values(row: ContrastResult, contents: Contents) -> dict[str, int | None]:
    ended = contents.claims.get((row.text, row.measure)) if row.origin == "registered" else None
    return {"runs_ended_when_registered": ended}
