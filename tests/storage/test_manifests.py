import json
import os
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import StudyError
from rlottery.storage import manifests
from rlottery.storage.disk import write_json
from rlottery.storage.manifests import (
    MANIFEST_FORMAT,
    DamagedError,
    Manifest,
    file_entry,
    find_damage,
    list_differences,
)
from rlottery.storage.paths import RunFiles


def a_manifest(files: RunFiles) -> Manifest:
    """Of a run with one file, which is written too."""
    files.folder.mkdir(exist_ok=True)
    files.agent.write_bytes(b"weights")
    return {
        "format_version": MANIFEST_FORMAT,
        "status": "done",
        "fingerprint": {"version": 1, "sac": {"batch_size": 256}},
        "files": {files.agent.name: file_entry(files.agent)},
        "seconds": 1.5,
        "sittings": [{"started": 1.0, "env_steps": 0, "notes": ["a note"]}],
        "checkpoints": {"written": 2, "seconds": 0.5},
    }


def test_a_manifest_comes_back_and_a_missing_one_is_none(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    assert manifests.read_manifest(files) is None
    manifest = a_manifest(files)
    manifests.write_manifest(files, manifest)
    assert manifests.read_manifest(files) == manifest


def test_only_an_import_without_its_manifest_is_lost(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    manifests.check_is_not_lost(files)
    manifests.write_manifest(files, a_manifest(files))
    files.imported.touch()
    manifests.check_is_not_lost(files)
    files.manifest.unlink()
    with pytest.raises(StudyError, match="manifest.json is missing. Import the agent again"):
        manifests.check_is_not_lost(files)


def test_every_changed_byte_is_found(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    manifests.write_manifest(files, a_manifest(files))
    content = files.manifest.read_bytes()
    told = json.loads(content)
    changed = 0
    for place in range(len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 1
        files.manifest.write_bytes(damaged)
        try:
            found = manifests.read_manifest(files)
        except StudyError:
            changed += 1
        else:  # white space can change into other white space
            assert found is not None and {**found, "checksum": told["checksum"]} == told
    assert changed > 0.7 * len(content)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", r"manifest\.json is damaged: it is not valid JSON: Expecting property name"),
        ("", r"manifest\.json is damaged: .*Run the study again"),
        ("\xff\xfe", r"manifest\.json is damaged"),
        ("[]", r"manifest\.json is damaged: it is not a JSON object"),
        ("{}", r"manifest\.json is damaged: its format_version is 'None'"),
        ('{"format_version": true}', r"manifest\.json is damaged: its format_version is 'True'"),
        ('{"format_version": 2}', r"manifest\.json is damaged: its content differs from its checksum"),
        ('{"format_version": 999}', r"manifest\.json is damaged: its content differs from its checksum"),
        ('{"format_version": 2, "seconds": NaN}', r"manifest\.json is damaged: NaN is not a finite number"),
        ('{"format_version": 2, "seconds": 1e999}', r"manifest\.json is damaged: 1e999 is not a finite number"),
        ("[" * 100_000, r"manifest\.json is damaged: it is nested too deeply"),
    ],
)
def test_an_unreadable_manifest_is_refused(tmp_path: Path, text: str, words: str) -> None:
    files = RunFiles(tmp_path)
    files.manifest.write_bytes(text.encode("latin-1"))
    with pytest.raises(StudyError, match=words):
        manifests.read_manifest(files)


def test_a_later_format_is_refused_with_words(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    manifests.write_sealed(files.manifest, {"format_version": 999})
    with pytest.raises(StudyError, match="has format 999, and this version of rlottery reads formats 1 to 3. Use the"):
        manifests.read_manifest(files)


@pytest.mark.parametrize(("network", "written"), [({}, 2), ({"activation": "tanh"}, 3)])
def test_earlier_versions_refuse_an_agent_that_has_no_relu(
    tmp_path: Path, network: dict[str, str], written: int
) -> None:
    """They read formats 1 and 2, and know no other activation function."""
    files = RunFiles(tmp_path)
    manifest: Any = {"status": "done", "fingerprint": {"network": {"actor": [8], **network}}, "files": {}}
    manifests.write_manifest(files, manifest)
    assert json.loads(files.manifest.read_text())["format_version"] == written
    found = manifests.read_manifest(files)
    assert found is not None and found["fingerprint"] == manifest["fingerprint"]


def test_a_folder_where_the_manifest_should_be_is_damage(tmp_path: Path) -> None:
    files = RunFiles(tmp_path)
    files.manifest.mkdir()
    with pytest.raises(DamagedError, match=r"manifest\.json is damaged: not a regular file"):
        manifests.read_manifest(files)


def test_format_1_is_read(tmp_path: Path) -> None:
    # As rlottery 0.1.0 wrote it.
    files = RunFiles(tmp_path)
    files.agent.write_bytes(b"weights")
    digest = file_entry(files.agent)["sha256"]
    first = {
        "format_version": 1,
        "stage": "dense",
        "task": "Pendulum-v1",
        "task_name": "Pendulum-v1",
        "seed": 0,
        "arm": "dense",
        "fingerprint": {"version": 1},
        "versions": {"jax": "0.10.2"},
        "started": 1795346773.6,
        "replay": "saved",
        "status": "done",
        "files": {"agent.safetensors": digest},
        "seconds": 8.25,
    }
    write_json(files.manifest, first)
    found = manifests.read_manifest(files)
    assert found is not None
    assert found["files"] == {"agent.safetensors": {"sha256": digest, "bytes": None}}
    assert (found["status"], found["seconds"], found["format_version"]) == ("done", 8.25, MANIFEST_FORMAT)
    assert find_damage(tmp_path, found["files"]) == []
    files.agent.write_bytes(b"other")
    assert [error.why for error in find_damage(tmp_path, found["files"])] == ["its content differs from its checksum"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "/etc/passwd", "a/../../b.x", "replay/../../x.npy", "x", "a.b\n"])
def test_a_manifest_cannot_name_a_file_elsewhere(tmp_path: Path, name: str) -> None:
    files = RunFiles(tmp_path / "run")
    manifest: Any = a_manifest(files)
    manifest["files"][name] = {"sha256": "0" * 64, "bytes": 1}
    manifests.write_manifest(files, manifest)
    with pytest.raises(DamagedError, match="files"):
        manifests.read_manifest(files)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@given(key=st.sampled_from(sorted(Manifest.__annotations__)), value=json_values, sealed=st.booleans())
def test_odd_values_are_refused_or_read_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, key: str, value: Any, sealed: bool
) -> None:
    files = RunFiles(tmp_path_factory.mktemp("odd") / "run")
    manifest = cast(dict[str, Any], a_manifest(files)) | {key: value}
    (manifests.write_sealed if sealed else write_json)(files.manifest, manifest)
    try:
        found = manifests.read_manifest(files)
    except StudyError:
        return
    assert found is not None and found["status"] in ("done", "failed", "diverged")
    find_damage(files.folder, found["files"])


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_and_nothing_else_happens(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    files = RunFiles(tmp_path_factory.mktemp("any"))
    files.manifest.write_bytes(content)
    with pytest.raises(StudyError):
        manifests.read_manifest(files)


class TestDamage:
    @pytest.fixture
    def files(self, tmp_path: Path) -> RunFiles:
        files = RunFiles(tmp_path / "run")
        a_manifest(files)
        return files

    def test_none(self, files: RunFiles) -> None:
        assert find_damage(files.folder, {"agent.safetensors": file_entry(files.agent)}) == []

    @pytest.mark.parametrize(
        ("content", "why"),
        [
            (b"weighty", "its content differs from its checksum"),
            (b"weigh", "it has 5 bytes, not 7"),
            (None, "it is missing"),
        ],
    )
    def test_is_named(self, files: RunFiles, content: bytes | None, why: str) -> None:
        entries = {"agent.safetensors": file_entry(files.agent)}
        files.agent.unlink() if content is None else files.agent.write_bytes(content)
        (error,) = find_damage(files.folder, entries)
        assert (error.file, error.why) == (files.agent, why)
        with pytest.raises(DamagedError, match=why):
            manifests.check_files(files.folder, entries, "agent.safetensors", "unknown.npy")

    def test_a_pipe_is_not_waited_for(self, files: RunFiles) -> None:
        entries: Any = {"agent.safetensors": file_entry(files.agent) | {"bytes": None}}
        files.agent.unlink()
        os.mkfifo(files.agent)
        (error,) = find_damage(files.folder, entries)
        assert error.why == "it is not a regular file"

    def test_contents_are_left_alone_where_sizes_will_do(self, files: RunFiles) -> None:
        entries = {"agent.safetensors": file_entry(files.agent)}
        files.agent.write_bytes(b"weighty")
        assert find_damage(files.folder, entries, contents=()) == []


trees = st.recursive(
    st.none() | st.integers(0, 3) | st.text("ab", max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
fingerprints = st.dictionaries(st.sampled_from("abc"), trees, max_size=3)


def test_differences_name_key_and_both_values() -> None:
    found = {"version": 1, "sac": {"batch_size": 256, "discount": 0.99}, "seed": 0}
    asked = {"version": 1, "sac": {"batch_size": 128, "discount": 0.99}, "seed": "x"}
    assert list_differences(asked, found) == [
        "sac.batch_size: the files have 256, this config asks for 128",
        "seed: the files have 0, this config asks for 'x'",
    ]
    assert list_differences(found, found) == []


def test_a_key_that_one_side_lacks_is_a_difference_even_to_null() -> None:
    assert list_differences({"kwargs": {"mode": None}}, {"kwargs": {}}) == [
        "kwargs.mode: the files have nothing, this config asks for None"
    ]
    assert list_differences({}, {"inputs": {"mask": "ab"}}) == [
        "inputs: the files have {'mask': 'ab'}, this config asks for nothing"
    ]


def test_a_record_without_environments_has_one() -> None:
    one, several = {"training": {}}, {"training": {"environments": 8}}
    assert list_differences(several, one) == ["training.environments: the files have 1, this config asks for 8"]
    assert list_differences(one, several) == ["training.environments: the files have 8, this config asks for 1"]
    assert list_differences(one, {"training": {"environments": 1}}) == []


@given(fingerprints, fingerprints)
def test_there_is_a_difference_where_fingerprints_are_unequal_and_only_there(one: Any, other: Any) -> None:
    assert (list_differences(one, other) == []) == (one == other)
    assert len(list_differences(one, other)) == len(list_differences(other, one))
