"""The store: every path of a study, every atomic write, every manifest. No other file builds a path.

data/
  masks/{task}_seed_{seed}.pkl             the latest mask of pruning_method="magnitude"
  masks/{task}_seed_{seed}_gradient.pkl    the latest mask of pruning_method="gradient"
  runs/{task}/seed_{seed}/{arm}/           one run: an arm is "dense" or a ticket ("magnitude-80", "taylor-95")
    manifest.json                          written last: what made the files, and their digests
    metrics.jsonl                          one JSON object a line
    initial.safetensors                    weights before the first update (dense runs)
    agent.safetensors                      the whole trained agent: weights, targets, optimiser
    mask.pkl                               the ticket's mask
    replay/*.npy                           the dense run's replay buffer
    progress.json, {stage}.log, tensorboard/   for the person who watches
  report/                                  tables and figures
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from rlottery.errors import StudyError
from rlottery.replay import Transitions

FORMAT_VERSION = 1
DENSE = "dense"

Manifest = dict[str, Any]


@dataclass(frozen=True)
class RunFiles:
    """The files of one run: an arm of a task and seed."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.json"

    @property
    def metrics(self) -> Path:
        return self.folder / "metrics.jsonl"

    @property
    def initial(self) -> Path:
        return self.folder / "initial.safetensors"

    @property
    def agent(self) -> Path:
        return self.folder / "agent.safetensors"

    @property
    def mask(self) -> Path:
        return self.folder / "mask.pkl"

    @property
    def replay(self) -> Path:
        return self.folder / "replay"

    def log(self, stage: str) -> Path:
        return self.folder / f"{stage}.log"

    @property
    def progress(self) -> Path:
        return self.folder / "progress.json"

    @property
    def tensorboard(self) -> Path:
        return self.folder / "tensorboard"


@dataclass(frozen=True)
class Store:
    """The data folder of a study."""

    root: Path

    def run(self, task_name: str, seed: int, arm: str) -> RunFiles:
        """The files of a run. `task_name` is the file-name form of a task (`config.Task.name`)."""
        return RunFiles(self.root / "runs" / task_name / f"seed_{seed}" / arm)

    def mask(self, task_name: str, seed: int, method: str) -> Path:
        """The file that holds the latest mask of a pruning method, under its well-known name."""
        suffix = "" if method == "magnitude" else f"_{method}"
        return self.root / "masks" / f"{task_name}_seed_{seed}{suffix}.pkl"

    def arms(self, task_name: str, seed: int) -> list[str]:
        """Names of the arms of this task and seed that have a folder, and always dense, which stands first."""
        folder = self.root / "runs" / task_name / f"seed_{seed}"
        found = {path.name for path in folder.iterdir() if path.is_dir()} if folder.is_dir() else set()
        return [DENSE, *sorted(found - {DENSE})]

    @property
    def report(self) -> Path:
        return self.root / "report"

    def check_writable(self) -> None:
        """Raises StudyError unless files can be made in the data folder."""
        probe = self.root / f".write-test-{os.getpid()}"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            probe.write_bytes(b"")
            probe.unlink()
        except OSError as error:
            raise StudyError(
                f"The data folder {self.root} can't be written: {error.strerror}. Choose another with data=FOLDER."
            ) from None


@contextlib.contextmanager
def hold(files: RunFiles) -> Iterator[None]:
    """Keep other processes out of a run's folder for as long as this one works there, or lives.

    Raises:
        StudyError: another process holds it.
    """
    files.folder.mkdir(parents=True, exist_ok=True)
    with (files.folder / ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StudyError(
                f"Another process is at work in {files.folder}. Wait until it has ended, then run this command again."
            ) from None
        yield


def replay_is_saved(files: RunFiles) -> bool:
    """Whether every field of the replay buffer is there."""
    return all((files.replay / f"{field}.npy").is_file() for field in Transitions._fields)


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; its folder is made."""
    _replace(path, lambda partial: _write_synced(partial, data))


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors, whole or not at all."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, safetensors.numpy.save(contiguous))


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Fill a new folder, then put it in the place of `path`."""
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial)
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Named arrays from safetensors.

    Raises:
        StudyError: missing or damaged.
    """
    try:
        return dict(safetensors.numpy.load_file(path))
    except (OSError, safetensors.SafetensorError) as error:
        raise StudyError(f"{path} can't be read: {error}. Delete its folder to train that run again.") from None


def read_manifest(files: RunFiles) -> Manifest | None:
    """The manifest of a run, or None where there is none.

    Raises:
        StudyError: there is one, but it can't be read or is of another format.
    """
    try:
        manifest = json.loads(files.manifest.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StudyError(
            f"{files.manifest} can't be read ({error}). Delete its folder to train that run again."
        ) from None
    version = manifest.get("format_version") if isinstance(manifest, dict) else None
    if version != FORMAT_VERSION:
        raise StudyError(
            f"{files.manifest} has format {version!r}; this version of rlottery reads format {FORMAT_VERSION}. "
            "Use the version that wrote it, or another data folder."
        )
    return dict(manifest)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def difference(asked: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two fingerprints differ, a line a key: ``sac.batch_size: the files have 256, the config asks for 128``."""
    lines = []
    for key in sorted(asked.keys() | found.keys()):
        ours, theirs = asked.get(key), found.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            lines += difference(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs or (key in asked) != (key in found):  # null is not the same as no such key
            has, asks = (repr(of[key]) if key in of else "nothing" for of in (found, asked))
            lines.append(f"{prefix}{key}: the files have {has}, this config asks for {asks}")
    return lines


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        write(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def _write_synced(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
