"""Running a study from a config: check everything, show the plan or do it, compare at the end."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console

from rlottery import envs
from rlottery.analysis.comparison import Comparison, compare
from rlottery.config import Config
from rlottery.errors import RlotteryError
from rlottery.report.table import render
from rlottery.store import DENSE, Store, read_manifest, write_json
from rlottery.study.arms import arm_for
from rlottery.study.display import display_for
from rlottery.study.executor import Executor, State, Tracked, worker_count
from rlottery.study.plan import STAGES, is_done, jobs, prerequisite


@dataclass(frozen=True)
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
    unknown = [stage for stage in stages if stage not in STAGES]
    if unknown or not stages:
        raise RlotteryError(f"Unknown stage {''.join(unknown[:1])!r}; choose from: {', '.join(STAGES)}.")
    tracked: list[Tracked] = []
    planned = jobs(config, arm_for(method, config.pruning), tuple(stages))
    done: dict[int, bool] = {}
    for job in planned:
        before = prerequisite(job, planned)
        done[id(job)] = is_done(job, waits=before is not None and not done[id(before)])
        tracked.append(Tracked(job, State.FOUND if done[id(job)] else State.WAITING))
    for index in {t.job.task_index for t in tracked if t.state is State.WAITING}:
        envs.make(config.tasks[index].id, config.tasks[index].kwargs).close()
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
    if found := len(tracked) - len(waiting):
        console.print(f"{found} of {len(tracked)} jobs are already done and are skipped.")
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
    """Show the closing table, what failed, and where things lie."""
    console.print()
    console.print(render(outcome.comparison))
    for item in outcome.failed:
        console.print(f"\n{item.job.label}: {item.state.value}: {item.message}", style="red", markup=False)
    console.print()
    from rlottery.report.files import write_report  # matplotlib takes a second, which --help need not wait for

    store = Store(config.data)
    if any(t.job.stage != "mask" for t in outcome.tracked):
        console.print(f"Figures and tables: {store.report}")
        for path in write_report(store, config, outcome.comparison):
            console.print(f"  {path}", markup=False, highlight=False)
    console.print(f"Runs and masks:     {store.root}")
    console.print(f"Curves as they come: uvx tensorboard --logdir {store.root / 'runs'}")


def _release_replay(store: Store, config: Config, outcome: Outcome) -> None:
    """Let the buffers go whose task and seed have nothing left to do."""
    unfinished = {(t.job.task_index, t.job.seed) for t in outcome.failed}
    for index, task in enumerate(config.tasks):
        for seed in config.seeds:
            files = store.run(task.name, seed, DENSE)
            manifest = read_manifest(files)
            done = manifest is not None and manifest["status"] == "done" and files.replay.is_dir()
            if manifest and done and (index, seed) not in unfinished:
                write_json(files.manifest, manifest | {"replay": "released"})
                shutil.rmtree(files.replay, ignore_errors=True)
