"""What the executor needs of a machine or a cluster: something that starts workers and reports how their jobs ended.

`rlottery.study.execution.local` starts processes on this machine. Another backend is a module with two classes like
these, on a machine or a cluster that shares the files of the store. The executor decides what runs when, and knows
nothing else.

A backend either `is_remote` or not. If it isn't, its workers belong to the command: they are asked to stop and killed
with it. If it is, they are allocations of an engine that queues them, restarts them and notices lost nodes. They go on
when the command ends, and a later command takes them over (`adopt`). `rlottery cancel` ends them
(`rlottery.study.cancelling`), and no command does.
"""

from collections.abc import Mapping, Sequence
from typing import Protocol

from rlottery.errors import RlotteryError
from rlottery.study.execution.endings import Ending
from rlottery.study.planning.jobs import Job


class Worker(Protocol):
    """A process or an allocation that does one or more jobs. The executor numbers the jobs as it likes."""

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The worker's jobs, by the executor's numbers."""

    def queued(self) -> str:
        """What the worker waits for before it begins, such as ``queued as 1042_7``; "" once it has begun."""

    def has_ended(self) -> bool:
        """Whether the process has ended."""

    def endings(self) -> dict[int, Ending]:
        """How the jobs ended that have ended, by number.

        If the process ends before it reports a job's end, its exit code is the job's. A process killed by signal N has
        code -N. A job that the engine has lost, and one that was stopped at a time limit, ends with `endings.AGAIN`.
        """

    def stop(self) -> None:
        """Ask the worker to save checkpoints and end; it may take `executor.GRACE_SECONDS`."""

    def terminate(self) -> None:
        """Ask the process to end now, if it still runs."""

    def kill(self) -> None:
        """End the process and all that it has started, if they still run, and wait until it has ended.

        A process that was asked to end by `terminate` may take some seconds first, and so may what it has started.
        """


Answer = Worker | RlotteryError | OSError | None
"""What becomes of jobs that were handed in: a worker; why it can't be started; or None for "not now, ask again"."""


class Backend(Protocol):
    """Starts workers.

    Attributes:
        is_remote: whether the workers outlive the command. If so, they run on other machines.
        cores: how many runs each worker does at a time, each run with all its stages. None if `bundles` decides.
        poll_seconds: the least time between two looks at the workers.
    """

    is_remote: bool
    cores: int | None
    poll_seconds: float

    @property
    def capacity(self) -> int | None:
        """The most workers at a time, queued or running. It may change. None if the command decides."""

    def adopt(self, jobs: Mapping[int, Job]) -> Sequence[Worker]:
        """Workers from earlier commands that still do some of these jobs. Called before each submission."""

    def submit(self, bundles: Sequence[Mapping[int, Job]]) -> Sequence[Answer]:
        """Start a worker on each of these bundles of jobs; an answer for each.

        Each job's folder and log exist, and the worker appends to the log. An OSError says that a process can't be
        started. If others run and the machine lacks room for another, the executor tries again once one has ended.
        """

    def record_failure(self, job: Job, why: str) -> None:
        """Record that a job failed whose worker ended before it could (`failed_run.record_failure`)."""

    def close(self) -> None:
        """Let go of what starts workers. Called when the executor ends; workers that outlive the command go on."""
