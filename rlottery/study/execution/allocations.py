"""Allocations: bundles of jobs that an engine runs on nodes, and the files by which a command and the nodes talk.

data/.cluster/study-{digest}.json     the settings of the study, written once
data/.cluster/{batch}.json            allocations that were handed in together: their jobs, the engine and its names
data/.cluster/{batch}/{index}.jsonl   how the jobs of an allocation ended, written by the node that does them
data/.cluster/jobs/{batch}/           what the engine keeps about the jobs, and what they print
data/.cluster/cancelled               a word for the latest `rlottery cancel`, at which commands end
data/.cluster/sessions/               how far each run was whenever a node began with it (`sessions`)
"""

import contextlib
import hashlib
import json
import os
import secrets
import shutil
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rlottery.errors import StudyError
from rlottery.processes.children import python_command
from rlottery.storage.disk import read_json, write_bytes
from rlottery.storage.local_modules import local_folders
from rlottery.storage.paths import Store

if TYPE_CHECKING:
    from rlottery.study.planning.jobs import Job

_CANCELLED = "cancelled"
_MAX_BYTES, _MAX_VALUES = 2**26, 2**22
"""More than the files of ten thousand runs have."""


class End(NamedTuple):
    """How a job of an allocation ended: the name of a `JobState`, and a message."""

    state: str
    message: str = ""


@dataclass(frozen=True)
class Allocation:
    """An allocation's place: the batch that it was handed in with, and its index there."""

    store: Store
    batch: str
    index: int

    @property
    def key(self) -> tuple[str, int]:
        """What it is called in one study."""
        return self.batch, self.index

    @property
    def command(self) -> list[str]:
        """The command that does its jobs on a node."""
        place = [str(self.store.root.absolute()), self.batch, str(self.index)]
        return [*python_command("rlottery.study.execution.node"), *place]

    @property
    def _file(self) -> Path:
        return self.store.cluster / self.batch / f"{self.index}.jsonl"

    def message(self) -> dict[str, Any]:
        """What a node needs: what `worker.decode` takes, the number of cores, and folders with modules."""
        batch = _read(self.store.cluster / f"{self.batch}.json")
        study = _read(self.store.cluster / batch["study"])
        return study | {"jobs": batch["allocations"][self.index], "cores": batch["cores"], "modules": batch["modules"]}

    def note_beginning(self) -> str:
        """Record that a node has begun with the jobs. Returns what to call this session."""
        session = secrets.token_hex(4)
        self._append({"session": session, "host": socket.gethostname(), "pid": os.getpid()})
        return session

    def note_end(self, place: int, end: End, session: str) -> None:
        """Record how the job at this place ended."""
        self._append([place, *end, session])

    def read(self) -> tuple[bool, dict[int, End]]:
        """Whether a node has begun, and how the jobs ended that have ended, by their places.

        A node that was given up may live on, and see that another has taken its runs over. It has no say any more.
        """
        last, ends = "", {}
        with contextlib.suppress(FileNotFoundError):
            for line in self._file.read_bytes().split(b"\n"):
                with contextlib.suppress(ValueError, TypeError, AttributeError):
                    match json.loads(line):  # a full disk may have cut it off
                        case [int(place), str(state), str(message), session] if session == last:
                            ends[place] = End(state, message)
                        case {"session": str(session)}:
                            last = session
        return bool(last), ends

    def _append(self, entry: object) -> None:
        append_line(self._file, entry)


def append_line(path: Path, entry: object) -> None:
    """Append a line of JSON to a file that one process at a time writes. It is closed so that other machines see it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        file.write(f"\n{json.dumps(entry)}\n".encode())  # the last one may have been cut off
        file.flush()
        os.fsync(file.fileno())


def write_batch(store: Store, bundles: Sequence[Sequence["Job"]], cores: int, place: str) -> list[Allocation]:
    """Write the files of allocations with these jobs, one for each bundle.

    Args:
        place: where the engine is (`cluster.Engine.place`).
    """
    from rlottery.study.execution.worker import encode_jobs, encode_study  # `status` reads, and needs no worker

    config = bundles[0][0].config
    study = json.dumps(encode_study(config) | {"names": [task.name for task in config.tasks]}).encode()
    shared = store.cluster / f"study-{hashlib.sha256(study).hexdigest()[:16]}.json"
    store.cluster.mkdir(parents=True, exist_ok=True)
    write_bytes(shared, study)  # even if it is there: who made it is not known
    name = f"{datetime.now():%Y%m%d-%H%M%S-%f}-{secrets.token_hex(2)}"
    (store.cluster / name).mkdir()  # new, so that nobody has put anything there
    for index in range(len(bundles)):  # now: a network file system remembers for a while that a file isn't there
        (store.cluster / name / f"{index}.jsonl").touch()
    listed = [encode_jobs(jobs) for jobs in bundles]
    settings = {"study": shared.name, "cores": cores, "modules": local_folders(), "place": place}
    batch = settings | {"allocations": listed, "names": None}
    write_bytes(store.cluster / f"{name}.json", json.dumps(batch).encode())
    return [Allocation(store, name, index) for index in range(len(bundles))]


def note_names(allocations: Sequence[Allocation], names: Sequence[str]) -> None:
    """Record what the engine calls the allocations of a batch."""
    path = allocations[0].store.cluster / f"{allocations[0].batch}.json"
    write_bytes(path, json.dumps(_read(path) | {"names": list(names)}).encode())


def forget_batch(allocations: Sequence[Allocation]) -> None:
    """Remove the files of a batch that the engine did not take. If it did take it, its nodes do nothing."""
    folder = allocations[0].store.cluster / allocations[0].batch
    folder.with_name(f"{folder.name}.json").unlink(missing_ok=True)
    for of_batch in (folder, jobs_folder(allocations[0])):
        shutil.rmtree(of_batch, ignore_errors=True)


def places(store: Store) -> set[str]:
    """Where the engines are that the batches of a study were handed in to (`cluster.Engine.place`)."""
    found = set()
    for batch in batch_names(store):
        with contextlib.suppress(StudyError):
            found.add(str(_read(store.cluster / f"{batch}.json").get("place", "")))
    return found - {""}


def forget_cancelled(store: Store, batches: Sequence[str]) -> None:
    """Remove the files of batches that were cancelled, except what their jobs print. Nodes that begin do nothing."""
    for batch in batches:
        (store.cluster / f"{batch}.json").unlink(missing_ok=True)
        shutil.rmtree(store.cluster / batch, ignore_errors=True)


def ask_to_end(store: Store) -> None:
    """Ask the commands that submit or follow the allocations of a study to end (`end_asked`)."""
    store.cluster.mkdir(parents=True, exist_ok=True)
    write_bytes(store.cluster / _CANCELLED, secrets.token_hex(8).encode())


def end_asked(store: Store) -> bytes:
    """A word that is another one after each `ask_to_end`."""
    with contextlib.suppress(OSError):
        return (store.cluster / _CANCELLED).read_bytes()[:100]
    return b""


def jobs_folder(allocation: Allocation) -> Path:
    """The folder for what the engine keeps about the allocations of this one's batch."""
    return allocation.store.cluster_jobs / allocation.batch


class Known(NamedTuple):
    """An allocation that was handed in, the engine's name for it ("" if unknown), and its jobs' keys by place.

    A job is (name of its task, seed, arm, stage). Two commands may number the tasks differently.
    """

    allocation: Allocation
    name: str
    jobs: list[tuple[str, int, str, str]]


def batch_names(store: Store) -> list[str]:
    """The batches whose files exist, oldest first."""
    return sorted(path.stem for path in store.cluster.glob("[0-9]*.json"))


def known_allocations(store: Store, batch: str) -> list[Known]:
    """The allocations of a batch; none if its files are damaged."""
    with contextlib.suppress(StudyError, KeyError, TypeError, IndexError):
        read = _read(store.cluster / f"{batch}.json")
        tasks = _read(store.cluster / read["study"])["names"]
        names = read["names"] or [""] * len(read["allocations"])
        return [
            Known(Allocation(store, batch, index), names[index], [_key(job, tasks) for job in jobs])
            for index, jobs in enumerate(read["allocations"])
        ]
    return []


class Open(NamedTuple):
    """An allocation that has not ended a run: what the engine calls it, and whether a node has begun with it."""

    name: str
    began: bool


def open_runs(store: Store) -> dict[tuple[str, int, str], Open]:
    """The allocations of the runs that were handed in and have not ended: by task, seed and arm, "" for dense agents.

    Whether the engine still has them, the engine knows.
    """
    found = {}
    for batch in batch_names(store):
        for allocation, name, jobs in known_allocations(store, batch):
            began, ends = allocation.read()
            for place, (task, seed, arm, _) in enumerate(jobs):
                if place not in ends:
                    found[task, seed, arm] = Open(name or batch, began)
    return found


def key_of(job: "Job") -> tuple[str, int, str, str]:
    """A job's key in `Known.jobs`."""
    return job.task.name, job.seed, job.arm_name if job.arm else "", job.stage


def _key(job: Mapping[str, Any], tasks: Sequence[str]) -> tuple[str, int, str, str]:
    return tasks[job["task_index"]], job["seed"], job["arm"] or "", job["stage"]


def _read(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(path, _MAX_BYTES, _MAX_VALUES)
    except (OSError, ValueError) as error:
        raise StudyError(f"{path} can't be read: {error}. Do the nodes share this folder?") from None
    return found
