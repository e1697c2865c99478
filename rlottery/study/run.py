"""Running a study from a config: check everything, show the plan or do it, compare at the end."""

import contextlib
import shutil
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from rlottery.agents.kernels.library import find
from rlottery.analysis.comparison import Comparison
from rlottery.config import Config
from rlottery.errors import RlotteryError, StudyError
from rlottery.report.contents import Contents
from rlottery.report.gather import gather
from rlottery.report.table import render
from rlottery.storage.locks import PATIENCE_SECONDS, busy, holder_of
from rlottery.storage.manifests import read_manifest, write_manifest
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import DENSE, REPLAY_FILES, RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.study.display import display_for
from rlottery.study.execution.bundles import most_together
from rlottery.study.execution.executor import ENDED_BADLY, Executor, JobState, Tracked, as_diverged, worker_count
from rlottery.study.execution.stopping import StopSignals
from rlottery.study.planning.arms import arms_of, chosen_arms
from rlottery.study.planning.checks import check_arms
from rlottery.study.planning.jobs import STAGES, Job, Key, list_jobs
from rlottery.study.planning.plan import DivergedRunError, damaged_files, is_done
from rlottery.study.reporting import publish
from rlottery.study.resources.memory import tell_of_memory
from rlottery.study.resources.room import check_room

ORPHAN_SECONDS = 60.0
"""How long a worker whose command has gone may take to save its work and end."""


@dataclass(frozen=True, repr=False)
class Outcome:
    """How a command ended: what became of each job, and the results of the whole study.

    Attributes:
        tracked: The jobs of this command with their states: found (finished before), done, failed, ...
        contents: What the report shows.
        comparison: The scores of every arm on every task.
        failed: The jobs that failed or diverged, and those skipped because of them.
        stopped: The number of the signal that stopped the command early, its work saved. None if it ran to the end.
    """

    tracked: list[Tracked]
    contents: Contents
    stopped: int | None = None

    @property
    def comparison(self) -> Comparison:
        return self.contents.comparison

    @property
    def failed(self) -> list[Tracked]:
        return [t for t in self.tracked if t.state in ENDED_BADLY]

    def __repr__(self) -> str:
        """One line: the fields fill pages, and a notebook shows the repr of what `main` returns."""
        states = Counter(t.state.value for t in self.tracked)
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        stopped = "" if self.stopped is None else f"; stopped by {signal.Signals(self.stopped).name}"
        return f"<Outcome of {len(self.tracked)} jobs{': ' * bool(counts)}{counts}{stopped}>"


def plan_study(
    config: Config, method: str | None, stages: Sequence[str], names: Sequence[str] | None = None
) -> list[Tracked]:
    """Every job that the command asks for, those already done marked so.

    Args:
        method: of the config's `pruning:` section; None is magnitude, and all arms of a config that lists its own.
        names: of arms that are wanted, with those that they need; None is all.

    Raises:
        RlotteryError: anything that would stop the study later: unknown tasks, files of another study, a missing
            replay buffer, a mask that can't be used. Nothing has been started or written then.
    """
    if unknown := [stage for stage in stages if stage not in STAGES]:
        raise RlotteryError(f"Unknown stage {unknown[0]!r}; choose from: {', '.join(STAGES)}.")
    if not stages:
        raise RlotteryError(f"No stage was asked for; choose from: {', '.join(STAGES)}.")
    arms = arms_of(config, method)
    if names is not None:
        arms = chosen_arms(arms, names)
    check_data_folder(config.data)
    Store(config.data).check_links()
    check_arms(config, arms)
    tracked: list[Tracked] = []
    to_do: set[Key] = set()
    for job in list_jobs(config, arms, tuple(stages)):
        waits = _open(job, to_do)
        item = Tracked(job)
        try:
            item.state = JobState.FOUND if is_done(job, waits) else JobState.WAITING
        except DivergedRunError as error:
            item.state, item.message = as_diverged(job, error)
        if item.state is not JobState.FOUND:
            to_do.add(job.key)
        tracked.append(item)
    return tracked


def _open(job: Job, to_do: Collection[Key]) -> set[Key]:
    """The jobs that this one waits for, directly or not, and that are still to do."""
    found = {needed.key for needed in job.needs if needed.key in to_do}
    return found.union(*(_open(needed, to_do) for needed in job.needs if needed.key in found))


def run_study(
    config: Config, method: str | None, stages: Sequence[str], console: Console, names: Sequence[str] | None = None
) -> Outcome:
    """Do what is left to do, then compare all that the store holds for this config.

    Raises:
        RlotteryError: before any work starts, as `plan_study`; or another process is at work on the same runs, or
            the disk is too small.
        KeyboardInterrupt: at the second interrupt, after all workers have been killed.
    """
    with StopSignals() as signals:
        return _run_study(config, plan_study(config, method, stages, names), console, signals)


def _run_study(config: Config, tracked: list[Tracked], console: Console, signals: StopSignals) -> Outcome:
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    store = Store(config.data)
    store.check_writable()
    waiting = [t for t in tracked if t.state is JobState.WAITING]
    found = sum(t.state is JobState.FOUND for t in tracked)
    if found == len(tracked):
        say(f"All {found} jobs are already done: nothing is left to do.")
    elif found:
        say(f"Already done, and skipped: {found} of {len(tracked)} jobs.")
    if waiting:
        together = most_together(config.device)
        workers = worker_count(config.workers, len(waiting), together)
        check_room(config, [t.job for t in waiting], workers * together)
        tell_of_memory(config, [t.job for t in waiting], workers, together, say)
        _tell_of_kernels(config, waiting, say)
        wait_for_others([t.job.files for t in waiting], say, signals.wanted)
    _note_command(config, has_work=bool(waiting))
    if waiting:
        for error in (error for t in waiting for error in damaged_files(t.job)):
            say(f"Damaged, and made anew: {error.file}: {error.why}")
        _execute(config, store, tracked, workers, together, console, signals)
    if not config.keep_replay:
        for index, task in enumerate(config.tasks):
            for seed in config.seeds:
                _release_replay(store.run(task.name, seed, DENSE), [t for t in tracked if _of(t) == (index, seed)])
    for item in tracked:
        # A kill just after a run's end leaves its checkpoints.
        over = item.state in (JobState.FOUND, JobState.DONE) and item.job.stage in ("dense", "ticket")
        if over and holder_of(item.job.files) is None:
            shutil.rmtree(item.job.files.checkpoint, ignore_errors=True)
    return Outcome(tracked, gather(store, config), signals.number)


def _note_command(config: Config, *, has_work: bool) -> None:
    try:
        note_command(config, has_work=has_work)
    except OSError as error:
        raise StudyError(f"{Store(config.data).record} can't be written: {error.strerror}. Mend that first.") from None


def _execute(
    config: Config,
    store: Store,
    tracked: list[Tracked],
    workers: int,
    together: int,
    console: Console,
    signals: StopSignals,
) -> None:
    """Run the jobs, until all have ended or a signal asks to stop."""
    with display_for(console, tracked) as display:
        told = False

        def stop_wanted() -> bool:
            nonlocal told
            if signals.wanted() and not told:
                told = True
                again = " Ctrl-C again stops at once." if signals.number == signal.SIGINT else ""
                console.print(f"Stopping: each run saves a checkpoint at the end of its episode.{again}")
            return signals.wanted()

        def ended(item: Tracked) -> None:
            if not config.keep_replay:
                files = store.run(item.job.task.name, item.job.seed, DENSE)
                with contextlib.suppress(OSError):  # of a full disk, other runs will tell
                    _release_replay(files, [t for t in tracked if _of(t) == _of(item)])

        Executor(tracked, workers, display.refresh, ended, stop_wanted, together).run()


def _tell_of_kernels(config: Config, waiting: Sequence[Tracked], say: Callable[[str], None]) -> None:
    """Say once if tickets have to do without the kernels. What is found here, workers need not try again.

    Raises:
        ConfigError: RLOTTERY_KERNELS has a value that it can't have.
    """
    kernels = find()
    if config.device == "cpu" and not kernels.usable and any(t.job.stage == "ticket" for t in waiting):
        say(
            f"The compiled kernels are off: {kernels.why}. Tickets are trained on the masked dense path: slower, with "
            f"the same results up to rounding. To have the kernels, {kernels.mend}"
        )


def wait_for_others(runs: Sequence[RunFiles], say: Callable[[str], None], stop_wanted: Callable[[], bool]) -> None:
    """Make sure that no other process is at work on these runs; wait for one that is only saving its work, or to stop.

    Raises:
        StudyError: names the process.
    """
    began, told = time.monotonic(), False
    for files in runs:
        while not stop_wanted() and (holder := holder_of(files)) is not None:
            waited = time.monotonic() - began
            if waited > (ORPHAN_SECONDS if holder.is_orphan else PATIENCE_SECONDS):
                raise busy(files, holder)
            if holder.is_orphan and not told:
                say(f"Waiting for {holder}: the command that started it has gone, and it is saving its work.")
                told = True
            time.sleep(0.2)


def conclude(outcome: Outcome, config: Config, console: Console) -> None:
    """Show the closing table, what failed, and where things lie.

    Raises:
        StudyError: the report can't be written.
    """
    console.print()
    if outcome.stopped is None or any(arm.done for task in outcome.comparison.tasks for arm in task.arms):
        console.print(render(outcome.contents))
    # Paths and messages as they are: not wrapped, nothing in brackets taken for a style.
    say = partial(console.print, markup=False, highlight=False, soft_wrap=True)
    for item in outcome.failed:
        if outcome.stopped is not None and item.state is JobState.SKIPPED:
            continue  # it only had not begun
        say(f"\n{item.job.label}: {item.state.value}: {item.message}", style="red")
    say()
    store = Store(config.data)
    if any(t.job.stage != "mask" for t in outcome.tracked):
        publish(store, config, outcome.contents, say)
    say(f"Runs and masks:     {store.root}")
    say(f"Curves as they come: uvx tensorboard --logdir {store.runs}")


def _of(tracked: Tracked) -> tuple[int, int]:
    """Task and seed of a job."""
    return tracked.job.task_index, tracked.job.seed


def _release_replay(files: RunFiles, jobs_of_seed: Sequence[Tracked]) -> None:
    """Let a dense run's buffer go if all that the command does with its task and seed is done."""
    if any(t.state not in (JobState.DONE, JobState.FOUND) for t in jobs_of_seed):
        return
    manifest = read_manifest(files)
    if manifest is None or manifest["status"] != "done":
        return
    if manifest.get("replay") != "released":
        kept = {name: entry for name, entry in manifest["files"].items() if name not in REPLAY_FILES}
        write_manifest(files, {**manifest, "replay": "released", "files": kept})
    shutil.rmtree(files.replay, ignore_errors=True)
