"""Dask: an allocation is a task of a scheduler that runs already (``--on dask --scheduler ADDRESS``).

A task takes one thread of a worker, starts a node process there and waits for it (`dask_tasks.do_allocation`). Dask
queues the tasks, places them, notices lost workers, and starts their tasks on others; after the fourth loss it gives a
task up (KilledWorker), which is then handed in again. Either way the run continues from its checkpoint, and
`rlottery.study.execution.sessions` says when to stop.

The scheduler keeps the tasks as published datasets, so that they go on without the command, and a later one finds them.
Other studies may have tasks there: a study knows its own by the names of their batches, and leaves the others alone.
They are lost if the scheduler dies. Its workers close, their runs save, and the command hands them in again once a new
scheduler has the address.
"""

import contextlib
import logging
import time
import uuid
import warnings
from collections.abc import Callable, Mapping, Sequence, Set
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from rlottery.errors import StudyError, install_extra
from rlottery.storage.disk import write_bytes
from rlottery.storage.paths import Store
from rlottery.study.execution.allocations import Allocation, batch_names, jobs_folder
from rlottery.study.execution.cluster import Cancelled, Phase, RefusedError, Standing
from rlottery.study.execution.dask_tasks import do_allocation, is_file

if TYPE_CHECKING:
    from distributed import Client, Future

ANSWER_SECONDS = 20.0
"""How long the scheduler may take to answer."""
RECONNECT_SECONDS = 5.0
"""How long an attempt may take to connect to a scheduler that was lost. The command shows nothing new meanwhile."""
END_SECONDS = 10.0
"""How long a task may take to end once its node has recorded how its last job ended."""
_SAME = ["rlottery", "distributed"]
"""Packages that have the same versions everywhere."""
_PREFIX = "rlottery-"
_TO_DO = ("released", "waiting", "no-worker", "queued", "processing")
"""The states of a task that has not ended, in Dask's words."""


class Dask:
    """A Dask cluster (`cluster.Engine`).

    It is handed in more than it has threads for, so that free threads needn't wait for the command, and a cluster that
    adapts to its queue adds workers.

    Args:
        say: shows a line, when the scheduler or all workers are lost and when they are back.

    Attributes:
        place: the address of the scheduler.
        threads: how many its workers have together.

    Raises:
        StudyError: no scheduler answers there, it has no workers, or one of them can't do runs of this study.
    """

    name = "Dask"
    poll_seconds = 1.0
    most_at_once = 500

    def __init__(self, store: Store, address: str, say: Callable[[str], None] = lambda line: None):
        self._store, self._address, self._say, self.place = store, address, say, address
        self._lacks, self._scheduler = "", ""
        self._batches, self._kept, self._lost = set[str](), set[str](), set[str]()
        self._client = connect(address)
        try:
            check(self._client, address, store)
            self._look()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError | TimeoutError):
                raise StudyError(f"The Dask scheduler at {address} stopped answering: {_line(error)}") from None
            raise

    def hand_in(self, allocations: Sequence[Allocation]) -> list[str]:
        jobs_folder(allocations[0]).mkdir(parents=True, exist_ok=True)
        named = {f"{_PREFIX}{allocation.batch}-{allocation.index}": allocation for allocation in allocations}
        self._batches.add(allocations[0].batch)
        try:
            self._listed()
            futures = {name: self._submit(name, allocation) for name, allocation in named.items()}
            self._client.publish_dataset(**futures)  # from now on, the scheduler keeps them
        except (OSError, TimeoutError) as error:
            why = f"the scheduler at {self._address} doesn't answer: {_line(error)}"
            raise RefusedError(why, fewer_may_do=False) from None
        self._kept |= futures.keys()
        return list(named)

    def _submit(self, name: str, allocation: Allocation) -> "Future[int]":
        log = jobs_folder(allocation).absolute() / f"{allocation.index}.log"
        return self._client.submit(do_allocation, allocation.command[1:], str(log), key=name, pure=False)

    def standings(self) -> Mapping[tuple[str, int], Standing] | None:
        try:
            names = self._listed()
            states = self._ask("get_task_status", keys=names)
            if ended := [name for name in names if states[name] not in _TO_DO]:
                self._client.unpublish_dataset(ended, callback_timeout=ANSWER_SECONDS)
                self._kept.difference_update(ended)
        except (OSError, TimeoutError):
            self._note(f"The Dask scheduler at {self._address} doesn't answer. Waiting for it, or for a new one there.")
            return None
        self._note("" if self.threads else self._no_workers)
        phases = dict.fromkeys(self._lost, Phase.LOST)
        phases |= {name: Phase.RUNNING if states[name] == "processing" else Phase.QUEUED for name in names}
        return {_key(name): Standing(phase) for name, phase in phases.items() if name not in ended}

    def forget_ended(self) -> None:
        """Let the scheduler forget the tasks of a study whose jobs have all ended. Waits a moment for their ends."""
        until = time.monotonic() + END_SECONDS
        while any(standing.phase is not Phase.LOST for standing in (self.standings() or {}).values()):
            if time.monotonic() > until:
                return
            time.sleep(0.2)

    def close(self) -> None:
        """Leave the cluster. What was handed in goes on."""
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)

    def _listed(self) -> list[str]:
        """The names of the tasks of this study that the scheduler keeps.

        Raises:
            OSError, TimeoutError: it doesn't answer.
            StudyError: another scheduler has taken its place, with other versions.
        """
        if self._client.status != "running":
            self.close()
            self._client = _client(self._address, RECONNECT_SECONDS)
            check_versions(f"scheduler at {self._address}", self._ask("versions", packages=_SAME)["packages"])
        self._look()
        self._batches |= set(batch_names(self._store))
        names = _tasks_of(self._batches, self._client)
        self._kept |= set(names)
        return names

    def _ask(self, what: str, **arguments: Any) -> Any:
        """What the scheduler answers to one of its calls."""
        return _ask(self._client, what, **arguments)

    def _look(self) -> None:
        """Note how many threads there are, and what is lost if the scheduler is another one."""
        identity = self._ask("identity", n_workers=0)
        if identity["id"] != self._scheduler:
            self._scheduler, self._lost, self._kept = identity["id"], self._lost | self._kept, set()
        self.threads = int(identity["total_threads"])
        self.capacity = 2 * self.threads + 1

    @property
    def _no_workers(self) -> str:
        return (
            f"The Dask scheduler at {self._address} has no workers left. Waiting for new ones: "
            f"dask worker {self._address} --nthreads NUMBER_OF_CORES"
        )

    def _note(self, lacks: str) -> None:
        """Say what is waited for, if that is new, and that it is there again."""
        if lacks and lacks != self._lacks:
            self._say(lacks)
        if self._lacks and not lacks:
            self._say(f"The Dask scheduler at {self._address} has workers again.")
        self._lacks = lacks


class DaskTasks:
    """The tasks of a study, to cancel them (`cancelling.Jobs`). Other studies may have tasks there.

    Raises:
        StudyError: no scheduler answers at the address.
    """

    def __init__(self, store: Store, address: str):
        self.name = f"Dask at {address}"
        self._store, self._address, self._client = store, address, connect(address)

    def cancel_submitting(self, prefix: str) -> Cancelled:
        return Cancelled()

    def cancel(self) -> Cancelled:
        try:
            return self._cancel()
        except (OSError, TimeoutError) as error:
            raise StudyError(
                f"The Dask scheduler at {self._address} stopped answering: {_line(error)}. Run this command again."
            ) from None

    def close(self) -> None:
        with contextlib.suppress(Exception):
            self._client.close(timeout=1)

    def _cancel(self) -> Cancelled:
        names = _tasks_of(set(batch_names(self._store)), self._client)
        if not names:
            return Cancelled()
        states = _ask(self._client, "get_task_status", keys=names)
        # Nobody else wants their results, so the scheduler drops them, and workers ask their nodes to save and to end.
        self._client.unpublish_dataset(names, callback_timeout=ANSWER_SECONDS)
        left = [state for state in map(states.get, names) if state in _TO_DO]
        running = left.count("processing")
        return Cancelled(running, len(left) - running)


def connect(address: str) -> "Client":
    """A client of the scheduler at this address. Raises StudyError."""
    try:
        return _client(address, ANSWER_SECONDS)
    except ImportError:
        raise StudyError(f"--on dask needs Dask: {install_extra('dask')}") from None
    except (OSError, TimeoutError, ValueError) as error:
        raise StudyError(
            f"No Dask scheduler answers at {address}: {_line(error)}. Give the address that `dask scheduler` prints "
            "(--scheduler tcp://HOST:8786), and start it if it doesn't run."
        ) from None


def threads_at(address: str) -> int | None:
    """How many threads the workers of a scheduler have together; None if that can't be found out within seconds."""
    try:
        client = _client(address, RECONNECT_SECONDS)
    except (ImportError, OSError, TimeoutError, ValueError):
        return None
    with client, contextlib.suppress(OSError, TimeoutError):
        return int(client.scheduler_info(n_workers=0)["total_threads"])
    return None


def _client(address: str, seconds: float) -> "Client":
    from distributed import Client, Security
    from distributed.comm import get_address_host_port
    from distributed.versions import VersionMismatchWarning

    # The loss of a scheduler is reported in one line.
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)
    # A client whose address is wrong waits for 40 seconds when it is deleted, and ends with a traceback.
    get_address_host_port(address)
    if address.startswith(("tls:", "wss:")) and Security().get_connection_args("client")["ssl_context"] is None:
        raise ValueError("Dask's configuration has no certificates for TLS (distributed.comm.tls)")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VersionMismatchWarning)  # `check` says what matters
        return Client(address, timeout=seconds, set_as_default=False, name="rlottery")


def check(client: "Client", address: str, store: Store) -> None:
    """Raise StudyError if there are no workers, or if one of them can't do runs of the study. Nothing is submitted."""
    versions = client.get_versions(packages=_SAME)
    if not versions["workers"]:
        raise StudyError(
            f"The Dask scheduler at {address} has no workers. Start some on machines that share {store.root}: "
            f"dask worker {address} --nthreads NUMBER_OF_CORES"
        )
    check_versions(f"scheduler at {address}", versions["scheduler"]["packages"])
    for worker, found in versions["workers"].items():
        check_versions(f"worker at {worker}", found["packages"])
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


def check_versions(place: str, packages: Mapping[str, Any]) -> None:
    """Raise StudyError if the scheduler or a worker has other versions of packages than this command.

    Args:
        place: how to call it in the message.
        packages: its versions by package.
    """
    for package in _SAME:
        other, own = packages.get(package), version(package)
        if other != own:
            raise StudyError(
                f"The Dask {place} has {f'{package} {other}' if other else f'no {package}'}, and this command has "
                f"{own}. Start the scheduler and all workers with the same versions."
            )


def _ask(client: "Client", what: str, **arguments: Any) -> Any:
    return client.sync(getattr(client.scheduler, what), callback_timeout=ANSWER_SECONDS, **arguments)


def _tasks_of(batches: Set[str], client: "Client") -> list[str]:
    """The names of the tasks of some batches that the scheduler keeps."""
    listed = map(str, _ask(client, "publish_list"))
    return [name for name in listed if name.startswith(_PREFIX) and _key(name)[0] in batches]


def _key(name: str) -> tuple[str, int]:
    batch, _, index = name.removeprefix(_PREFIX).rpartition("-")
    return batch, int(index)


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
