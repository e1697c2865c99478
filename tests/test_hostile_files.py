"""Changed, special and very large files are read or refused. Cheap parts of three scripts that try thousands."""

import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from rlottery.errors import StudyError
from rlottery.storage import disk
from rlottery.storage.manifests import DamagedError, read_manifest
from rlottery.storage.metrics_log import read_evaluations
from tests import large_files, special_files
from tests.mutations import RAW, Study, files_of, make_study, read_all, sealed, try_one
from tests.study.studies import change_manifest

MANIFESTS = {
    "arm of the fingerprint": {"fingerprint": {"arm": [1]}},
    "step of a rewind point": {"fingerprint": {"arm": {"rewind": {"step": 1e300}}}},
    "inputs of the fingerprint": {"fingerprint": {"inputs": {"initial": 5}}},
    "sparsity": {"sparsity": {"actor": 10**300}},
    "negative steps": {"env_steps": -5},
    "true for a number": {"seconds": True},
    "a late time": {"sittings": [{"started": 1e300, "env_steps": 0, "notes": []}]},
    "a schedule": {"recipe": {"schedule": [[]]}},
    "a control": {"recipe": {"control": {}}},
    "a number of many digits": {"seconds": next(token for token, raw in RAW.items() if len(raw) == 5_000)},
    "infinity": {"seconds": next(token for token, raw in RAW.items() if raw == "1e999")},
}
ROWS = {
    "a number of 400 digits": b'{"kind": "evaluation", "env_steps": 1, "return": 1' + b"0" * 400 + b"}\n",
    "infinity": b'{"kind": "evaluation", "env_steps": 1, "return": 1e999}\n',
    "NaN": b'{"kind": "evaluation", "env_steps": 1, "return": NaN}\n',
    "true": b'{"kind": "evaluation", "env_steps": 1, "return": true}\n',
    "success above 1": b'{"kind": "evaluation", "env_steps": 1, "return": 1, "success": 2}\n',
    "a negative step": b'{"kind": "evaluation", "env_steps": -1, "return": 1}\n',
    "a step twice": b'{"kind": "evaluation", "env_steps": 1, "return": 1}\n' * 2,
    "a step that is no whole number": b'{"kind": "evaluation", "env_steps": 1.5, "return": 1}\n',
    "returns that are no list": b'{"kind": "evaluation", "env_steps": 1, "return": 1, "returns": {"a": 1}}\n',
    "a kind that is a list": b'{"kind": [], "env_steps": 1}\n',
}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    return make_study(tmp_path_factory.mktemp("hostile"))


def changed(path: Path, content: bytes, read: Callable[[], object]) -> None:
    """Read while a file has another content."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        read()
    finally:
        path.write_bytes(before)


@pytest.mark.parametrize("change", MANIFESTS)
def test_a_manifest_with_values_of_other_types_or_ranges_is_damaged(study: Study, change: str) -> None:
    run = study.run(0, "taylor")
    content = {**disk.read_json(run.manifest, 10**5), **MANIFESTS[change]}

    def read() -> None:
        with pytest.raises(DamagedError, match=r"manifest\.json is damaged"):
            read_manifest(run)

    changed(run.manifest, sealed(content), read)


@pytest.mark.parametrize("what", ROWS)
def test_metrics_with_values_of_other_types_or_ranges_are_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(ROWS[what])
    with pytest.raises(StudyError, match=r"metrics\.jsonl:[12]: .*Run the study again"):
        read_evaluations(path)


def test_one_odd_run_stops_nothing(study: Study) -> None:
    run = study.run(0, "imp")
    content = {**disk.read_json(run.manifest, 10**5), **MANIFESTS["step of a rewind point"]}
    changed(run.manifest, sealed(content), lambda: read_all(study, run.manifest))


def test_changed_files_are_read_or_refused(study: Study) -> None:
    paths = files_of(study)
    assert {try_one(study, paths, number, seed=3)[1] for number in range(10)} == {"read", "refused"}


@pytest.mark.parametrize("kind", ["pipe", "socket", "folder", "link to nothing", "link to itself", "link to /dev/zero"])
def test_special_files_are_refused_at_once(tmp_path: Path, kind: str) -> None:
    for name, use in (special_files.READERS | special_files.WRITERS).items():
        assert special_files.try_named(use, kind, tmp_path / name) == "held"


def test_a_pipe_in_a_study_stops_nothing(study: Study) -> None:
    run = study.run(0, "imp")
    for path in (run.manifest, run.metrics, run.mask, study.run(1, "rigl").lock):
        assert special_files.try_of_study(study, "pipe", path) == "held"


@pytest.mark.parametrize("what", ["newlines", "a line of lists", "lists", "lists in a header", "a directory"])
def test_memory_is_bounded(tmp_path: Path, what: str) -> None:
    """Files of a few MiB, of which each small value would take twenty times its text."""
    _, name, content, read = next(case for case in large_files.cases() if case[0] == what)
    path = tmp_path / name
    path.write_bytes(content()[: 8 * 2**20])
    tracemalloc.start()
    try:
        with pytest.raises(StudyError):
            read(tmp_path if read in (large_files.metrics, large_files.manifest) else path)
            raise StudyError("")  # a manifest that is missing
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * 2**20 + large_files.FACTOR * path.stat().st_size


def test_the_error_of_a_run_is_cut(study: Study) -> None:
    run = study.run(0, "magnitude")
    before = run.manifest.read_bytes()
    change_manifest(run, error="x" * 10**6)
    try:
        assert run.manifest.stat().st_size < 20_000
    finally:
        run.manifest.write_bytes(before)
