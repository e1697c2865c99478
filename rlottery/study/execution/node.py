"""What an allocation runs on its node: ``python -m rlottery.study.execution.node DATA BATCH INDEX [PARENT]``.

It does the jobs of the allocation as a command does its own: worker processes on the cores of the allocation, with the
locks of the runs. Each job's end goes to a file that the command which handed in the allocation reads. At SIGTERM, and
when its parent dies, the runs save checkpoints. The process ends with the exit code for "try again" if jobs are left.
An engine whose processes are killed names the parent, which may have died before this process asks for it.

A SIGUSR2 before the SIGTERM says that the allocation is stopped because it reaches its time limit.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from rlottery.errors import RlotteryError, StudyError
from rlottery.processes.stopping import TERMINATED, StopSignals
from rlottery.storage.local_modules import allow_local_modules
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.work_place import WorkPlace
from rlottery.study.execution.allocations import Allocation, End
from rlottery.study.execution.executor import Executor
from rlottery.study.execution.local import LocalBackend
from rlottery.study.execution.sessions import LIMIT_REACHED, begin_session, stop_session, why_stuck
from rlottery.study.execution.tracking import following
from rlottery.study.execution.worker import decode
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.plan import JobState, Tracked

ENTER_SECONDS = 300.0
"""How long to wait for a process that holds a run: the allocation's last session may still be ending elsewhere."""


def main(arguments: Sequence[str]) -> NoReturn:
    """Do the jobs of an allocation."""
    # Blocked and not ignored: it stays pending. Slurm sends it to all processes of a step, which inherit that.
    signal.pthread_sigmask(signal.SIG_BLOCK, {LIMIT_REACHED})
    data, batch, index, *parent = arguments
    try:
        done = do_jobs(Allocation(Store(Path(data)), batch, int(index)), int(parent[0]) if parent else os.getppid())
    except RlotteryError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(1) from None
    raise SystemExit(0 if done else TERMINATED)


def do_jobs(allocation: Allocation, parent: int) -> bool:
    """Do the jobs of an allocation that have not ended yet. Returns whether all have ended now.

    Args:
        parent: the process that has started this one. The work stops when it has died.
    """
    with StopSignals() as signals:

        def stop_wanted() -> bool:
            # What has started this process may die without a word to it, such as a worker of Dask.
            return signals.wanted() or os.getppid() != parent

        message = allocation.message()
        allow_local_modules(map(Path, message["modules"]))
        jobs = decode(message)
        if os.getppid() != parent:  # another node may have begun meanwhile, whose entries count
            return False
        session = allocation.note_beginning()
        _, ended = allocation.read()
        left = {place: job for place, job in enumerate(jobs) if place not in ended}
        _do(allocation, session, left, message["cores"], signals.wanted, stop_wanted)
    return not left


def _do(
    allocation: Allocation,
    session: str,
    left: dict[int, Job],
    cores: int,
    is_warned: Callable[[], bool],
    stop_wanted: Callable[[], bool],
) -> None:
    """Do these jobs. Those that have ended are removed."""
    store = allocation.store

    def end(place: int, state: JobState, message: str = "") -> None:
        del left[place]
        allocation.note_end(place, End(state.name, message.partition("\nlog: ")[0]), session)

    def fail(whys: Iterable[tuple[RunFiles, str]]) -> None:
        for files, why in whys:
            for place in [place for place, job in left.items() if why and job.files == files]:
                end(place, JobState.FAILED, why)

    with WorkPlace(store) as place:
        fail([(files, why_stuck(store, files)) for files in {job.files for job in left.values()}])
        try:
            if not _enter(place, {job.files for job in left.values()}, stop_wanted):
                return
        except StudyError as error:  # a node that was given up may still do them: they are for a later allocation
            print(f"error: {error}", file=sys.stderr)
            return
        # Only now: an allocation that waits for another one, which does the runs, isn't lost.
        fail([(files, begin_session(store, files)) for files in {job.files for job in left.values()}])
        places = list(left)
        tracked = [Tracked(left[number]) for number in places]

        def ended(item: Tracked) -> None:
            number = places[next(index for index, other in enumerate(tracked) if other is item)]
            if item.state is not JobState.STOPPED:
                end(number, item.state, item.message)

        jobs = [item.job for item in tracked]
        with following(jobs[0].config, jobs, partial(print, flush=True), stop_wanted) as followers:
            Executor(tracked, cores, followers.look, ended, stop_wanted, backend=LocalBackend(place)).run()
        if is_warned() and LIMIT_REACHED in signal.sigpending():
            fail([(files, stop_session(store, files)) for files in {job.files for job in left.values()}])


def _enter(place: WorkPlace, runs: Iterable[RunFiles], stop_wanted: Callable[[], bool]) -> bool:
    """Take the locks of the runs. Returns False if it is to stop. Raises StudyError if another process has one for too
    long."""
    enter = partial(place.enter, list(runs))
    deadline = time.monotonic() + ENTER_SECONDS
    while not stop_wanted():
        try:
            enter()
            return True
        except StudyError:
            if time.monotonic() > deadline:
                raise
        time.sleep(1.0)
    return False


if __name__ == "__main__":
    main(sys.argv[1:])
