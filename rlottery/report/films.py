"""Which video a report shows of each task: the dense agent next to the most interesting ticket."""

import os
from collections.abc import Mapping

from rlottery.analysis.verdict import AnswerWord, ArmVerdict, TaskVerdict
from rlottery.config import Config
from rlottery.errors import RlotteryError
from rlottery.report.contents import Contents
from rlottery.report.folders import film_files
from rlottery.storage.paths import DENSE, Store

_BEST_LAST: tuple[AnswerWord | None, ...] = (None, "worse", "open", "equivalent", "non-inferior", "superior", "better")

Films = Mapping[str, tuple[str, bytes]]
"""Task id -> media type and content."""


def films_of(store: Store, config: Config, contents: Contents, *, trust: bool = False) -> tuple[Films, tuple[str, ...]]:
    """The videos of the tasks that have a ticket to show, and why other tasks have none, one line per reason.

    Videos are made once and kept in the store. To make one, the task's environment is made: only if your own commands
    have run it, or you `trust` the study. Errors are lines: a report doesn't fail because of a missing video.
    """
    from rlottery.export.play import ReportFilm  # imports renderers

    films: dict[str, tuple[str, bytes]] = {}
    lines: dict[str, None] = {}
    verdicts = {task.task: task for task in contents.verdicts.tasks}
    for task in config.tasks:
        chosen = film_chosen(verdicts[task.id], contents)
        if chosen is None:
            continue
        film = ReportFilm(store, task, *chosen, film_files(store.report))
        try:
            data = film.kept()
            if data is None:
                data, in_the_way = film.make(trust=trust)
                lines |= dict.fromkeys(in_the_way)
            films[task.id] = ("video/mp4", data)
        except RlotteryError as error:
            lines[str(error)] = None
        except OSError as error:
            lines[f"No video of {task.id} could be made: {error}"] = None
    here = f"{store.root.absolute()}{os.sep}"  # the page goes to other machines, too
    return films, tuple(f"Videos: {line.replace(here, '')}" for line in lines)


def film_chosen(task: TaskVerdict, contents: Contents) -> tuple[str, int] | None:
    """The ticket and seed to show: by its answers, then sparsity, then score. None if no seed has both it and dense."""
    runs = next(scores for scores in contents.scores if scores.task == task.task).every_run
    dense = {run.seed for run in runs if run.arm == DENSE and run.status == "done"}
    done = {(run.arm, run.seed): run for run in runs if run.status == "done" and run.seed in dense}
    tickets = [arm for arm in task.arms if arm.kind == "ticket"]

    def interest(arm: ArmVerdict) -> tuple[bool, int, int, float, float]:
        of_arm = [run for (name, _), run in done.items() if name == arm.arm]
        sparsity = sum((of_arm[0].sparsity or {}).values()) if of_arm else 0.0
        difference = arm.dense.comparison.difference if arm.dense.comparison else None
        random, to_dense = _BEST_LAST.index(arm.random.answer), _BEST_LAST.index(arm.dense.answer)
        return arm.wins, random, to_dense, sparsity, -1.0 if difference is None else difference

    ranked = sorted(tickets, key=interest, reverse=True)
    return next(((arm.arm, seed) for arm in ranked for seed in sorted(dense) if (arm.arm, seed) in done), None)
