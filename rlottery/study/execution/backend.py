"""What the executor needs of a machine or a cluster: something that starts workers and reports how their jobs ended.

`rlottery.study.execution.local` is the only backend. Another one, such as a cluster's scheduler, is a new module with
two classes like these; it starts `rlottery.study.execution.worker` with the text of `worker.encode` on standard input,
wherever it runs, and the files of the store are shared. A worker stops when its standard input ends, so the backend
keeps it open. The executor decides what runs when, and knows nothing else.
"""

from collections.abc import Mapping
from typing import Protocol

from rlottery.study.execution.endings import Ending
from rlottery.study.planning.jobs import Job


class Worker(Protocol):
    """A process that does one or more jobs. The executor numbers the jobs as it likes."""

    @property
    def jobs(self) -> Mapping[int, Job]:
        """The worker's jobs, by the executor's numbers."""

    def has_ended(self) -> bool:
        """Whether the process has ended."""

    def endings(self) -> dict[int, Ending]:
        """How the jobs ended that have ended, by number.

        If the process ends before it reports a job's end, its exit code is the job's. A process killed by signal N has
        code -N.
        """

    def stop(self) -> None:
        """Ask the worker to save checkpoints and end; it may take `executor.GRACE_SECONDS`."""

    def terminate(self) -> None:
        """Ask the process to end now, if it still runs."""

    def kill(self) -> None:
        """End the process and all that it has started, if they still run, and wait until it has ended.

        A process that was asked to end by `terminate` may take some seconds first, and so may what it has started.
        """


class Backend(Protocol):
    """Starts workers."""

    def start(self, jobs: Mapping[int, Job]) -> Worker:
        """Start a worker on these jobs. Each job's folder and log exist, and the worker appends to the log.

        Raises:
            OSError: the worker can't be started. If others run and the machine lacks room for another process, the
                executor tries again once one has ended.
            RlotteryError: it can't be started for a reason that passes.
        """
