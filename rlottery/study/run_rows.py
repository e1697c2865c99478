"""The rows of the display while a study runs: one per run, with the mask that it needs, in the order of the config."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from rlottery.config import Config
from rlottery.config.recipes import ROUND
from rlottery.report.wording import plural
from rlottery.storage.paths import DENSE
from rlottery.study.execution.executor import ENDED_BADLY
from rlottery.study.planning.jobs import TRAINING, UNTRAINED, Job
from rlottery.study.planning.plan import JobState, Tracked

STARTING, MAKING_MASK = "starting", "making mask"
_ENDED_WELL = (JobState.DONE, JobState.FOUND)


@dataclass(frozen=True)
class Row:
    """The jobs of one run, or the untrained policies of a task.

    Attributes:
        jobs: in the order in which they are done.
    """

    jobs: tuple[Tracked, ...]

    @property
    def current(self) -> Tracked:
        """The job that is to do next, is under way or ended the row; the run itself if all ended well.

        Rewind points of a finished run are another matter: they count only while, or because, they are made.
        """
        to_run = self.jobs[: self._place_of_run + 1]
        for item in to_run:
            if item.state not in _ENDED_WELL:
                return item
        *_, run = to_run
        for item in self.jobs[len(to_run) :]:
            made = item.state is JobState.DONE and run.state is JobState.FOUND
            if made or item.state not in (*_ENDED_WELL, JobState.WAITING, JobState.SKIPPED):
                return item
        return run

    @property
    def state(self) -> JobState:
        """The state of the current job. A run that was done before stays so, though its mask was made again."""
        return self.current.state

    @property
    def label(self) -> str:
        """The name of the run, with its task; of a mask, if it is all that the row is about."""
        current, place = self.current, self._place_of_run
        named = current if any(current is later for later in self.jobs[place:]) else self.jobs[place]
        return named.job.label

    @property
    def short_label(self) -> str:
        """The same without its task."""
        return self.label.removeprefix(f"{self.jobs[0].job.task.name} ")

    @cached_property
    def _place_of_run(self) -> int:
        """Where the job that trains is among the jobs; the last place if there is none."""
        found = [place for place, item in enumerate(self.jobs) if item.job.stage in TRAINING]
        return found[0] if found else len(self.jobs) - 1

    @cached_property
    def is_run(self) -> bool:
        """Whether an agent is trained."""
        return any(t.job.stage in TRAINING for t in self.jobs)

    @property
    def seconds(self) -> float:
        """How long its jobs have been running, or ran, in this command."""
        return sum(t.seconds for t in self.jobs if t.state is not JobState.WAITING)

    @property
    def phase(self) -> str:
        """What a running row does while it makes no progress; "" if it does."""
        current = self.current
        if current.state is not JobState.RUNNING:
            return ""
        if current.queued:
            return current.queued
        if current.job.stage == "mask":
            return MAKING_MASK
        return STARTING if current.progress is None else current.progress.phase or ""

    @property
    def share(self) -> float | None:
        """How much of the current job is done, from 0 to 1; None where that is not known."""
        now = self.current.progress
        return None if now is None or self.current.state is not JobState.RUNNING else now.env_steps / now.total_steps


def rows_of(tracked: Sequence[Tracked]) -> list[Row]:
    """The rows of a command's jobs: by task, then as the config lists the arms, then by seed."""
    jobs: dict[tuple[int, int, str], list[Tracked]] = {}
    for item in tracked:
        task, seed, arm, _ = item.job.key
        jobs.setdefault((task, seed, arm), []).append(item)
    places = _places([t.job for t in tracked])
    rows = [Row(tuple(of_run)) for of_run in jobs.values()]
    return sorted(rows, key=lambda row: places[row.jobs[0].job.key[0], row.jobs[0].job.arm_name])


def already_done(rows: Sequence[Row]) -> str:
    """``All 22 runs of this command are already done.``, ``3 of 22 runs are already done.``"""
    counted, noun = _counted(rows)
    found = sum(row.state is JobState.FOUND for row in counted)
    if found == len(counted):
        what = f"All {plural(found, noun)} of this command" if found > 1 else f"The {noun}"
    else:
        what = f"{found} of {plural(len(counted), noun)}"
    return f"{what} {'is' if (found or len(counted)) == 1 else 'are'} already done."


def tally(rows: Sequence[Row]) -> str:
    """``3 of 22 runs done, 1 failed``."""
    counted, noun = _counted(rows)
    states = Counter(row.state for row in counted)
    done = sum(states[state] for state in _ENDED_WELL)
    others = [f"{number} {state.value}" for state, number in states.items() if state in ENDED_BADLY]
    return ", ".join([f"{done} of {plural(len(counted), noun)} done", *others])


def _counted(rows: Sequence[Row]) -> tuple[Sequence[Row], str]:
    """The rows that are counted, and what one of them is: runs, if there are any."""
    if runs := [row for row in rows if row.is_run]:
        return runs, "run"
    return rows, "mask" if all(t.job.stage == "mask" for row in rows for t in row.jobs) else "job"


def _places(jobs: Sequence[Job]) -> dict[tuple[int, str], tuple[int, int]]:
    """Task index and arm -> the place of its rows: untrained policies and dense agents first."""
    listed = _listed(jobs[0].config) if jobs else []
    names = list(dict.fromkeys(job.arm_name for job in jobs))
    known = [UNTRAINED, DENSE, *listed]
    order = {name: known.index(of) if (of := name.partition(ROUND)[0]) in known else len(known) for name in names}
    return {(job.task_index, job.arm_name): (job.task_index, order[job.arm_name]) for job in jobs}


def _listed(config: Config) -> list[str]:
    return [recipe.name for recipe in config.recipes if recipe.name]
