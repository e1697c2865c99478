import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery import store
from rlottery.errors import StudyError
from rlottery.replay import ReplayBuffer
from rlottery.store import FORMAT_VERSION, RunFiles, Store, difference


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """A disk that is full when a file's content has to reach it."""

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_paths_are_the_well_known_ones(tmp_path: Path) -> None:
    found = Store(tmp_path)
    assert found.mask("drawer-close-v3", 3, "magnitude") == tmp_path / "masks" / "drawer-close-v3_seed_3.pkl"
    assert found.mask("drawer-close-v3", 3, "gradient") == tmp_path / "masks" / "drawer-close-v3_seed_3_gradient.pkl"
    assert found.run("A-v0", 1, "dense").manifest == tmp_path / "runs" / "A-v0" / "seed_1" / "dense" / "manifest.json"


def test_files_of_a_run_are_apart() -> None:
    files = RunFiles(Path("run"))
    paths = [files.manifest, files.metrics, files.initial, files.agent, files.mask, files.replay, files.progress]
    paths += [files.tensorboard, files.log("dense"), files.log("ticket")]
    assert len(set(paths)) == len(paths)
    assert all(path.parent == files.folder for path in paths)


def test_arms_are_the_folders_there_are_and_dense_first(tmp_path: Path) -> None:
    found = Store(tmp_path)
    assert found.arms("A-v0", 0) == ["dense"]
    for arm in ("taylor-95", "magnitude-80"):
        found.run("A-v0", 0, arm).folder.mkdir(parents=True)
    (tmp_path / "runs" / "A-v0" / "seed_0" / "note.txt").write_text("")
    assert found.arms("A-v0", 0) == ["dense", "magnitude-80", "taylor-95"]
    assert found.arms("A-v0", 1) == ["dense"]


def test_a_write_makes_its_folder_and_replaces_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.json"
    store.write_json(path, {"old": 1})
    store.write_json(path, {"new": [1, 2.5, None]})
    assert json.loads(path.read_text()) == {"new": [1, 2.5, None]}
    assert list(content(tmp_path)) == ["a/b/file.json"]


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, no_sync: None) -> None:
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(OSError, match="No space left"):
        store.write_bytes(path, b"new")
    with pytest.raises(OSError, match="No space left"):
        store.write_arrays(tmp_path / "never.safetensors", {"w": np.ones(3)})
    assert content(tmp_path) == {"file.bin": b"old"}


def test_nan_is_no_json_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        store.write_json(tmp_path / "x.json", {"loss": float("nan")})
    assert content(tmp_path) == {}


def test_a_write_is_whole_before_it_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, seen = tmp_path / "file.bin", []
    path.write_bytes(b"old")
    sync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (seen.append(path.read_bytes()), sync(descriptor))[1])
    store.write_bytes(path, b"new")
    assert seen == [b"old"]
    assert path.read_bytes() == b"new"


def test_a_folder_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    store.write_folder(path, lambda folder: (folder / "a").write_bytes(b"1") and None)
    store.write_folder(path, lambda folder: (folder / "b").write_bytes(b"2") and None)
    assert content(tmp_path) == {"replay/b": b"2"}


def test_a_folder_that_cannot_be_filled_leaves_the_old_one(tmp_path: Path) -> None:
    path = tmp_path / "replay"
    store.write_folder(path, lambda folder: (folder / "a").write_bytes(b"1") and None)

    def half(folder: Path) -> None:
        (folder / "a").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        store.write_folder(path, half)
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
    store.write_arrays(tmp_path / "x.safetensors", arrays)
    found = store.read_arrays(tmp_path / "x.safetensors")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape)
        assert found[name].tobytes() == array.tobytes()


@pytest.mark.parametrize("damage", [lambda data: data[:-1], lambda data: b"", lambda data: b"\xff" * 40])
def test_damaged_arrays_are_refused(tmp_path: Path, damage: Any) -> None:
    path = tmp_path / "x.safetensors"
    store.write_arrays(path, {"w": np.ones(3)})
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(StudyError, match=r"x\.safetensors can't be read.*to train that run again"):
        store.read_arrays(path)


def test_missing_arrays_are_named(tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"gone\.safetensors can't be read"):
        store.read_arrays(tmp_path / "gone.safetensors")


def test_a_manifest_comes_back_and_a_missing_one_is_none(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    assert store.read_manifest(files) is None
    manifest = {"format_version": FORMAT_VERSION, "status": "done", "files": {"agent.safetensors": "ab"}}
    store.write_json(files.manifest, manifest)
    assert store.read_manifest(files) == manifest


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", r"manifest\.json can't be read .*Delete its folder"),
        ("", r"manifest\.json can't be read .*Delete its folder"),
        ("\xff\xfe", r"manifest\.json can't be read .*Delete its folder"),
        ("[]", r"manifest\.json has format None"),
        ("{}", r"manifest\.json has format None"),
        ('{"format_version": 999}', rf"has format 999; this version of rlottery reads format {FORMAT_VERSION}"),
    ],
)
def test_an_unreadable_manifest_is_refused(tmp_path: Path, text: str, words: str) -> None:
    files = RunFiles(tmp_path)
    files.manifest.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyError, match=words):
        store.read_manifest(files)


def test_a_folder_where_the_manifest_should_be_is_refused(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.manifest.mkdir()
    with pytest.raises(StudyError, match=r"manifest\.json can't be read"):
        store.read_manifest(files)


def test_digests_are_sha256(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"abc")
    # The answer that FIPS 180 gives for "abc".
    assert store.file_digest(tmp_path / "x").startswith("ba7816bf8f01cfea414140de5dae2223")
    assert store.file_digest(tmp_path / "x") == hashlib.sha256(b"abc").hexdigest()


def test_a_data_folder_that_cannot_be_written_is_refused_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for root in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StudyError, match="can't be written: .*data=FOLDER"):
            Store(root).check_writable()
    Store(tmp_path / "new" / "data").check_writable()
    assert content(tmp_path) == {"file": b""}


def test_differences_name_key_and_both_values() -> None:
    found = {"version": 1, "sac": {"batch_size": 256, "discount": 0.99}, "seed": 0}
    asked = {"version": 1, "sac": {"batch_size": 128, "discount": 0.99}, "seed": "x"}
    assert difference(asked, found) == [
        "sac.batch_size: the files have 256, this config asks for 128",
        "seed: the files have 0, this config asks for 'x'",
    ]
    assert difference(found, found) == []


def test_a_key_that_one_side_lacks_is_a_difference_even_to_null() -> None:
    assert difference({"kwargs": {"mode": None}}, {"kwargs": {}}) == [
        "kwargs.mode: the files have nothing, this config asks for None"
    ]
    assert difference({}, {"inputs": {"mask": "ab"}}) == [
        "inputs: the files have {'mask': 'ab'}, this config asks for nothing"
    ]


trees = st.recursive(
    st.none() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
fingerprints = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


@given(fingerprints, fingerprints)
def test_there_is_a_difference_where_fingerprints_are_unequal_and_only_there(one: Any, other: Any) -> None:
    assert (difference(one, other) == []) == (one == other)
    assert len(difference(one, other)) == len(difference(other, one))


def test_a_run_is_held_by_one_process_at_a_time(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    code = (
        "import sys, pathlib; from rlottery.store import RunFiles, hold\n"
        "with hold(RunFiles(pathlib.Path(sys.argv[1]))): pass"
    )
    with store.hold(files):
        other = subprocess.run([sys.executable, "-c", code, str(files.folder)], capture_output=True, text=True)
        assert other.returncode != 0
        assert "Another process is at work" in other.stderr
    subprocess.run([sys.executable, "-c", code, str(files.folder)], check=True)


def test_a_buffer_with_a_field_missing_is_not_saved(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    buffer = ReplayBuffer(2, 1, 1)
    buffer.add(np.zeros(1), np.zeros(1), 0.0, np.zeros(1), False)
    store.write_folder(files.replay, buffer.save)
    assert store.replay_is_saved(files)
    (files.replay / "rewards.npy").unlink()
    assert not store.replay_is_saved(files)
