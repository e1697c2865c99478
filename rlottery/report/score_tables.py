"""The tables of scores: of every arm on each task, of every run, over tasks; and of costs."""

import json
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rlottery.analysis.across_tasks import AcrossTasks
from rlottery.analysis.costs import ArmCost, run_seconds
from rlottery.analysis.digits import Digits
from rlottery.analysis.runs import Metric, Run
from rlottery.analysis.scores import ArmScores, TaskScores
from rlottery.config import file_name
from rlottery.report.arm_styles import Look
from rlottery.report.contents import Contents
from rlottery.report.tables import Cell, Column, Table, estimate, make_table, number, text
from rlottery.report.task_sentences import score_digits, score_text, untrained_text
from rlottery.report.verdict_tables import sparsity_cell, sparsity_column, split_cell
from rlottery.report.wording import (
    BOOTSTRAP,
    METRIC_NAMES,
    METRIC_TITLES,
    NOTHING,
    last_evaluations,
    plural,
)
from rlottery.storage.paths import DENSE

NORMALISED = "Normalised"
"""The title of the column of normalised scores."""


@dataclass(frozen=True)
class _ArmRow:
    """One arm of one task.

    Attributes:
        scores: None while it has none.
        representative: a run that shows what kind of arm it is.
        form: of the task's scores.
    """

    task: TaskScores
    arm: str
    scores: ArmScores | None
    runs: Mapping[int, Run]
    representative: Run
    form: Digits

    @property
    def values(self) -> Mapping[int, float]:
        return self.scores.scores if self.scores else {}

    @property
    def normalised(self) -> Mapping[int, float]:
        return self.scores.normalised if self.scores else {}

    def status(self, seed: int) -> str:
        return self.runs[seed].status if seed in self.runs else "missing"

    @property
    def done(self) -> list[float]:
        """Scores of the runs that are done."""
        return [score for seed, score in self.values.items() if self.runs[seed].status == "done"]


_MOST_NAMED_SEEDS = 3
"""With more seeds, the column of single scores doesn't name them."""

_RunRow = tuple[_ArmRow, int]
"""An arm and a seed."""


def closing_table(contents: Contents, task: TaskScores) -> Table:
    """Every arm of one task, on few columns: for terminals, Markdown and notebooks."""
    form = score_digits(task)
    named = len(contents.seeds) <= _MOST_NAMED_SEEDS
    each = f"Seed {', '.join(map(str, contents.seeds))}" if named else "Each seed"
    columns: tuple[Column[_ArmRow], ...] = (
        _arm_column(),
        Column("Sparsity", _sparsity_of_groups, numeric=True, expendable=3 if named else 4),
        number(METRIC_TITLES[task.metric], "mean", lambda row: row.scores.mean.value if row.scores else None, form),
        Column("Min to max", _range, numeric=True, expendable=1 if named else 2),
        Column(
            each,
            lambda row: _each_seed(row, contents.seeds),
            wraps=True,
            least=0 if named else 24,
            expendable=0 if named else 1,
        ),
        _normalised_column(),
        Column("Runs", lambda row: _runs_done(row, contents.seeds), numeric=True, expendable=2 if named else 3),
    )
    return make_table(
        f"closing_{file_name(task.task)}", "", columns, _arm_rows(task), strong=lambda row: row.arm == DENSE
    )


def score_table(contents: Contents, task: TaskScores, looks: Mapping[str, Look]) -> Table:
    """Every arm of one task: mean, median and IQM, normalised score, area, steps to the threshold, and every seed."""
    form = score_digits(task)
    seeds = sorted({seed for arm in task.arms for seed in arm.scores} | set(contents.seeds))
    columns: list[Column[_ArmRow]] = [
        _arm_column(),
        Column("Sparsity", lambda row: sparsity_cell(looks.get(row.arm)), numeric=True),
        number("Before", "before", lambda row: _mean_of(row.scores.before if row.scores else {}), form),
        estimate("Mean", "mean", lambda row: row.scores.mean if row.scores else None, form),
        estimate("Median", "median", lambda row: row.scores.median if row.scores else None, form),
        estimate("IQM", "iqm", lambda row: row.scores.iqm if row.scores else None, form),
        _normalised_column(),
        number("Area", "area", lambda row: _mean_of(row.scores.areas if row.scores else {}), form),
        Column("Steps to threshold", lambda row: _steps(row.scores), numeric=True),
        number("n", "n", lambda row: len(row.values)),
        *(_seed_column(seed, form) for seed in seeds),
    ]
    unit: dict[Metric, str] = {"success": ", from 0 to 1", "return": " of an episode"}
    measured = contents.metric_text(task) + unit[task.metric]
    untrained = "" if task.untrained is None else f" Untrained: {untrained_text(task)}."
    caption = (
        f"{task.task}: {measured}, {last_evaluations(contents.score_evaluations)} of each run. Mean, median "
        f"and IQM are over n seeds; in brackets the {BOOTSTRAP}. Normalised: the mean of the normalised scores. "
        f"Before: mean before training. Area: mean {METRIC_NAMES[task.metric]} over all of training.{untrained}"
        f"{_threshold_sentence(task)}"
    )
    return make_table(f"scores_{file_name(task.task)}", caption, columns, _arm_rows(task))


def run_table(contents: Contents) -> Table:
    """Every run that the settings ask for, of the arms that exist."""
    rows = [(row, seed) for task in contents.scores for row in _arm_rows(task) for seed in contents.seeds]
    groups = dict.fromkeys(group for task in contents.scores for run in task.every_run for group in run.sparsity or {})
    columns: tuple[Column[_RunRow], ...] = (
        text("Task", "task", lambda run: run[0].task.task),
        text("Arm", "arm", lambda run: run[0].arm),
        text("Criterion", "criterion", lambda run: run[0].representative.criterion),
        *map(_group_column, groups),
        number("Seed", "seed", lambda run: run[1]),
        text("Status", "status", lambda run: run[0].status(run[1])),
        text("Metric", "metric", lambda run: run[0].task.metric),
        _run_column("Score", "score", lambda arm: arm.scores),
        _run_column("Before", "untrained", lambda arm: arm.before),
        _run_column("Area", "area", lambda arm: arm.areas),
        number("Normalised", "normalised_score", lambda run: run[0].normalised.get(run[1]), ".2f"),
        number("From the start", "from_start", _from_start_of_run, ".2f"),
        number("Steps to threshold", "steps_to_threshold", _steps_of_run, ",d"),
        number("Seconds", "seconds", lambda run: run_seconds(of) if (of := run[0].runs.get(run[1])) else None, ",.0f"),
        text("Recipe", "recipe", lambda run: json.dumps(dict(of)) if (of := run[0].representative.recipe) else None),
    )
    caption = (
        "Every run with its score, score before training, area and normalised score. From the start: the normalised "
        "score with a zero where pruned agents start. Recipe: what the config says about the arm in addition to "
        "criterion and sparsity, as JSON."
    )
    return make_table("runs", caption, columns, rows)


def untrained_table(contents: Contents) -> Table:
    """Every untrained policy whose mean score is the zero of the normalised score."""
    rows = [(task, *row) for task in contents.scores for row in enumerate(task.untrained_sample)]
    columns: tuple[Column[tuple[TaskScores, int, float]], ...] = (
        text("Task", "task", lambda row: row[0].task),
        text("Policies", "policies", lambda row: _policies(row[0])),
        number("Number", "number", lambda row: row[1]),
        text("Metric", "metric", lambda row: row[0].metric),
        Column("Score", lambda row: Cell(score_digits(row[0])(row[2]), {"score": row[2]}), numeric=True),
    )
    return make_table("untrained", "The untrained policies: their mean is 0 in normalised scores.", columns, rows)


def _policies(task: TaskScores) -> str:
    if task.fresh:
        return "fresh"
    return "first evaluations of dense agents" if task.by_first else "dense agents before training"


def across_table(across: Sequence[AcrossTasks], looks: Mapping[str, Look]) -> Table:
    """Every arm over the tasks that the dense agents learned."""
    columns: tuple[Column[AcrossTasks], ...] = (
        text("Arm", "arm", lambda arm: arm.arm),
        sparsity_column(looks),
        estimate("IQM", "iqm", lambda arm: arm.iqm, Digits(2)),
        estimate("Mean", "mean", lambda arm: arm.mean, Digits(2)),
        estimate("Median", "median", lambda arm: arm.median, Digits(2)),
        estimate("P(above dense)", "over_dense", lambda arm: arm.over_dense, Digits(2)),
        estimate("P(above random)", "over_control", lambda arm: arm.over_control, Digits(2)),
        number("Tasks", "tasks", lambda arm: len(arm.tasks)),
        number("Runs", "runs", lambda arm: arm.runs),
    )
    caption = (
        "Over tasks: normalised scores (IQM over runs, mean and median over tasks), and the probability that a run "
        "scores higher than a dense run, and than a run of its random control (ties count half). In brackets the "
        f"{BOOTSTRAP}."
    )
    return make_table("across_tasks", caption, columns, across)


def cost_table(contents: Contents, looks: Mapping[str, Look]) -> Table:
    """Wall-clock time and floating-point operations of every arm on every task."""
    columns: tuple[Column[ArmCost], ...] = (
        text("Arm", "arm", lambda cost: cost.arm),
        text("Task", "task", lambda cost: cost.task),
        sparsity_column(looks),
        number("Seconds", "seconds", lambda cost: cost.seconds, ",.0f"),
        number("Relative to dense", "of_dense", lambda cost: cost.of_dense, ".2f"),
        Column("FLOP", lambda cost: Cell(_flops(cost.flops), {"flops": cost.flops}), numeric=True),
        number("Runs", "runs", lambda cost: cost.runs),
    )
    caption = (
        "Cost of a run: wall-clock seconds, mean over the runs that are done; the same relative to dense runs (smaller "
        "is cheaper); and the floating-point operations of all its updates, counted at its final sparsity. The earlier "
        "rounds of an iterative ticket are included. The time to make masks is not."
    )
    return make_table("cost", caption, columns, contents.costs)


def _arm_rows(task: TaskScores) -> list[_ArmRow]:
    form = score_digits(task)
    return [
        _ArmRow(task, arm, task.arm(arm), {run.seed: run for run in runs}, task.representative(arm), form)
        for arm, runs in task.runs.items()
    ]


def _arm_column() -> Column[_ArmRow]:
    return Column("Arm", lambda row: Cell(row.arm, {"arm": row.arm, "task": row.task.task}))


def _normalised_column() -> Column[_ArmRow]:
    return number(
        NORMALISED, "normalised_score", lambda row: row.scores.normalised_score if row.scores else None, ".2f"
    )


def _run_column(title: str, name: str, of: Callable[[ArmScores], Mapping[int, float]]) -> Column[_RunRow]:
    """A column of numbers in the unit of the task's metric."""

    def cell(run: _RunRow) -> Cell:
        value = of(run[0].scores).get(run[1]) if run[0].scores else None
        return Cell(NOTHING if value is None else run[0].form(value), {name: value})

    return Column(title, cell, numeric=True)


def _from_start_of_run(run: _RunRow) -> float | None:
    return run[0].scores.from_start.get(run[1]) if run[0].scores else None


def _steps_of_run(run: _RunRow) -> int | None:
    return run[0].scores.steps.get(run[1]) if run[0].scores else None


def _seed_column(seed: int, form: Digits) -> Column[_ArmRow]:
    return number(f"Seed {seed}", f"seed_{seed}", lambda row: row.values.get(seed), form)


def _group_column(group: str) -> Column[_RunRow]:
    def sparsity(run: _RunRow) -> float | None:
        return (run[0].representative.sparsity or {}).get(group)

    return number(f"Sparsity, {group}", f"sparsity_{group}", sparsity, ".4g")


def _mean_of(values: Mapping[int, float]) -> float | None:
    return statistics.fmean(values.values()) if values else None


def _sparsity_of_groups(row: _ArmRow) -> Cell:
    return split_cell(row.task.split(row.arm))


def _range(row: _ArmRow) -> Cell:
    low, high = min(row.values.values(), default=None), max(row.values.values(), default=None)
    several = len(row.done) > 1 and low is not None and high is not None
    shown = f"{row.form(low)} to {row.form(high)}" if several else NOTHING  # type: ignore[arg-type]
    return Cell(shown, {"lowest": low, "highest": high})


def _each_seed(row: _ArmRow, seeds: Sequence[int]) -> Cell:
    """The score of every seed that the config asks for, or how its run ended; of many seeds, how many are missing."""
    shown = [row.form(row.values[seed]) if row.status(seed) == "done" else row.status(seed) for seed in seeds]
    if len(seeds) > _MOST_NAMED_SEEDS and (missing := shown.count("missing")) > 1:
        shown = [*(text for text in shown if text != "missing"), f"{missing} missing"]
    return Cell(", ".join(shown), {f"seed_{seed}": row.values.get(seed) for seed in seeds})


def _runs_done(row: _ArmRow, seeds: Sequence[int]) -> Cell:
    return Cell(f"{len(row.done)}/{len(seeds)}", {"done": len(row.done)})


def _reached(arm: ArmScores) -> list[int]:
    return [steps for steps in arm.steps.values() if steps is not None]


def _steps(arm: ArmScores | None) -> Cell:
    """Median of the runs that reached the threshold, and how many did."""
    if arm is None or not arm.steps:
        return Cell(NOTHING, {"steps_to_threshold": None, "reached_threshold": None})
    reached = _reached(arm)
    median = statistics.median(reached) if reached else None
    shown = NOTHING if median is None else f"{median:,.0f}"
    values = {"steps_to_threshold": median, "reached_threshold": len(reached)}
    return Cell(f"{shown} ({len(reached)}/{len(arm.steps)})", values)


def _threshold_sentence(task: TaskScores) -> str:
    if task.threshold is None:
        return ""
    reached, runs = sum(len(_reached(arm)) for arm in task.arms), sum(len(arm.steps) for arm in task.arms)
    return (
        " Steps to threshold: median over runs of the steps to the first evaluation of "
        f"{score_text(task, task.threshold)} or more. {reached} of {plural(runs, 'run')} reached it; the others are "
        "not in the median (in brackets: how many of the arm's runs reached it)."
    )


def _flops(flops: float | None) -> str:
    if flops is None:
        return NOTHING
    for size, unit in ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M")):
        if flops >= size:
            return f"{flops / size:.3g} {unit}"
    return f"{flops:.3g}"
