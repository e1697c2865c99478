"""Writing files atomically, and reading them with limits on their size."""

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import shutil
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy

from rlottery.errors import StudyError
from rlottery.safety.regular_files import read_bytes, regular
from rlottery.storage.fence import check_fence
from rlottery.storage.syncing import make_folder, sync_file, sync_folder, writing
from rlottery.storage.temporary_files import temporary_path

MAX_ARRAYS_BYTES = 2**33
"""The most bytes that a file of arrays may need: an agent with 300 million weights and its moments."""

FULL = (errno.ENOSPC, errno.EDQUOT)
"""The `errno` of an `OSError` when the disk, or the user's quota on it, is full."""

MOST_VALUES = 100_000
"""The most values in a JSON file of a run."""
MAX_DEPTH = 64
"""How deeply JSON may be nested. Keyword arguments of environments may be nested freely."""
MAX_HEADER_BYTES = 2**22
MOST_ARRAYS = 20_000
"""Limits of the headers of safetensors files. A header takes about 20 times its size; an agent has 2 to 20 kB of it."""
MOST_AXES = 8
_MOST_DIGITS = 320
"""Longer whole numbers take long to read and to print, and no setting may have one."""

_DTYPES: dict[str, type[np.generic]] = {
    "F32": np.float32,
    "BOOL": np.bool_,
    "U32": np.uint32,
    "I32": np.int32,
    "F64": np.float64,
    "I64": np.int64,
}


def write_bytes(path: Path, data: bytes) -> None:
    """Write a file atomically, so that a crash of the machine leaves the old or the new content. Makes its folder.

    When this returns, the new content, the file's name and its folders survive a crash. Raises WriteError; and
    GoneError if another process has taken over the run that this thread works on (`rlottery.storage.fence`).
    """
    partial = temporary_path(path)
    try:
        with writing(path):
            make_folder(path.parent)
            with partial.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            _put_in_place(partial, path)
            sync_folder(path.parent)
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
    """Write a folder of files: `fill` writes them to a temporary folder, which is then renamed to `path`.

    If `path` exists, its files are replaced one by one, so that at no moment a file is missing that was there before.
    When this returns, the files survive a crash of the machine. Raises WriteError.
    """
    partial = temporary_path(path)
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with writing(path):
            make_folder(path.parent)
            partial.mkdir()
            fill(partial)
            names = {file.name for file in partial.iterdir()}
            for name in names:
                sync_file(partial / name)
            if path.is_dir():
                _replace_files(path, partial, names)
            else:
                sync_folder(partial)
                _put_in_place(partial, path)
                sync_folder(path.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_json(path: Path, limit: int, values: int = MOST_VALUES) -> Any:
    """The content of a JSON file of at most `limit` bytes and `values` values.

    Raises OSError, and ValueError if it is too large or not JSON, or has a number that isn't finite.
    """
    data = read_bytes(path, limit)
    # A small value takes twenty times its text.
    if most_values(data) > values:
        raise ValueError(f"more than {values:,} values")
    try:
        content = json.loads(data, parse_constant=_finite, parse_float=_finite, parse_int=_whole)
    except json.JSONDecodeError as error:
        raise ValueError(f"it is not valid JSON: {error}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    _check_depth(content)
    return content


def most_values(data: bytes) -> int:
    """How many values JSON text can have, the whole not counted: before each of them stands one of these signs."""
    return data.count(b",") + data.count(b"[") + data.count(b"{")


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The named arrays of a safetensors file. What it declares is checked before memory is allocated.

    Raises StudyError if it is missing, damaged, larger than `MAX_ARRAYS_BYTES`, or has a dtype that no agent has.
    """
    try:
        with open(path, "rb", opener=regular) as file:
            return arrays_in(file, os.fstat(file.fileno()).st_size)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise StudyError(f"{path} can't be read: {why}. Run the study again to regenerate it.") from None


def arrays_in(file: io.BufferedIOBase, size: int) -> dict[str, np.ndarray]:
    """The named arrays of an open safetensors file of `size` bytes. Raises OSError, and ValueError as `read_arrays`."""
    length = int.from_bytes(file.read(8), "little")
    if not 2 <= length <= min(MAX_HEADER_BYTES, size - 8):
        raise ValueError("it has no header of a safetensors file")
    layout = _layout(file.read(length), size - 8 - length)
    arrays = {}
    for name, dtype, shape in layout:
        arrays[name] = np.empty(shape, dtype)
        if file.readinto(arrays[name].reshape(-1).view(np.uint8).data) != arrays[name].nbytes:
            raise ValueError("it is cut off")
        if dtype is np.bool_ and arrays[name].view(np.uint8).max(initial=0) > 1:
            raise ValueError(f"{name[:100]!r} has values other than true and false")
    return arrays


def file_digest(path: Path, length: int | None = None) -> str:
    """The SHA-256 of a regular file's content, or of its first `length` bytes, in hexadecimal."""
    with open(path, "rb", opener=regular) as file:
        if length is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        sha = hashlib.sha256()
        while length > 0 and (block := file.read(min(length, 2**20))):
            sha.update(block)
            length -= len(block)
        return sha.hexdigest()


def _layout(header: bytes, size: int) -> list[tuple[str, type[np.generic], tuple[int, ...]]]:
    """Name, type and shape of a safetensors file's arrays, in the order of their content, which has `size` bytes.

    Raises ValueError unless they fill the content without a gap, as the format asks for.
    """
    if header.count(b"{") > MOST_ARRAYS or most_values(header) > 10 * MOST_ARRAYS:
        raise ValueError(f"it has more than {MOST_ARRAYS:,} arrays, or other values")
    try:
        declared = json.loads(header, parse_int=_whole, object_pairs_hook=_distinct)
        declared.pop("__metadata__", None)
        found = sorted((*map(int, of["data_offsets"]), name, of["dtype"], of["shape"]) for name, of in declared.items())
    except (ValueError, TypeError, AttributeError, KeyError, RecursionError):
        raise ValueError("it has no header of a safetensors file") from None
    layout, at = [], 0
    for start, end, name, dtype, shape in found:
        if not isinstance(dtype, str) or dtype not in _DTYPES:
            raise ValueError(f"{name[:100]!r} has dtype {str(dtype)[:20]}")
        if not isinstance(shape, list) or len(shape) > MOST_AXES or any(type(n) is not int or n < 0 for n in shape):
            raise ValueError(f"{name[:100]!r} has no valid shape")
        needed = math.prod(shape) * np.dtype(_DTYPES[dtype]).itemsize
        if end > MAX_ARRAYS_BYTES:
            raise ValueError(f"its arrays need {end:,} bytes")
        if (start, end) != (at, at + needed):
            raise ValueError(f"{name[:100]!r} is not where its size says")
        layout.append((name, _DTYPES[dtype], tuple(shape)))
        at = end
    if at != size:
        raise ValueError(f"its arrays need {at:,} bytes, and it has {size:,}")
    return layout


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:20]} is not a finite number")
    return number


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise ValueError(f"it has a number of {len(text):,} digits")
    return int(text)


def _check_depth(content: Any) -> None:
    """Raise ValueError if containers are nested so deeply that code which walks through them could fail."""
    level, depth = [content], 0
    while level := [
        inner
        for outer in level
        if isinstance(outer, dict | list)
        for inner in (outer.values() if isinstance(outer, dict) else outer)
        if isinstance(inner, dict | list)
    ]:
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError("it is nested too deeply")


def _replace_files(folder: Path, by: Path, names: Collection[str]) -> None:
    """Give a folder the files of another one with these names, and no others."""
    make_folder(folder)
    for name in names:
        _put_in_place(by / name, folder / name)
    sync_folder(folder)
    for file in folder.iterdir():
        if file.name not in names:
            file.unlink()


def _put_in_place(partial: Path, path: Path) -> None:
    """Give a file or folder its name, unless the run that it belongs to is another process's by now."""
    check_fence()
    try:
        partial.replace(path)
    except FileNotFoundError:
        check_fence()  # whoever has taken the run over since then has removed it
        raise
