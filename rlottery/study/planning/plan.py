"""The plan of a command: every job that it asks for, and which of them are already done."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import Enum

from rlottery.config import Config, import_criteria
from rlottery.config.built_in import METHODS
from rlottery.errors import RlotteryError
from rlottery.report.folders import check_is_own, report_files
from rlottery.report.wording import grouped
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import Store
from rlottery.storage.progress import Progress
from rlottery.study.planning.arms import arms_of, chosen_arms
from rlottery.study.planning.checks import check_arms
from rlottery.study.planning.done import is_done
from rlottery.study.planning.finished_runs import DivergedRunError
from rlottery.study.planning.jobs import Job, Key, check_stages, list_jobs, untrained_jobs
from rlottery.study.planning.read_once import reading_once
from rlottery.study.planning.trials import try_tasks

SHARED = (
    "An earlier version of rlottery made masks of this study, in which both critics shared one budget under "
    "allocation: global. Its further masks are made in the same way. A new study gives each critic its own budget: "
    "data=ANOTHER_FOLDER."
)
"""What a command says before it continues such a study."""


class JobState(Enum):
    """The state of a job in a command. The values are shown to the user."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FOUND = "already done"
    FAILED = "failed"
    SKIPPED = "not run"
    STOPPED = "stopped"
    DIVERGED = "diverged"


@dataclass
class Tracked:
    """A job and its current state.

    Attributes:
        message: an error or the reason why the job was skipped, for the user.
        queued: what its worker waits for before it begins; "" once it has begun.
        began: when its worker began, by the monotonic clock.
        seconds: how long it has been running, or ran.
        progress: the last progress that its worker reported; of a run that is done, its end.
        times_killed: how often its worker was killed by something else.
    """

    job: Job
    state: JobState = JobState.WAITING
    message: str = ""
    queued: str = ""
    began: float = 0.0
    seconds: float = 0.0
    progress: Progress | None = None
    times_killed: int = 0

    def set_diverged(self, error: DivergedRunError) -> None:
        """Record that the job's own run has diverged, or a run that it depends on."""
        self.state = JobState.DIVERGED if error.files == self.job.files else JobState.SKIPPED
        self.message = str(error)


def plan_study(
    config: Config,
    method: str | None,
    stages: Sequence[str],
    names: Sequence[str] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> list[Tracked]:
    """Every job that a command asks for, with the state of each: already done or waiting.

    Args:
        method: as for `arms_of`.
        names: the arms to run, together with the arms that they need. None means all.
        say: shows a line while something takes long.

    Raises:
        RlotteryError: anything that would stop the study later, such as an unknown task, files of another study, a
            missing replay buffer, or a mask that can't be used. Nothing has been started or written yet.
    """
    check_stages(stages)
    import_criteria(config)
    arms = arms_of(config, method)
    if names is not None:
        arms = chosen_arms(arms, names)
    if any(arm.ranks_globally and arm.twins == "shared" for arm in arms):
        say(SHARED)
    check_data_folder(config.data)
    Store(config.data).check_links()
    if any(stage != "mask" for stage in stages):  # the command ends with a report
        check_is_own(report_files(Store(config.data).report), "data=FOLDER")
    trials = try_tasks(config, say)
    check_arms(config, arms)
    tracked = [Tracked(job) for job in [*list_jobs(config, arms, tuple(stages)), *untrained_jobs(config, stages)]]
    to_do: set[Key] = set()
    for sharing in _sharing(tracked):
        with reading_once():
            for item in sharing:
                try:
                    if is_done(item.job, _pending(item.job, to_do)):
                        item.state = JobState.FOUND
                except DivergedRunError as error:
                    item.set_diverged(error)
                if item.state is not JobState.FOUND:
                    to_do.add(item.job.key)
    for task in config.tasks if to_do else ():
        for note in trials[task.id].notes:
            say(f"{task.id}: {note}")
    return tracked


def left_to_other_method(
    config: Config, method: str | None, stages: Sequence[str], tracked: Sequence[Tracked]
) -> tuple[str, list[Job]]:
    """The built-in method that a command doesn't run, and what it would add to the command's jobs and is not done yet.

    No jobs for a config that lists its arms, and where that method can't be planned.

    Args:
        method: as for `plan_study`, whose jobs are `tracked`.
    """
    other = METHODS[1 if method in (None, METHODS[0]) else 0]
    if config.arms:
        return other, []
    planned = {item.job.key for item in tracked}
    try:
        of_other = plan_study(config, other, stages)
    except RlotteryError:
        return other, []
    waiting = (item.job for item in of_other if item.state is JobState.WAITING)
    return other, [job for job in waiting if job.key not in planned]


def _sharing(tracked: Sequence[Tracked]) -> list[list[Tracked]]:
    """The jobs in parts that share files, each job after those that it needs: by task and seed.

    A mask that is transferred from another task or seed belongs to another part, so then each job is a part.
    """
    if any(t.job.arm is not None and t.job.arm.transfer is not None for t in tracked):
        return [[item] for item in tracked]
    return list(grouped(tracked, seed_of).values())


def seed_of(tracked: Tracked) -> tuple[int, int]:
    """The task, by its index, and the seed of a job."""
    return tracked.job.task_index, tracked.job.seed


def _pending(job: Job, to_do: Collection[Key]) -> set[Key]:
    """The jobs among `to_do` that this one needs, directly or indirectly."""
    found: set[Key] = set()
    waiting = [job]
    while waiting:
        for needed in waiting.pop().needs:
            if needed.key in to_do and needed.key not in found:
                found.add(needed.key)
                waiting.append(needed)
    return found
