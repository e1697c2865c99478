"""Running a study from a config: check everything, show the plan or do it, compare at the end."""

import shutil
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from rlottery import envs
from rlottery.analysis.comparison import Comparison, compare
from rlottery.config import Config
from rlottery.errors import RlotteryError, StudyError
from rlottery.report.table import render
from rlottery.store import DENSE, Store, read_manifest, write_json
from rlottery.study.arms import arm_for
from rlottery.study.display import display_for
from rlottery.study.executor import Executor, State, Tracked, worker_count
from rlottery.study.plan import STAGES, check_folder, is_done, jobs


@dataclass(frozen=True, repr=False)  # A notebook would show it after main(), page after page.
class Outcome:
    """How a command ended: what became of each job, and the comparison over the whole study."""

    tracked: list[Tracked]
    comparison: Comparison

    @property
    def failed(self) -> list[Tracked]:
        return [t for t in self.tracked if t.state in (State.FAILED, State.SKIPPED)]


def plan_study(config: Config, method: str, stages: Sequence[str]) -> list[Tracked]:
    """Every job that the command asks for, those already done marked so.

    Raises:
        RlotteryError: anything that would stop the study later: unknown tasks, files of another study, a missing
            replay buffer, a mask that can't be used. Nothing has been started or written then.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise RlotteryError(f"Unknown stage {unknown[0]!r}; choose from: {', '.join(STAGES)}.")
    if not stages:
        raise RlotteryError(f"No stage was asked for; choose from: {', '.join(STAGES)}.")
    arm = arm_for(method, config.pruning)
    check_folder(config.data)
    for task in config.tasks:
        envs.make(task.id, task.kwargs).close()
    tracked: list[Tracked] = []
    to_do: defaultdict[tuple[int, int], set[str]] = defaultdict(set)
    for job in jobs(config, arm, tuple(stages)):
        waits = to_do[job.task_index, job.seed]
        done = is_done(job, waits)
        tracked.append(Tracked(job, State.FOUND if done else State.WAITING))
        if not done:
            waits.add(job.stage)
    return tracked


def run_study(config: Config, method: str, stages: Sequence[str], console: Console) -> Outcome:
    """Do what is left to do, then compare all that the store holds for this config.

    Raises:
        RlotteryError: before any work starts, as `plan_study`.
        KeyboardInterrupt: after all workers have ended.
    """
    store = Store(config.data)
    tracked = plan_study(config, method, stages)
    store.check_writable()
    waiting = [t for t in tracked if t.state is State.WAITING]
    if not waiting:
        console.print(f"All {len(tracked)} jobs are already done: nothing is left to do.", highlight=False)
    elif found := len(tracked) - len(waiting):
        console.print(f"Already done, and skipped: {found} of {len(tracked)} jobs.", highlight=False)
    if waiting:
        workers = worker_count(config.workers, len(waiting))
        executor = Executor(tracked, workers)
        with display_for(console, tracked) as display:
            executor.changed = display.refresh
            executor.run()
    outcome = Outcome(tracked, compare(store, config))
    if not config.keep_replay:
        _release_replay(store, config, outcome)
    return outcome


def conclude(outcome: Outcome, config: Config, console: Console) -> None:
    """Show the closing table, what failed, and where things lie.

    Raises:
        StudyError: the report can't be written.
    """
    console.print()
    console.print(render(outcome.comparison))
    # Paths and messages as they are: not wrapped, nothing in brackets taken for a style.
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    for item in outcome.failed:
        say(f"\n{item.job.label}: {item.state.value}: {item.message}", style="red")
    say()
    store = Store(config.data)
    if any(t.job.stage != "mask" for t in outcome.tracked):
        from rlottery.report.files import write_report  # matplotlib takes a second, which --help need not wait for

        try:
            written = write_report(store, config, outcome.comparison)
        except OSError as error:
            raise StudyError(
                f"The report can't be written: {error}. Mend that, and run the same command again."
            ) from None
        say(f"Figures and tables: {store.report}")
        for path in written:
            say(f"  {path}")
    say(f"Runs and masks:     {store.root}")
    say(f"Curves as they come: uvx tensorboard --logdir {store.root / 'runs'}")


def _release_replay(store: Store, config: Config, outcome: Outcome) -> None:
    """Let the buffers go whose task and seed have nothing left to do."""
    unfinished = {(t.job.task_index, t.job.seed) for t in outcome.failed}
    for index, task in enumerate(config.tasks):
        for seed in config.seeds:
            files = store.run(task.name, seed, DENSE)
            manifest = read_manifest(files)
            if not manifest or manifest["status"] != "done" or (index, seed) in unfinished:
                continue
            if manifest["replay"] != "released":
                write_json(files.manifest, manifest | {"replay": "released"})
            shutil.rmtree(files.replay, ignore_errors=True)
