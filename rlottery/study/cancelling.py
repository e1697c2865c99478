"""Cancelling what a study has on clusters: `rlottery cancel`.

The command that submits jobs ends first, so that it submits no others meanwhile: it is asked to by a file that it looks
at (`allocations.ask_to_end`), and if it is a job itself, that is cancelled. Then this command takes the lock of the one
that submits, asks each engine to end what it has of the study, and removes the files of the allocations. Runs that were
under way save checkpoints, as at any other SIGTERM.
"""

import time
from collections.abc import Callable
from typing import Protocol

from rlottery.errors import StudyError
from rlottery.report.wording import plural
from rlottery.storage.heartbeat import STALE_SECONDS
from rlottery.storage.locks import RunLock, holder_of, try_lock
from rlottery.storage.paths import Store
from rlottery.study.clusters import HEAD
from rlottery.study.execution.allocations import ask_to_end, batch_names, forget_cancelled, places
from rlottery.study.execution.cluster import Cancelled
from rlottery.study.execution.dask import DaskTasks
from rlottery.study.execution.slurm import PLACE, SlurmJobs

HEAD_SECONDS = STALE_SECONDS + 60.0
"""How long the command that submits jobs may take to end. File systems show it the request late, or it may be dead."""


class Jobs(Protocol):
    """What an engine has of a study.

    Attributes:
        name: how messages call the engine.
    """

    name: str

    def cancel_submitting(self, prefix: str) -> Cancelled:
        """Cancel the jobs that submit others, whose folders begin with this prefix. Raises StudyError."""

    def cancel(self) -> Cancelled:
        """Cancel everything of the study. Raises StudyError."""

    def close(self) -> None:
        """Leave the engine."""


def cancel_study(store: Store, scheduler: str | None, say: Callable[[str], None]) -> None:
    """Cancel all jobs that a study has on clusters. Says what was cancelled, or that there is nothing.

    Args:
        scheduler: the address of Dask's scheduler, if it isn't the one that the study was handed in to.

    Raises:
        StudyError: an engine can't be asked, and nothing was cancelled; or it has not cancelled all jobs; or the
            command that submits jobs doesn't end.
    """
    submitting = holder_of(store.head)
    if not _places(store, scheduler) and submitting is None:
        say(f"Nothing to cancel: {store.root} has no jobs on a cluster.")
        return
    opened: dict[str, Jobs] = {}
    lock = None
    try:
        _open(store, scheduler, opened)
        ask_to_end(store)
        cancelled = {place: [jobs.cancel_submitting(HEAD)] for place, jobs in opened.items()}
        lock = _wait_for_the_others(store)
        _open(store, scheduler, opened)  # it may have been the first to submit
        batches = batch_names(store)
        for place, jobs in opened.items():
            cancelled.setdefault(place, []).append(jobs.cancel())
        forget_cancelled(store, batches)
    finally:
        if lock is not None:
            lock.release()
        for jobs in opened.values():
            jobs.close()
    if lock is not None and submitting is not None:
        say(f"The command that submitted jobs has ended: {submitting}.")
    told = [line for place, counts in cancelled.items() if (line := _line(opened[place].name, counts))]
    for line in told or [f"Nothing to cancel: no jobs of {store.root} are left on {_names(opened)}."]:
        say(line)
    if any("running" in line for line in told):
        say("Runs that were under way save checkpoints first. To continue, run the study again.")
    if lock is None:
        raise StudyError(
            f"The command that submits jobs has not ended: {holder_of(store.head) or submitting}. It may submit "
            "others. End it, then run this command again."
        )


def _places(store: Store, scheduler: str | None) -> set[str]:
    """Where the study has jobs. A job of `--detach` may not have submitted any yet."""
    found = places(store) | ({PLACE} if any(store.cluster_jobs.glob(f"{HEAD}-*")) else set())
    return found if scheduler is None else (found & {PLACE}) | {scheduler}


def _open(store: Store, scheduler: str | None, opened: dict[str, Jobs]) -> None:
    """Connect to the engines that the study has jobs on. Raises StudyError."""
    for place in sorted(_places(store, scheduler) - opened.keys()):
        opened[place] = SlurmJobs(store) if place == PLACE else DaskTasks(store, place)


def _wait_for_the_others(store: Store) -> RunLock | None:
    """Wait until the command that submits jobs has ended. Returns its lock; None if it doesn't end."""
    deadline = time.monotonic() + HEAD_SECONDS
    while (lock := try_lock(store.head)) is None and time.monotonic() < deadline:
        time.sleep(0.5)
    return lock


def _line(name: str, counts: list[Cancelled]) -> str:
    """``Cancelled 3 jobs on Slurm: 1 running, 2 queued.``; "" if there were none."""
    running, queued = (sum(column) for column in zip(*counts, strict=True))
    states = [f"{number} {what}" for number, what in ((running, "running"), (queued, "queued")) if number]
    return f"Cancelled {plural(running + queued, 'job')} on {name}: {', '.join(states)}." if states else ""


def _names(opened: dict[str, Jobs]) -> str:
    return " and ".join(jobs.name for jobs in opened.values()) or "a cluster"
