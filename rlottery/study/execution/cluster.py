"""The backend for engines that run allocations on other machines: Slurm, Dask, or one of your own.

An engine queues allocations, starts them, and knows which it has. Everything else is the same for all of them and is
here: how jobs ended is read from the files that the nodes write (`allocations`); an allocation that the engine no
longer has, and that has not ended its jobs, is lost, and its jobs are handed in again; a command that follows another
one's allocations takes them over.
"""

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import NamedTuple, Protocol

from rlottery.errors import RlotteryError
from rlottery.storage.paths import Store
from rlottery.study.execution.allocations import (
    Allocation,
    End,
    batch_names,
    forget_batch,
    key_of,
    known_allocations,
    note_names,
    write_batch,
)
from rlottery.study.execution.endings import AGAIN_LATER, FAILED, STOPPED, Ending
from rlottery.study.execution.sessions import forget_sessions
from rlottery.study.planning.jobs import TRAINING, Job, Key
from rlottery.study.planning.plan import JobState

FILES_AT_ONCE = 100
"""The most files of allocations that are read at a look, so that a shared file system has little to do."""
MOST_UNBEGUN = 3
"""How often an allocation of a job may end before it has begun."""
VISIBLE_SECONDS = 90.0
"""How long a file that another machine has written may stay unseen: network file systems keep what they know."""
RETRY_SECONDS = 60.0
"""How long to wait after the engine took no more allocations."""


class Phase(Enum):
    """What the engine says about an allocation that it has."""

    QUEUED = auto()
    RUNNING = auto()
    CANCELLED = auto()
    LOST = auto()
    """The engine has lost it, as it has lost all others: it says nothing about the allocation."""


class Standing(NamedTuple):
    """What the engine says about an allocation, and why in its words (why it is queued); "" if it doesn't."""

    phase: Phase
    why: str = ""


class Cancelled(NamedTuple):
    """How many allocations an engine was asked to end that were running, and that were queued."""

    running: int = 0
    queued: int = 0


class RefusedError(RlotteryError):
    """The engine takes no more allocations now.

    Attributes:
        fewer_may_do: whether it may take fewer of them: a site may limit how many are submitted together.
    """

    def __init__(self, why: str, *, fewer_may_do: bool = True):
        super().__init__(why)
        self.fewer_may_do = fewer_may_do


class Engine(Protocol):
    """What is different for each engine.

    Attributes:
        name: how messages call it.
        place: where `rlottery.study.cancelling` finds its allocations: "slurm", or the address of a scheduler.
        poll_seconds: the least time between two looks at it.
        most_at_once: the most allocations that are handed in together.
        capacity: the most allocations at a time, queued or running. It may change.
    """

    name: str
    place: str
    poll_seconds: float
    most_at_once: int
    capacity: int

    def hand_in(self, allocations: Sequence[Allocation]) -> list[str]:
        """Have `Allocation.command` run on a node for each of these, which belong to one batch.

        Returns the engine's names for them. Raises RefusedError if it takes no more now.
        """

    def standings(self) -> Mapping[tuple[str, int], Standing] | None:
        """What the engine has, by `Allocation.key`; None if it can't be asked now."""


@dataclass(eq=False)
class AllocationWorker:
    """An allocation and those of its jobs that this command follows.

    Attributes:
        places: the place of each job among those of the allocation.
        name: what the engine calls it.
        was_left: whether another command has handed it in.
        unlisted: how often in a row the engine has not listed it.
    """

    allocation: Allocation
    jobs: Mapping[int, Job]
    places: Mapping[int, int]
    name: str
    was_left: bool = False
    standing: Standing | None = None
    unlisted: int = 0
    began: bool = False
    _ends: dict[int, End] = field(default_factory=dict)
    _seen: float | None = None

    def look(self) -> None:
        """Read the file that its node writes."""
        self.began, self._ends = self.allocation.read()

    def queued(self) -> str:
        if self.standing is not None and self.standing.phase is Phase.QUEUED:
            why = f": {self.standing.why}" if self.standing.why else ""
            return f"queued as {self.name}{why}"
        return "" if self.began else f"handed in as {self.name}"

    @property
    def is_complete(self) -> bool:
        """Whether each of its jobs has ended."""
        return all(place in self._ends for place in self.places.values())

    @property
    def is_gone(self) -> bool:
        """Whether the engine doesn't have it any more."""
        return self.unlisted >= 2 or self._is_cancelled or self.was_lost

    @property
    def was_lost(self) -> bool:
        """Whether the engine has lost it, by no fault of its own."""
        return self.standing is not None and self.standing.phase is Phase.LOST

    def has_ended(self) -> bool:
        return (self.is_complete or self.is_gone) and self._is_visible()

    def endings(self) -> dict[int, Ending]:
        ended = {number: self._ends[place] for number, place in self.places.items() if place in self._ends}
        found = {number: _ending(end) for number, end in ended.items()} if self._is_visible() else {}
        if self.has_ended():
            rest = Ending(STOPPED, "") if self._is_cancelled and not self.was_left else self._lost
            found |= {number: rest for number in self.jobs if number not in found}
        return found

    @property
    def _lost(self) -> Ending:
        what = "was lost with the scheduler" if self.was_lost else "ended early"
        return Ending(AGAIN_LATER, f"{self.name} {what}; handed in again")

    @property
    def _is_cancelled(self) -> bool:
        return self.standing is not None and self.standing.phase is Phase.CANCELLED

    def stop(self) -> None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...

    def _is_visible(self) -> bool:
        """Whether what the nodes have written can be seen here, or never will be."""
        if self._seen is None and self._ends:
            self._seen = time.monotonic()
        done = [number for number, place in self.places.items() if self._state(place) in ("DONE", "FOUND")]
        waited = self._seen is not None and time.monotonic() - self._seen > VISIBLE_SECONDS
        return waited or all(self.jobs[n].files.manifest.exists() for n in done if self.jobs[n].stage in TRAINING)

    def _state(self, place: int) -> str:
        return self._ends[place].state if place in self._ends else ""


def _ending(end: End) -> Ending:
    """How a job ended, for the executor. What was skipped waits: the executor knows why."""
    if end.state == JobState.SKIPPED.name:
        return Ending(AGAIN_LATER, "")
    return Ending(0, "") if end.state in ("DONE", "FOUND", "DIVERGED") else Ending(FAILED, end.message)


class ClusterBackend:
    """Hands allocations in to an engine and follows them.

    Args:
        cores: how many runs an allocation does at a time.
        say: shows a line.
        may_hand_in: whether this command hands in allocations; if not, another one does, and this one only follows
            what it finds. Asked at each look.
    """

    is_remote = True

    def __init__(
        self,
        store: Store,
        engine: Engine,
        cores: int,
        say: Callable[[str], None],
        may_hand_in: Callable[[], bool] = lambda: True,
    ):
        self.cores: int | None = cores
        self.poll_seconds = engine.poll_seconds
        self._store, self._engine, self._say, self._may_hand_in = store, engine, say, may_hand_in
        self._workers: list[AllocationWorker] = []
        self._batches: set[str] = set()
        self._unbegun: dict[Key, int] = {}
        self._turn = 0
        self._most = engine.most_at_once
        self._refused: float | None = None
        self._said = ""
        self._hands_in = False

    @property
    def capacity(self) -> int | None:
        return self._engine.capacity

    def adopt(self, jobs: Mapping[int, Job]) -> Sequence[AllocationWorker]:
        found = [] if self._hands_in else self._find(jobs)
        if not self._hands_in and self._may_hand_in():
            self._hands_in = True
            forget_sessions(self._store)
        self._workers += found
        self._look()
        return found

    def submit(self, bundles: Sequence[Mapping[int, Job]]) -> Sequence[AllocationWorker | RlotteryError | None]:
        answers: list[AllocationWorker | RlotteryError | None] = []
        while len(answers) < len(bundles):
            answers += self._hand_in(bundles[len(answers) :][: self._most])
        return answers

    def record_failure(self, job: Job, why: str) -> None:
        """Nothing: the node has recorded it, which has the lock of the run."""

    def close(self) -> None:
        """Nothing: the engine isn't this command's."""

    def _hand_in(self, bundles: Sequence[Mapping[int, Job]]) -> Sequence[AllocationWorker | RlotteryError | None]:
        """Hand in some bundles together. Returns an answer for each; none if fewer are to be tried."""
        resting = self._refused is not None and time.monotonic() - self._refused < RETRY_SECONDS
        if not self._hands_in or resting:
            return [None] * len(bundles)
        failed = [self._failure(jobs) for jobs in bundles]
        sound = [jobs for jobs, why in zip(bundles, failed, strict=True) if why is None]
        handed_in: list[AllocationWorker | None] = [None] * len(sound)
        if sound:
            allocations = write_batch(
                self._store, [[*jobs.values()] for jobs in sound], self.cores or 1, self._engine.place
            )
            self._batches.add(allocations[0].batch)
            try:
                names = self._engine.hand_in(allocations)
                note_names(allocations, names)
                self._refused, self._most = None, min(2 * self._most, self._engine.most_at_once)
                handed_in = [
                    AllocationWorker(allocation, jobs, {number: place for place, number in enumerate(jobs)}, name)
                    for allocation, jobs, name in zip(allocations, sound, names, strict=True)
                ]
                self._workers += [worker for worker in handed_in if worker is not None]
            except RefusedError as refusal:
                forget_batch(allocations)
                if refusal.fewer_may_do and len(sound) > 1:
                    self._most = len(sound) // 2
                    return []
                self._refuse(refusal)
        rest = iter(handed_in)
        return [next(rest) if why is None else why for why in failed]

    def _refuse(self, refusal: RefusedError) -> None:
        self._refused = time.monotonic()
        if str(refusal) != self._said:
            self._said = str(refusal)
            self._say(f"{self._engine.name} takes no more allocations now: {refusal}. Trying again every minute.")

    def _failure(self, jobs: Mapping[int, Job]) -> RlotteryError | None:
        """Why these jobs aren't handed in again: their allocations end before they begin."""
        if all(self._unbegun.get(job.key, 0) < MOST_UNBEGUN for job in jobs.values()):
            return None
        return RlotteryError(
            f"Its allocation ended {MOST_UNBEGUN} times before it began. The node may not share {self._store.root} or "
            f"{sys.executable}, or a line of `setup` in the profile fails. What it printed is in "
            f"{self._store.cluster_jobs}."
        )

    def _find(self, jobs: Mapping[int, Job]) -> list[AllocationWorker]:
        """The allocations of other commands that still do some of these jobs. The latest one has a lost one's jobs."""
        batches = [name for name in reversed(batch_names(self._store)) if name not in self._batches]
        numbers = {key_of(job): number for number, job in jobs.items()} if batches else {}
        found = []
        for batch in batches:
            self._batches.add(batch)
            for allocation, name, keys in known_allocations(self._store, batch):
                _, ends = allocation.read()
                places = {numbers[key]: place for place, key in enumerate(keys) if key in numbers and place not in ends}
                for number in places:
                    numbers.pop(key_of(jobs[number]))
                if places:
                    mine = {number: jobs[number] for number in places}
                    found.append(AllocationWorker(allocation, mine, places, name or batch, was_left=True))
        return found

    def _look(self) -> None:
        """Ask the engine, and read the files of allocations that it has not, and of some others."""
        standings = self._engine.standings() if self._workers else None
        if standings is not None:
            for worker in self._workers:
                worker.standing = standings.get(worker.allocation.key)
                worker.unlisted = 0 if worker.standing else worker.unlisted + 1
        turn = [(self._turn + place) % len(self._workers) for place in range(min(FILES_AT_ONCE, len(self._workers)))]
        self._turn += FILES_AT_ONCE
        for place in turn:
            self._workers[place].look()
        for worker in [worker for worker in self._workers if worker.is_gone]:
            worker.look()
        for worker in [worker for worker in self._workers if worker.has_ended()]:
            self._workers.remove(worker)
            counts = not (worker.was_lost or worker.was_left)
            for job in worker.jobs.values():
                self._unbegun[job.key] = 0 if worker.began else self._unbegun.get(job.key, 0) + counts
