"""How long a command will still run, by the speeds of its runs so far, of each kind of run as soon as one is known.

The unit is an expected time that says how long a job takes compared with others, such as a ticket with a dense agent.
Measured runs say how long that is here.
"""

import heapq
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rlottery.storage.progress import Progress
from rlottery.study.execution.executor import starting_order
from rlottery.study.planning.jobs import TRAINING, Job, prerequisites
from rlottery.study.planning.plan import JobState, Tracked

MEASURED_SECONDS = 3.0
MEASURED_SHARE = 0.02
"""A run has a speed of its own after so many seconds, and this share of its steps, of updates."""


@dataclass
class _Pace:
    """How fast a run is: after how many seconds of its worker it was at which step.

    Attributes:
        first: the first seconds and step after the warm-up, once the update is compiled; None before.
        last: the newest.
        resumed: whether it continues from a checkpoint after the warm-up; None while that is not known.
        compiling: seconds before `first` in which it was seen to compile. Later runs load the programs instead.
        looked: the seconds of the last look, if it compiled then.
    """

    first: tuple[float, int] | None = None
    last: tuple[float, int] | None = None
    resumed: bool | None = None
    compiling: float = 0.0
    looked: float | None = None

    def see(self, seconds: float, progress: Progress, warmup: int) -> None:
        """Take the progress of a run whose worker has run for these seconds."""
        step = progress.env_steps
        if self.resumed is None:
            self.resumed = step > warmup
        if self.looked is not None and self.first is None:
            self.compiling += seconds - self.looked
        self.looked = seconds if progress.phase == "compiling" else None
        if progress.phase is not None or step <= warmup:
            return
        if self.first is None:
            self.first = self.last = (seconds, step)
        elif self.last is not None and step > self.last[1]:
            self.last = (seconds, step)

    def seconds_per_step(self, total: int) -> float | None:
        """None as long as it is not known well."""
        if self.first is None or self.last is None:
            return None
        seconds, steps = self.last[0] - self.first[0], self.last[1] - self.first[1]
        return seconds / steps if seconds >= MEASURED_SECONDS and steps >= MEASURED_SHARE * total else None


class TimeLeft:
    """The time until the last job of a command ends.

    Args:
        tracked: its jobs, each after those that it needs.
        expected: seconds that each job would take by itself; only their ratios count once runs are measured.
        places: how many jobs run at a time.
    """

    def __init__(self, tracked: Sequence[Tracked], expected: Sequence[float], places: int):
        self._tracked, self._expected, self._places = tracked, expected, places
        self._paces = [_Pace() for _ in tracked]
        self._places_of = {id(item): index for index, item in enumerate(tracked)}
        jobs = [t.job for t in tracked]
        self._kinds = [_kinds(job) for job in jobs]
        self._before = prerequisites(jobs)
        self._order = {index: place for place, index in enumerate(starting_order(jobs, self._before))}

    def look(self) -> None:
        """Call a few times a second while jobs run."""
        for tracked, pace in zip(self._tracked, self._paces, strict=True):
            if tracked.state is JobState.RUNNING and tracked.progress is not None and tracked.job.stage in TRAINING:
                pace.see(time.monotonic() - tracked.began, tracked.progress, _warmup(tracked.job))

    def of(self, tracked: Tracked) -> float | None:
        """The seconds that are left of a running job; None while they are not known."""
        index = self._places_of[id(tracked)]
        if tracked.job.stage not in TRAINING:
            return tracked.progress.seconds_left if tracked.progress is not None else None
        known = self._paces[index].seconds_per_step(tracked.job.env_steps) is not None
        return self._left(index, 0.0) if known else None

    def seconds(self) -> float | None:
        """None while nothing that says how long the rest takes has been measured, and when all has ended."""
        unfinished = [i for i, t in enumerate(self._tracked) if t.state in (JobState.WAITING, JobState.RUNNING)]
        if not unfinished:
            return None
        scales = self._scales()
        left: dict[int, float] = {}
        for index in unfinished:
            scale = self._scale(index, scales)
            if scale is None:
                return None
            left[index] = self._left(index, scale * self._expected[index])
        return self._last_end(left)

    def _scales(self) -> dict[tuple[object, ...], float]:
        """Measured over expected seconds: of each kind of job, of all jobs of a stage and task, and of all runs.

        Without the time that first runs compile, which is long on a busy machine: it isn't spent in each run.
        """
        found: dict[tuple[object, ...], list[float]] = {}
        for index, tracked in enumerate(self._tracked):
            if tracked.state is not JobState.DONE and self._paces[index].first is None:
                continue  # nothing has been measured
            seconds, expected = self._whole(index), self._expected[index]
            if seconds is not None and expected > 0:
                for key in self._kinds[index]:
                    found.setdefault(key, []).append(max(seconds - self._paces[index].compiling, 0.0) / expected)
        return {key: statistics.fmean(scales) for key, scales in found.items()}

    def _scale(self, index: int, scales: dict[tuple[object, ...], float]) -> float | None:
        """Measured over expected seconds for a job. Others than runs are as expected until one of them is measured."""
        found = next((scales[kind] for kind in self._kinds[index] if kind in scales), None)
        return 1.0 if found is None and self._tracked[index].job.stage not in TRAINING else found

    def _whole(self, index: int) -> float | None:
        """The seconds that the whole job takes, from its start without a checkpoint; None if they are not known."""
        tracked, pace = self._tracked[index], self._paces[index]
        if tracked.state is JobState.DONE and not pace.resumed:
            return tracked.seconds
        each = pace.seconds_per_step(tracked.job.env_steps)
        if each is None or pace.first is None:
            return None
        return pace.first[0] + each * (tracked.job.env_steps - _warmup(tracked.job))

    def _left(self, index: int, whole: float) -> float:
        """The seconds that are left of a job which takes `whole` seconds if it has no speed of its own yet."""
        tracked, pace = self._tracked[index], self._paces[index]
        if tracked.state is JobState.WAITING:
            return whole
        elapsed = time.monotonic() - tracked.began
        each = pace.seconds_per_step(tracked.job.env_steps)
        if each is None or pace.last is None or tracked.progress is None:
            return max(0.0, whole - elapsed)
        return max(0.0, each * (tracked.progress.total_steps - pace.last[1]) - (elapsed - pace.last[0]))

    def _last_end(self, left: dict[int, float]) -> float:
        """When the last job ends, from now, if jobs start as the executor starts them."""
        ends = [(seconds, index) for index, seconds in left.items() if self._is_running(index)]
        needs = {
            index: sum(needed in left for needed in self._before[index])
            for index in left
            if not self._is_running(index)
        }
        waits: dict[int, list[int]] = {}
        for index in needs:
            for needed in self._before[index]:
                waits.setdefault(needed, []).append(index)
        ready = [(self._order[index], index) for index, number in needs.items() if not number]
        heapq.heapify(ends)
        heapq.heapify(ready)
        now = 0.0
        while ends or ready:
            while ready and len(ends) < self._places:
                _, index = heapq.heappop(ready)
                heapq.heappush(ends, (now + left[index], index))
            now, ended = heapq.heappop(ends)
            for index in waits.get(ended, ()):
                needs[index] -= 1
                if not needs[index]:
                    heapq.heappush(ready, (self._order[index], index))
        return now

    def _is_running(self, index: int) -> bool:
        return self._tracked[index].state is JobState.RUNNING


def _warmup(job: Job) -> int:
    return min(job.config.training_for(job.task).warmup_steps, job.env_steps)


def _kinds(job: Job) -> tuple[tuple[object, ...], ...]:
    """The groups of jobs that take about as long as this one, in units of what is expected; the closest first."""
    stage = "run" if job.stage in TRAINING else job.stage
    return (job.task_index, job.stage, job.arm_name), (job.task_index, stage), (stage,)
