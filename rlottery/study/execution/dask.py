"""Dask: an allocation is a task of a scheduler that runs already (``--on dask --scheduler ADDRESS``).

A task takes one thread of a worker, starts a node process there and waits for it. Dask queues the tasks, places them,
notices lost workers, and starts their tasks on others; after the fourth loss it gives a task up (KilledWorker), which
is then handed in anew. Either way the node goes on at the run's checkpoint, and
`rlottery.study.execution.sessions` says when to stop.

The scheduler keeps the tasks as published datasets, so that they go on without the command, and a later one finds them.
"""

import contextlib
import subprocess
import sys
import time
import uuid
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rlottery.errors import StudyError
from rlottery.storage.disk import write_bytes
from rlottery.storage.paths import Store
from rlottery.study.execution.allocations import Allocation, jobs_folder
from rlottery.study.execution.cluster import Phase, RefusedError, Standing

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS = 20.0
"""How long the scheduler may take to answer, at first and whenever it has been lost."""
WAIT_SECONDS = 0.5
"""How often a task looks at its node process, and at whether it is still wanted."""
_PREFIX = "rlottery-"


class Dask:
    """A Dask cluster (`cluster.Engine`).

    It is handed in more than it has threads for, so that free threads needn't wait for the command, and a cluster that
    adapts to its queue adds workers.

    Attributes:
        threads: how many its workers have together.

    Raises:
        StudyError: no scheduler answers there, it has no workers, or one of them can't do runs of this study.
    """

    name = "Dask"
    poll_seconds = 1.0
    most_at_once = 500

    def __init__(self, store: Store, address: str):
        self._store, self._address = store, address
        self._client = connect(address)
        self._futures: dict[str, Future[Any]] = {}
        try:
            check(self._client, address, store)
            self._count_threads()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | TimeoutError):
                raise StudyError(f"The Dask scheduler at {address} stopped answering: {_line(error)}") from None
            raise

    def hand_in(self, allocations: Sequence[Allocation]) -> list[str]:
        jobs_folder(allocations[0]).mkdir(parents=True, exist_ok=True)
        named = {f"{_PREFIX}{allocation.batch}-{allocation.index}": allocation for allocation in allocations}
        try:
            self._reconnect()
            futures = {name: self._submit(name, allocation) for name, allocation in named.items()}
            self._client.publish_dataset(**futures)
        except (OSError, TimeoutError) as error:
            raise RefusedError(f"the scheduler at {self._address} doesn't answer: {_line(error)}") from None
        self._futures |= futures
        return list(named)

    def _submit(self, name: str, allocation: Allocation) -> "Future[Any]":
        log = jobs_folder(allocation).absolute() / f"{allocation.index}.log"
        return self._client.submit(do_allocation, allocation.command[1:], str(log), key=name, pure=False)

    def standings(self) -> Mapping[tuple[str, int], Standing] | None:
        try:
            self._reconnect()
            listed = {name for name in self._client.list_datasets() if str(name).startswith(_PREFIX)}
            for name in listed - self._futures.keys():
                self._futures[name] = self._client.get_dataset(name)
            for name in list(self._futures):
                if name not in listed or self._futures[name].status != "pending":
                    del self._futures[name]
                    with contextlib.suppress(KeyError):
                        self._client.unpublish_dataset(name)
            self._count_threads()
        except (OSError, TimeoutError, KeyError):  # KeyError: another command has removed one meanwhile
            return None
        return {_key(name): Standing(Phase.RUNNING) for name in self._futures}

    def close(self) -> None:
        """Leave the cluster. What was handed in goes on."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)

    def _count_threads(self) -> None:
        workers = self._client.scheduler_info(n_workers=-1)["workers"].values()
        self.threads = sum(worker["nthreads"] for worker in workers)
        self.capacity = 2 * self.threads + 1

    def _reconnect(self) -> None:
        """Connect again if the scheduler was lost. What the lost one had is gone. Raises OSError."""
        if self._client.status == "running":
            return
        self.close()
        self._client = _client(self._address)
        self._futures.clear()


def do_allocation(arguments: Sequence[str], log: str) -> int:
    """The task: run a command of Python on a worker, and wait. Returns its exit code.

    The command is asked to save its work and to end (SIGTERM) when the worker closes, or when the task is cancelled.
    It must notice by itself that the worker has died.

    Args:
        log: the file that its output is appended to.
    """
    from distributed import Status, get_worker

    worker = get_worker()
    task = worker.get_current_task()
    with Path(log).open("ab") as output:
        process = subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    while process.poll() is None:
        state = worker.state.tasks.get(task)
        if worker.status not in (Status.running, Status.paused) or state is None or state.state != "executing":
            process.terminate()
        time.sleep(WAIT_SECONDS)
    return process.returncode


def connect(address: str) -> "Client":
    """A client of the scheduler at this address. Raises StudyError."""
    try:
        return _client(address)
    except ImportError:
        raise StudyError(
            f"--on dask needs Dask: {sys.executable} -m pip install 'rlottery[dask]', or uv sync --extra dask"
        ) from None
    except (OSError, TimeoutError, ValueError) as error:
        raise StudyError(
            f"No Dask scheduler answers at {address}: {_line(error)}. Give the address that `dask scheduler` prints "
            "(--scheduler tcp://HOST:8786), and start it if it doesn't run."
        ) from None


def _client(address: str) -> "Client":
    from distributed import Client
    from distributed.versions import VersionMismatchWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)  # `check` says what matters
        return Client(address, timeout=CONNECT_SECONDS, set_as_default=False, name="rlottery")


def check(client: "Client", address: str, store: Store) -> None:
    """Raise StudyError if there are no workers, or if one of them can't do runs of the study. Nothing is submitted."""
    versions = client.get_versions(packages=["rlottery"])
    if not versions["workers"]:
        raise StudyError(
            f"The Dask scheduler at {address} has no workers. Start some on machines that share {store.root}: "
            f"dask worker {address} --nthreads NUMBER_OF_CORES"
        )
    for place, found in [("scheduler", versions["scheduler"]), *versions["workers"].items()]:
        for package in ("rlottery", "distributed"):
            other, own = found["packages"].get(package), versions["client"]["packages"].get(package)
            if other != own:
                raise StudyError(
                    f"The Dask {place if place == 'scheduler' else f'worker at {place}'} has "
                    f"{f'{package} {other}' if other else f'no {package}'}, and this command has {own}. Start the "
                    "scheduler and all workers with the same versions."
                )
    mark = (store.cluster / f"shared-{uuid.uuid4().hex}").absolute()
    try:
        mark.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(mark, b"")
    except OSError as error:
        raise StudyError(
            f"{store.root} can't be written: {error.strerror}. Fix this, then run this command again."
        ) from None
    try:
        seen = client.run(is_file, str(mark))
    finally:
        mark.unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # unless something is there
            mark.parent.rmdir()
            store.root.rmdir()
    if blind := sorted(worker for worker, sees in seen.items() if not sees):
        raise StudyError(
            f"The Dask worker at {blind[0]} doesn't see {store.root.absolute()}. The data folder must be on a "
            "file system that this machine and all workers share, under the same path."
        )


def is_file(path: str) -> bool:
    """Whether a worker sees this file."""
    return Path(path).is_file()


def _key(name: str) -> tuple[str, int]:
    batch, _, index = name.removeprefix(_PREFIX).rpartition("-")
    return batch, int(index)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
