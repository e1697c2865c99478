"""What `rlottery check` shows of a task: the trial of it, and what is wrong with it."""

from typing import NamedTuple

from pydantic import ValidationError
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from rlottery.config import Config, Task
from rlottery.errors import TaskError
from rlottery.report.wording import capitalised, plural
from rlottery.storage.trial_record import Trial
from rlottery.study.planning.trials import deviation_text, how_to_allow, try_task


class CheckedTask(NamedTuple):
    """What a trial of a task found, and what is wrong with it."""

    page: RenderableType
    problems: list[str]


def check_task(name: str, study: Config | None = None) -> CheckedTask:
    """Try a task, with the arguments and the exceptions that a study gives it if the study has it."""
    task = next((task for task in study.tasks if task.id == name), None) if study is not None else None
    try:
        task = task or Task(id=name)
        trial = try_task(task, rendering=True)
    except TaskError as error:
        return CheckedTask(Group(), [str(error)])
    except ValidationError as error:
        return CheckedTask(Group(), [error.errors()[0]["msg"]])
    refused = [kind for kind in trial.deviations if kind not in task.allow]
    allowed = [f"Allowed by the study: {trial.deviations[kind]}" for kind in trial.deviations if kind in task.allow]
    lines = [Text(capitalised(line)) for line in (*allowed, *trial.notes)]
    problems = [f"{name}: {deviation_text(trial, kind)} {how_to_allow(task, refused)}" for kind in refused]
    return CheckedTask(Group(Text(name, style="italic"), _facts(trial), *lines), problems)


def _facts(trial: Trial) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 1), show_header=False)
    table.add_column(style="dim", no_wrap=True)
    table.add_column(overflow="fold")
    success = f"info[{trial.success_key!r}]" if trial.success_key else "not reported: scores are returns"
    end = "" if trial.ended else ", where the trial stopped"
    rows = {
        "observation": plural(trial.observation_size, "number"),
        "action": plural(trial.action_size, "number"),
        "success": success,
        "first episode": f"{plural(trial.steps, 'step')}{end}",
        "speed": f"{trial.steps_per_second:,.0f} steps/s",
        "rendering": trial.rendering,
    }
    for name, text in rows.items():
        table.add_row(name, Text(text))
    return table
