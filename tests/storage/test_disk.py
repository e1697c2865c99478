import errno
import hashlib
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import StudyError
from rlottery.storage import disk


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when a file's content has to reach it."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def test_a_write_makes_its_folder_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    disk.write_json(path, {"old": 1})
    disk.write_json(path, {"new": [1, 2.5, None]})
    assert json.loads(path.read_text()) == {"new": [1, 2.5, None]}
    assert list(content(tmp_path)) == ["a/b/file.json"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, no_sync: None) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        disk.write_bytes(path, b"new")
    with pytest.raises(OSError, match="No space left"):
        disk.write_arrays(tmp_path / "never.safetensors", {"w": np.ones(3)})
    assert content(tmp_path) == {"file.bin": b"old"}


def test_nan_is_no_json_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        disk.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert content(tmp_path) == {}


def test_a_write_is_whole_before_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file.bin", []
    path.write_bytes(b"old")
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.read_bytes()), sync(descriptor))[1])
    disk.write_bytes(path, b"new")
    assert seen[0] == b"old"
    assert path.read_bytes() == b"new"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    disk.write_folder(path, lambda folder: (folder / "a").write_bytes(b"1") and None)
    disk.write_folder(path, lambda folder: (folder / "b").write_bytes(b"2") and None)
    assert content(tmp_path) == {"replay/b": b"2"}


def test_a_folder_that_cannot_be_filled_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    disk.write_folder(path, lambda folder: (folder / "a").write_bytes(b"1") and None)

    def half(folder: Path) -> None:
        (folder / "a").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        disk.write_folder(path, half)
    assert content(tmp_path) == {"replay/a": b"1"}
    assert [entry.name for entry in tmp_path.iterdir()] == ["replay"]


def test_arrays_come_back_to_the_bit(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    arrays = {
        "params.actor.kernel": rng.normal(size=(4, 3)).astype(np.float32),
        "transposed": rng.normal(size=(4, 3)).astype(np.float32).T,
        "mask": rng.random((2, 2)) < 0.5,
        "key": np.array([2**32 - 1, 0], np.uint32),
        "count": np.array(7, np.int32),
        "odd": np.array([np.nan, np.inf, -0.0, 1e-45], np.float32),
    }
    disk.write_arrays(tmp_path / "x.safetensors", arrays)
    found = disk.read_arrays(tmp_path / "x.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"\xff" * 40])
def test_damaged_arrays_are_refused(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "x.safetensors"
    disk.write_arrays(path, {"w": np.ones(3)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StudyError, match=r"x\.safetensors can't be read.*Run the study again"):
        disk.read_arrays(path)


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone\.safetensors can't be read"):
        disk.read_arrays(tmp_path / "gone.safetensors")


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    # The answer that FIPS 180 gives for "abc".
    assert disk.file_digest(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223")
    assert disk.file_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def header_of(arrays: dict[str, Any], body: bytes) -> bytes:
    """A safetensors file that declares what it likes."""
    header = json.dumps(arrays).encode()
    return len(header).to_bytes(8, "little") + header + body


@pytest.mark.parametrize(
    ("declared", "said"),
    [
        ({"w": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}, "can't be read"),
        ({"w": {"dtype": "F64", "shape": [2**31], "data_offsets": [0, 2**34]}}, "can't be read"),
        ({"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, "has dtype F16"),
        ({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}, "can't be read"),
        ({"w": {"dtype": "O", "shape": [1], "data_offsets": [0, 4]}}, "can't be read"),
    ],
)
def test_declared_sizes_and_types_are_checked_before_memory_is_taken(
    tmp_path: Path, declared: dict[str, Any], said: str
) -> None:
    path = tmp_path / "x.safetensors"
    path.write_bytes(header_of(declared, b"1234"))
    with pytest.raises(StudyError, match=said):
        disk.read_arrays(path)


def test_a_file_with_a_hole_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    size = 2**36
    path.write_bytes(header_of({"w": {"dtype": "U32", "shape": [size // 4], "data_offsets": [0, size]}}, b""))
    os.truncate(path, path.stat().st_size + size)
    with pytest.raises(StudyError, match="its arrays need 68,719,476,736 bytes"):
        disk.read_arrays(path)


def test_what_is_no_regular_file_is_refused_without_waiting(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(StudyError, match="not a regular file"):
        disk.read_arrays(tmp_path / "pipe")
    with pytest.raises(OSError, match="not a regular file"):
        disk.read_json(tmp_path / "pipe", 10)


def test_json_that_is_too_large_or_too_deep_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b"[" * 100_000 + b"]" * 100_000)
    with pytest.raises(ValueError, match="more than 1,000 bytes"):
        disk.read_json(path, 1_000)
    with pytest.raises(ValueError, match="nested too deeply"):
        disk.read_json(path, 2**20)


@given(st.data())
def test_damaged_arrays_are_refused_or_read_and_nothing_else_happens(data: st.DataObject) -> None:
    original = safetensors.numpy.save({"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.ones(2, np.uint32)})
    content = bytearray(original)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)))] if data.draw(st.booleans()) else content
    path = Path(os.environ["PYTEST_FILE"])
    path.write_bytes(content)
    try:
        found = disk.read_arrays(path)
    except StudyError:
        return
    assert sum(array.nbytes for array in found.values()) <= len(content)


@pytest.fixture(autouse=True)
def _file_for_properties(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_FILE", str(tmp_path / "file"))


def test_the_digest_of_a_beginning(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc" + b"d" * 3_000_000)
    assert disk.file_digest(tmp_path / "x", 3) == hashlib.sha256(b"abc").hexdigest()
    assert disk.file_digest(tmp_path / "x", 2_000_000) == hashlib.sha256(b"abc" + b"d" * 1_999_997).hexdigest()


def test_a_full_disk_is_known_by_its_number() -> None:
    assert errno.ENOSPC in disk.FULL
