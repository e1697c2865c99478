"""Running a study: check everything, do what is left to do, then compare the arms."""

import contextlib
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

from rich.console import Console

from rlottery.agents.kernels.library import find
from rlottery.analysis.scores import TaskScores
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.processes.stopping import AGAIN, StopSignals, say_when_stopped
from rlottery.report.closing import Closing
from rlottery.report.collect import collect
from rlottery.report.contents import Contents
from rlottery.report.summary import summarise
from rlottery.report.wording import few, grouped, plural
from rlottery.storage.locks import holder_of, try_lock
from rlottery.storage.manifests import Manifest, read_manifest, write_manifest
from rlottery.storage.paths import REPLAY_FILES, RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.storage.temporary_files import remove_leftovers
from rlottery.storage.trial_record import read_trials
from rlottery.storage.trust import note_run
from rlottery.storage.work_place import WorkPlace
from rlottery.study.clusters import Asked, Cluster, open_cluster
from rlottery.study.display import display_for, ending_lines
from rlottery.study.execution.allocations import key_of, open_runs
from rlottery.study.execution.bundles import most_together
from rlottery.study.execution.executor import ENDED_BADLY, Executor, worker_count
from rlottery.study.execution.local import LocalBackend
from rlottery.study.execution.time_left import TimeLeft
from rlottery.study.execution.tracking import check_trackers, following
from rlottery.study.planning.devices import check_device
from rlottery.study.planning.finished_runs import damage_of_job, missing_data
from rlottery.study.planning.jobs import TRAINING, UNTRAINED
from rlottery.study.planning.other_versions import report_other_versions
from rlottery.study.planning.plan import JobState, Tracked, plan_study, seed_of
from rlottery.study.planning.recipe_warnings import recipe_warnings
from rlottery.study.planning.trials import record_trials
from rlottery.study.reporting import plain_printer, publish
from rlottery.study.resources.disk_space import check_room
from rlottery.study.resources.estimate import expected_seconds
from rlottery.study.resources.memory import check_memory, memory_warnings
from rlottery.study.resources.process_limits import check_process_limits
from rlottery.study.run_rows import already_done, rows_of


@dataclass(frozen=True, repr=False)
class Outcome:
    """How a command ended: what became of each job, and the results of the whole study.

    Attributes:
        tracked: The jobs of this command with their states: found (finished before), done, failed, ...
        contents: What the report shows. None if a signal stopped the command early.
        scores: The scores of every arm, one entry per task. Empty if a signal stopped the command early.
        failed: The jobs that failed or diverged, and those skipped because of them.
        stopped: The number of the signal that stopped the command early, its work saved. None if it ran to the end.
        has_said: Whether the messages of failed jobs have been shown.
        reports: Whether this command writes the report. Not if it has only followed another one's work on a cluster.
    """

    tracked: list[Tracked]
    contents: Contents | None
    stopped: int | None = None
    has_said: bool = False
    reports: bool = True

    @property
    def scores(self) -> tuple[TaskScores, ...]:
        return () if self.contents is None else self.contents.scores

    @property
    def failed(self) -> list[Tracked]:
        return [t for t in self.tracked if t.state in ENDED_BADLY]

    def __repr__(self) -> str:
        """One line: the fields fill pages, and a notebook shows the repr of what `main` returns."""
        states = Counter(t.state.value for t in self.tracked)
        counts = ", ".join(f"{count} {state}" for state, count in states.items())
        stopped = "" if self.stopped is None else f"; stopped by {signal.Signals(self.stopped).name}"
        return f"<Outcome of {plural(len(self.tracked), 'job')}{': ' * bool(counts)}{counts}{stopped}>"


def run_study(
    config: Config,
    method: str | None,
    stages: Sequence[str],
    console: Console,
    names: Sequence[str] | None = None,
    asked: Asked | None = None,
) -> Outcome:
    """Do what is left to do of a study (`plan_study`), then compare all its runs.

    The first signal lets the runs save their work. Before they start and after they have ended, it stops the command
    at once (`StopSignals.at_once`). On a cluster, it leaves the runs alone.

    Args:
        asked: where to run; None: on this machine.

    Raises:
        RlotteryError: before any work starts, as `plan_study`; or another process uses the same runs, or the disk or
            a limit of `ulimit` is too small; or the cluster would not take the jobs.
        KeyboardInterrupt: at the second Ctrl-C, once all workers have ended; and where a signal stops it at once.
    """
    say_when_stopped(AGAIN)
    say = plain_printer(console)
    with StopSignals() as signals, WorkPlace(Store(config.data), say) as place, contextlib.ExitStack() as left:
        with signals.at_once():
            cluster = None if asked is None else left.enter_context(open_cluster(asked, config, say))
            tracked, workers, together = _prepare(config, method, stages, names, console, place, cluster)
            waits = any(t.state is JobState.WAITING for t in tracked)
            if asked is not None and cluster is not None and asked.detach and waits:
                say(cluster.detach())
                raise SystemExit(0)
        has_said = _execute(config, tracked, workers, together, console, signals, place, cluster)
        if signals.number is not None or (cluster is not None and cluster.is_cancelled()):
            for line in [] if has_said else ending_lines(tracked, has_said=False):
                say(line)
            saved = "Stopped. Run the same command again to continue from the last checkpoints."
            say_when_stopped(saved if cluster is None else cluster.line_when_left)
            return Outcome(tracked, None, signals.number or signal.SIGTERM, has_said)
        say_when_stopped(f"Stopped. All work is saved. To draw the report: rlottery report {quote(str(config.data))}")
        with signals.at_once():
            place.leave()
            reports = cluster is None or cluster.is_head or not any(t.state is JobState.DONE for t in tracked)
            if reports:
                _tidy(config, tracked)
            if cluster is not None and all(t.state in (JobState.DONE, JobState.FOUND) for t in tracked):
                cluster.tidy()
            return Outcome(tracked, collect(Store(config.data), config), None, has_said, reports)


def _prepare(
    config: Config,
    method: str | None,
    stages: Sequence[str],
    names: Sequence[str] | None,
    console: Console,
    place: WorkPlace,
    cluster: Cluster | None,
) -> tuple[list[Tracked], int, int]:
    """Plan the study, check that it can run here, take its runs, and record it. On a cluster, nodes take the runs.

    Returns the jobs, and how many workers do how many of them.
    """
    say, store = plain_printer(console), Store(config.data)
    tracked = plan_study(config, method, stages, names, say)
    remove_leftovers(store.written_folders(), now=store.check_writable())
    workers = together = 0
    waiting = [t for t in tracked if t.state is JobState.WAITING]
    found = sum(t.state is JobState.FOUND for t in tracked)
    if waiting:
        check_trackers(config)
    for warning in recipe_warnings(config, [t.job for t in waiting]):
        say(warning)
    report_other_versions(config, [t.job for t in waiting], say)
    if found:
        say(already_done(rows_of(tracked)))
    if waiting and cluster is not None:
        together, workers = 1, cluster.most_runs
        check_room(config, [t.job for t in waiting], min(workers, len(waiting)))
    elif waiting:
        check_device(config)
        together = most_together(config.device)
        workers = worker_count(config.workers, len(waiting), together)
        check_memory(config, [t.job for t in waiting])
        check_room(config, [t.job for t in waiting], workers * together)
        check_process_limits(config, [t.job for t in waiting], workers, together)
        for warning in memory_warnings(config, [t.job for t in waiting], workers, together):
            say(warning)
        _warn_without_kernels(config, waiting, say)
        tracked = _enter(place, tracked, say)
    try:
        record_trials(config)
        sources = {name for trial in read_trials(config).values() for name in trial.sources}
        note_command(config, has_work=bool(waiting), ran=note_run(config, sorted(sources)))
    except OSError as error:
        why = f"{store.record} or {store.trials} can't be written: {error.strerror}"
        raise StudyError(f"{why}. Fix this, then run this command again.") from None
    at_work = {} if cluster is None else open_runs(store)
    idle = [t.job for t in waiting if key_of(t.job)[:3] not in at_work]
    for damaged in (damaged for job in idle for damaged in damage_of_job(job)):
        say(f"Damaged, will be regenerated: {damaged.file}: {damaged.why}")
    for data, jobs in grouped(idle, missing_data).items():
        if data:
            say(f"{data.capitalize()} missing, will be trained again: {few(job.label for job in jobs)}")
    return tracked, workers, together


def _enter(place: WorkPlace, tracked: list[Tracked], say: Callable[[str], None]) -> list[Tracked]:
    """Take the locks of the jobs that are to do. Returns all jobs but those that another command does for this one.

    Commands may share a data folder, each with seeds of its own. The untrained policies of a task belong to all.
    """
    waiting = [t for t in tracked if t.state is JobState.WAITING]
    place.enter(t.job.files for t in waiting if t.job.stage != UNTRAINED)
    others = [t for t in waiting if t.job.stage == UNTRAINED and not place.enter_if_free(t.job.files)]
    for item in others:
        say(f"{item.job.label}: another command evaluates them.")
    return [t for t in tracked if t not in others]


def _tidy(config: Config, tracked: Sequence[Tracked]) -> None:
    """Delete what finished runs don't need."""
    if not config.keep_replay:
        for same in grouped(tracked, seed_of).values():
            try:
                _release_replay(same)
            except OSError as error:
                raise StudyError(f"{error}. Fix this, then run this command again.") from None
    for item in tracked:
        # A process killed just after a run's end leaves its checkpoints, or the folder in which it was trained again.
        ended = item.state in (JobState.FOUND, JobState.DONE) and item.job.stage in TRAINING
        left = [item.job.files.checkpoint, item.job.files.aside.folder]
        if ended and any(map(Path.exists, left)) and (lock := try_lock(item.job.files)):
            with lock:
                for folder in left:
                    shutil.rmtree(folder, ignore_errors=True)


def _execute(
    config: Config,
    tracked: list[Tracked],
    workers: int,
    together: int,
    console: Console,
    signals: StopSignals,
    place: WorkPlace,
    cluster: Cluster | None,
) -> bool:
    """Run the jobs until all have ended, or until a signal asks to stop.

    Returns whether the messages of jobs that ended badly have been shown.
    """
    if all(item.state is not JobState.WAITING for item in tracked):
        return False
    of_seed = grouped(tracked, seed_of)
    of_run = grouped(tracked, lambda item: item.job.files)
    with signals.at_once():
        expected = expected_seconds(config, [item.job for item in tracked])
    with display_for(console, tracked, TimeLeft(tracked, expected, workers * together)) as display:
        announced = False

        def stop_wanted() -> bool:
            nonlocal announced
            if signals.wanted() and not announced:
                announced = True
                again = " Press Ctrl-C again to stop at once." if signals.number == signal.SIGINT else ""
                if cluster is None:
                    console.print(f"Stopping: each run saves a checkpoint at the end of its episode.{again}")
            return signals.wanted() or (cluster is not None and cluster.is_cancelled())

        def ended(item: Tracked) -> None:
            if all(other.state not in (JobState.WAITING, JobState.RUNNING) for other in of_run[item.job.files]):
                place.release(item.job.files)
            if not config.keep_replay:
                with contextlib.suppress(OSError):  # a full disk is reported by the runs
                    _release_replay(of_seed[item.job.task_index, item.job.seed])

        backend = LocalBackend(place) if cluster is None else cluster.backend()
        # On a cluster, the nodes follow the runs that they do.
        waiting = [t.job for t in tracked if t.state is JobState.WAITING] if cluster is None else []
        with following(config, waiting, plain_printer(console), signals.wanted) as followers:

            def changed() -> None:
                display.refresh()
                followers.look()

            Executor(tracked, workers, changed, ended, stop_wanted, together, backend).run()
    return display.has_said


def _warn_without_kernels(config: Config, waiting: Sequence[Tracked], say: Callable[[str], None]) -> None:
    """Say so if tickets have to be trained without the compiled kernels. Workers reuse the answer found here."""
    kernels = find()
    if config.device == "cpu" and kernels.uncached:
        say(
            f"The result of testing the compiled kernels can't be kept: {kernels.uncached}. Each worker tests them "
            "again, which takes some seconds. Set XDG_CACHE_HOME to a folder that can be written."
        )
    if config.device == "cpu" and not kernels.usable and any(t.job.stage == "ticket" for t in waiting):
        say(
            f"The compiled kernels are off: {kernels.why}. Tickets are trained on the masked dense path. It is slower; "
            f"the results are the same up to rounding. To turn the kernels on, {kernels.remedy}"
        )


def conclude(outcome: Outcome, config: Config, console: Console) -> None:
    """Show the closing text, what failed, and where the page is. Raises StudyError if the report can't be written.

    For a command that has run to its end.
    """
    assert outcome.contents is not None
    say, store = plain_printer(console), Store(config.data)
    told = {(t.job.task.id, t.job.seed, t.job.arm_name) for t in outcome.failed}
    console.print()
    console.print(Closing(summarise(outcome.contents, told)))
    say()
    if failures := ending_lines(outcome.tracked, has_said=outcome.has_said):
        for line in failures:
            say(line, style="red")
        say()
    if all(t.job.stage == "mask" for t in outcome.tracked):
        say(f"Masks: {store.root / 'masks'}")
        return
    if not outcome.reports:
        say(f"The report: {store.report}, once the command that submitted the jobs has drawn it")
        return
    drawing = console.status("Drawing the page ...") if console.is_interactive else contextlib.nullcontext()
    with drawing:
        publish(store, config, outcome.contents, say)
    say(f"Curves: tensorboard --logdir {store.runs}")


def _release_replay(same: Sequence[Tracked]) -> None:
    """Delete the replay buffer of a task and seed, of which these are all jobs, once all of them are done."""
    if any(t.state not in (JobState.DONE, JobState.FOUND) for t in same):
        return
    job = same[0].job
    files = job.dense_files
    if _manifest_to_release(files) is None:
        return
    store = Store(job.config.data)
    if any(holder_of(store.run(job.task.name, job.seed, arm)) for arm in store.arms(job.task.name, job.seed)):
        return  # another command may need it
    if lock := try_lock(files):
        with lock:
            manifest = _manifest_to_release(files)  # another command may have worked here until now
            if manifest is None:
                return
            if manifest.get("replay") != "released":  # recorded before anything is deleted
                kept = {name: entry for name, entry in manifest["files"].items() if name not in REPLAY_FILES}
                write_manifest(files, {**manifest, "replay": "released", "files": kept})
            shutil.rmtree(files.replay, ignore_errors=True)


def _manifest_to_release(files: RunFiles) -> Manifest | None:
    """The manifest of a dense run that is done and has a replay buffer, or a part of one; None if it is another."""
    manifest = read_manifest(files)
    if manifest is None or manifest["status"] != "done":
        return None
    return manifest if manifest.get("replay") != "released" or files.replay.exists() else None
