"""Writing files atomically, and reading them with limits on their size."""

import contextlib
import errno
import hashlib
import json
import math
import os
import shutil
import stat
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from rlottery.errors import StudyError

MAX_ARRAYS_BYTES = 2**33
"""The most bytes that a file of arrays may need: an agent with 300 million weights and its moments."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The `errno` of an `OSError` when the disk, or the user's quota on it, is full."""

_DTYPES = {"F32": np.float32, "BOOL": np.bool_, "U32": np.uint32, "I32": np.int32, "F64": np.float64, "I64": np.int64}


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, so that a crash of the machine leaves the old or the new content. Makes its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = _partial(path)
    try:
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


def write_json(path: Path, value: Any) -> None:
    """Write JSON atomically."""
    write_bytes(path, (json.dumps(value, indent=2, allow_nan=False) + "\n").encode())


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as safetensors, atomically."""
    contiguous = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    write_bytes(path, safetensors.numpy.save(contiguous))


def write_folder(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder: `fill` writes its files to a temporary folder, which then replaces `path`."""
    partial = _partial(path)
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        fill(partial)
        for file in partial.iterdir():
            with file.open("rb") as written:
                os.fsync(written.fileno())
        shutil.rmtree(path, ignore_errors=True)
        partial.replace(path)
        _sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def remove_partials(folder: Path, older_than: float = 0.0) -> None:
    """Remove the half-written files that killed processes have left in `folder`, if older than that many seconds.

    0 seconds is safe only if no other process writes there.
    """
    for path in folder.glob(".*.partial-*"):
        with contextlib.suppress(FileNotFoundError):
            if older_than == 0 or time.time() - path.stat().st_mtime > older_than:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink()


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file. Raises ValueError if it has more than `limit` bytes or isn't a regular file."""
    if not stat.S_ISREG(path.stat().st_mode):  # checked before opening: a named pipe would block
        raise ValueError("not a regular file")
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return data


def read_json(path: Path, limit: int) -> Any:
    """The content of a JSON file. Raises ValueError as `read_bytes`, or if it isn't JSON or has NaN or infinity."""
    try:
        return json.loads(read_bytes(path, limit), parse_constant=_finite, parse_float=_finite)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of a safetensors file. Their declared sizes are checked before memory is allocated.

    Raises StudyError if it is missing, damaged, larger than `MAX_ARRAYS_BYTES`, or has a dtype that no agent has.
    """
    try:
        if path.exists() and not path.is_file():
            raise ValueError("not a regular file")
        with safetensors.safe_open(path, framework="numpy") as file:
            names, total = list(file.keys()), 0
            for name in names:
                view = file.get_slice(name)
                if view.get_dtype() not in _DTYPES:
                    raise ValueError(f"{name[:100]} has dtype {view.get_dtype()}")
                total += int(np.prod(view.get_shape(), dtype=object)) * np.dtype(_DTYPES[view.get_dtype()]).itemsize
            if total > MAX_ARRAYS_BYTES:
                raise ValueError(f"its arrays need {total:,} bytes")
            return {name: file.get_tensor(name) for name in names}
    except (OSError, ValueError, safetensors.SafetensorError) as error:
        raise StudyError(f"{path} can't be read: {error}. Delete its folder to train that run again.") from None


def file_digest(path: Path, length: int | None = None) -> str:
    """The SHA-256 of a file's content, or of its first `length` bytes, in hexadecimal."""
    with path.open("rb") as file:
        if length is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        sha = hashlib.sha256()
        while length > 0 and (block := file.read(min(length, 2**20))):
            sha.update(block)
            length -= len(block)
        return sha.hexdigest()


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-{os.getpid()}")


def _sync_folder(folder: Path) -> None:
    """Make a file's new name survive a crash of the machine, if the system supports it."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
