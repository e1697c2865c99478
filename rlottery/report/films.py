"""Which film a report shows of each task: the dense agent beside the ticket that says most."""

from collections.abc import Mapping

from rlottery.analysis.verdict import ArmVerdict, Decision, TaskVerdict
from rlottery.config import Config
from rlottery.report.contents import Contents
from rlottery.store import DENSE, Store

_MOST_TELLING: tuple[Decision | None, ...] = ("winning", "sparse, not special", "undecided", "losing", None)


def films_of(store: Store, config: Config, contents: Contents) -> Mapping[str, tuple[str, bytes]]:
    """Task id -> media type and content, for the tasks that can be drawn here; made once and kept in the store."""
    from rlottery.play import film_for_report  # brings video codecs along

    films = {}
    verdicts = {task.task: task for task in contents.verdicts.tasks}
    for task in config.tasks:
        chosen = film_chosen(verdicts[task.id], contents)
        film = film_for_report(store, config, task, *chosen) if chosen else None
        if film is not None:
            films[task.id] = film
    return films


def film_chosen(task: TaskVerdict, contents: Contents) -> tuple[str, int] | None:
    """The ticket and seed to show beside dense: the best verdict, then the highest sparsity, then the best score.

    None where no seed has both.
    """
    runs = contents.runs[task.task]
    dense = {run.seed for run in runs if run.arm == DENSE and run.status == "done"}
    done = {(run.arm, run.seed): run for run in runs if run.status == "done" and run.seed in dense}
    tickets = [arm for arm in task.arms if arm.kind == "ticket"]

    def telling(arm: ArmVerdict) -> tuple[int, float, float]:
        of_arm = [run for (name, _), run in done.items() if name == arm.arm]
        sparsity = sum((of_arm[0].sparsity or {}).values()) if of_arm else 0.0
        share = arm.against_dense.share if arm.against_dense else -1.0
        return -_MOST_TELLING.index(arm.decision), sparsity, share

    ranked = sorted(tickets, key=telling, reverse=True)
    return next(((arm.arm, seed) for arm in ranked for seed in sorted(dense) if (arm.arm, seed) in done), None)
