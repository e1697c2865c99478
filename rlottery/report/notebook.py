"""Studies in Python: `rlottery.load_study` and the `Study` that it returns, which notebooks show."""

from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd

from rlottery.agents.algorithms import algorithm_of
from rlottery.analysis.data_frames import evaluation_frame, mask_frame, run_frame
from rlottery.analysis.runs import other_settings_lines, read_runs
from rlottery.analysis.scores import score_tasks
from rlottery.analysis.untrained import read_samples
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.summary import summarise
from rlottery.report.wording import plural
from rlottery.safety.printable import printable
from rlottery.storage.open_study import config_from_started_study
from rlottery.storage.paths import Store

_MOST_PROBLEMS, _WIDTH = 3, 120


@dataclass(frozen=True, eq=False, repr=False)
class Study:
    """The results of a study as pandas data frames. Unknown values are NA.

    In a notebook it shows the table of results and the main figure.

    Attributes:
        config: the settings of the study.
        data: its data folder.
        runs: one row per run that has ended, by task, seed and arm. The rounds of iterative pruning have no rows.
            `metric` is "success" or "return", and `score` the mean of the last evaluations in that unit. `area` is the
            mean score over all of training; arms that start at a later step have none. `untrained` is the score of the
            run's own agent before training, and `task_untrained` the mean of the task's fresh untrained policies, or of
            its dense agents before training where the study has none. `normalised_score` is 0 for `task_untrained`, and
            1 for the mean of the dense agents. `from_start` has its 0 at the mean of pruned agents before training. A
            run that diverged scores as an untrained agent. One that failed or can't be read has no score, and `error`
            says why. `sparsity_actor` and `sparsity_critic` (of DQN, `sparsity_q`) are the shares that were pruned;
            dense agents have none. `control` is the kind of control. `env_steps` counts training steps, `seconds`
            wall-clock time.
        evaluations: one row per evaluation: `return` is the mean over its `episodes`, and `success` the share of them
            that succeeded.
        masks: one row per layer of every mask: `kept` of `total` weights. `group` is actor, critic or q, and `digest`
            identifies the mask. Masks that can't be read have no rows.
        problems: why some masks, runs and untrained policies could not be read, and which runs were trained with other
            settings than those of `config`.
    """

    config: Config
    data: Path
    runs: pd.DataFrame
    evaluations: pd.DataFrame
    masks: pd.DataFrame
    problems: tuple[str, ...]

    def __repr__(self) -> str:
        done = int((self.runs["status"] == "done").sum())
        lines = [
            f"Study {self.config.name!r} in {self.data}",
            f"  {plural(len(self.config.tasks), 'task')}: {', '.join(task.id for task in self.config.tasks)}",
            f"  {plural(self.runs['arm'].nunique(), 'arm')}, {plural(len(self.config.seeds), 'seed')}, "
            f"{done} of {plural(len(self.runs), 'run')} done",
            f"  frames: runs ({len(self.runs)} rows), evaluations ({len(self.evaluations)}), masks ({len(self.masks)})",
        ]
        if self.problems:
            lines.append(f"  {plural(len(self.problems), 'problem')}: see .problems")
        shown = [printable(line) for line in lines]
        return "\n".join(line if len(line) <= _WIDTH else f"{line[: _WIDTH - 4]} ..." for line in shown)

    def _repr_html_(self) -> str:
        """The verdict, the table of results of every task, and the main figure, as a notebook shows them."""
        from rlottery.report.page import table_html  # Matplotlib takes a second to import
        from rlottery.report.page_figures import main_figure

        summary = summarise(self._contents)
        parts = [f"<p><b>{escape(self.config.name)}</b>: {escape((*summary.verdict, *summary.scores)[0])}</p>"]
        for task in summary.tasks:
            parts.append(f"<p><b>{escape(task.task)}</b><br>{escape(task.measured)}</p>{table_html(task.table)}")
        figure = main_figure(self._contents)
        if figure is not None:
            svg = figure.drawn.svg[figure.drawn.svg.index("<svg") :]
            caption = f"<figcaption>{escape(figure.caption)}</figcaption>"
            parts.append(f'<figure style="background: white; color: black; margin: 1em 0">{svg}{caption}</figure>')
        problems = "".join(f"<li>{escape(line)}</li>" for line in self.problems[:_MOST_PROBLEMS])
        return printable("".join(parts) + (f"<ul>{problems}</ul>" if problems else ""))

    @cached_property
    def _contents(self) -> Contents:
        """The contents of its report."""
        return collect(Store(self.data), self.config)


def load_study(path: str | Path) -> Study:
    """Load a study, finished or not.

    Args:
        path: its data folder or its config file.

    Returns:
        Its runs, evaluations and masks as data frames.

    Raises:
        StudyError: there is no study, none of its runs has ended, or its folder has no record of its settings.
        ConfigError: the config file can't be read.
    """
    config = config_from_started_study(Path(path))
    store = Store(config.data)
    runs = {task.id: tuple(read_runs(store, task.name, config.seeds)) for task in config.tasks}
    if not any(runs.values()):
        raise StudyError(
            f"{store.root} has no finished run of the tasks and seeds of {path}. Run the study first: "
            "`rlottery run CONFIG`; or give another data folder."
        )
    samples, unusable = read_samples(store, config, runs)
    scores = score_tasks(config, runs, samples)
    masks, problems = mask_frame(scores)
    unreadable = [
        f"{task}: {run.arm}, seed {run.seed}: {run.error}"
        for task, of_task in runs.items()
        for run in of_task
        if run.status == "unreadable"
    ]
    return Study(
        config=config,
        data=store.root,
        runs=run_frame(scores, algorithm_of(config).groups),
        evaluations=evaluation_frame(scores),
        masks=masks,
        problems=(*other_settings_lines(config, runs), *unusable, *unreadable, *problems),
    )
