"""The table of scores over all tasks, which terminals show where those of single tasks would not fit one screen."""

import textwrap

from rlottery.analysis.digits import Digits
from rlottery.analysis.scores import TaskScores
from rlottery.report.contents import Contents
from rlottery.report.tables import Cell, Column, Table, make_table, number
from rlottery.report.task_sentences import score_text
from rlottery.report.wording import NOTHING, sparsity_text
from rlottery.storage.paths import DENSE

_TITLE_WIDTH = 12
_ROUGHLY = Digits(2)


def task_table(contents: Contents) -> Table:
    """Every arm but dense on every task that has a run: its normalised score, else its score in the task's metric.

    The column over tasks has the IQM over runs. Where columns don't fit, the sparsity is dropped, then the last tasks.
    """
    tasks = [task for task in contents.scores if task.runs]
    over = {arm.arm: arm.iqm.value for arm in contents.across}
    arms = list(dict.fromkeys(arm for task in tasks for arm in task.runs if arm != DENSE)) or [DENSE]
    columns: list[Column[str]] = [
        Column("Arm", lambda arm: Cell(arm)),
        Column("Sparsity", lambda arm: Cell(_sparsity(tasks, arm)), numeric=True, expendable=1),
    ]
    if over:
        columns.append(number("Over tasks", "over_tasks", over.get, _ROUGHLY))
    columns += [_column(task, len(tasks) - place + 1) for place, task in enumerate(tasks)]
    return make_table("closing_by_task", "", columns, arms)


def _column(task: TaskScores, expendable: int) -> Column[str]:
    name = "\n".join(textwrap.wrap(task.task, _TITLE_WIDTH, break_long_words=False))
    if task.gain is None:
        name += f"\n({task.metric})"

    def cell(arm: str) -> Cell:
        scores = task.arm(arm)
        if scores is None:
            return Cell(NOTHING)
        known = scores.normalised_score
        return Cell(score_text(task, scores.mean.value) if known is None else _ROUGHLY(known))

    return Column(name, cell, numeric=True, expendable=expendable)


def _sparsity(tasks: list[TaskScores], arm: str) -> str:
    shown = dict.fromkeys(sparsity_text(task.split(arm)) for task in tasks if arm in task.runs)
    return " or ".join(filter(None, shown)) or NOTHING
