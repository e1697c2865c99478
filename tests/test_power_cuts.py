"""A power cut or an I/O error at any operation loses nothing finished. `python -m tests.power_cuts` does more of it."""

import errno
import os
import random
from pathlib import Path

import pytest

from rlottery.storage import disk, syncing
from rlottery.storage.manifests import file_entry
from rlottery.storage.metrics_log import MetricsLog
from tests.faults import digests
from tests.power_cuts import Fault, copied, cut_everywhere, fail_somewhere, scratch, stages
from tests.unsynced import Layer, State, states_left, strict_state, visible_state

TRIES = {"records": None, "failed": 0, "diverged": 12, "dense": 0, "mask magnitude": 5, "ticket": 0, "release": 6}
"""The cheap stages, and how many operations of each fail; None stands for all."""
STAGES = {stage.name: stage for stage in stages()}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # files of tensorboardX
def test_no_cut_and_no_error_loses_what_is_finished() -> None:
    """Cuts at every operation, by what POSIX promises and by what a journal does."""
    with scratch() as folder:
        data = folder / "data"
        data.mkdir()
        for name, tries in TRIES.items():
            with copied(data) as before:
                counts = cut_everywhere(STAGES[name], data, ("strict", "journal"))
                assert counts.complaints == [], name
                assert counts.operations > 3 and counts.states.total() > 3, name
                if tries != 0:
                    tried, wrong = fail_somewhere(STAGES[name], before, digests(data), tries, random.Random(0))
                    assert wrong == [] and tried > 3, name


def left_by(tmp_path: Path, work: str, models: tuple[str, ...]) -> list[State]:
    """The states in which a cut at the very end of `work` may leave a folder with a file `old`."""
    folder = tmp_path.resolve()
    (folder / "old").write_bytes(b"old")
    with Layer(folder) as layer:
        if work == "written":
            (folder / "new").write_bytes(b"new!")
        elif work == "replaced":
            (folder / "part").write_bytes(b"new!")
            (folder / "part").replace(folder / "old")
        elif work == "removed":
            (folder / "old").unlink()
        elif work == "in a new folder":
            (folder / "a").mkdir()
            (folder / "a" / "new").write_bytes(b"new!")
            syncing.sync_file(folder / "a" / "new")
        else:
            disk.write_bytes(folder / "a" / "b" / "new", b"new!")
    return [state for index, _, state in states_left(layer.moments, models) if index == len(layer.moments) - 1]


OLD = {"old": b"old"}


@pytest.mark.parametrize(
    ("work", "strict", "journal"),
    [
        ("written", OLD, [OLD | {"new": content} for content in (b"", b"ne", b"\0\0\0\0")]),
        ("replaced", OLD, [{"old": content} for content in (b"", b"ne", b"\0\0\0\0")]),
        ("removed", OLD, [{}] * 3),
        ("in a new folder", OLD, [OLD | {"a": None, "a/new": b"new!"}] * 3),
        ("by the package", OLD | {"a": None, "a/b": None, "a/b/new": b"new!"}, None),
    ],
)
def test_the_layer_withholds_what_was_not_synced(
    tmp_path: Path, work: str, strict: State, journal: list[State] | None
) -> None:
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    assert left_by(tmp_path / "x", work, ("strict",)) == [strict]
    assert left_by(tmp_path / "y", work, ("journal",)) == (journal or [strict] * 3)


def test_a_folder_that_is_replaced_loses_no_file_in_between(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    disk.write_folder(folder / "replay", lambda to: [(to / name).write_bytes(b"1") for name in "abc"] and None)
    with Layer(folder) as layer:
        disk.write_folder(folder / "replay", lambda to: [(to / name).write_bytes(b"2") for name in "ab"] and None)
    for _, _, state in states_left(layer.moments):
        assert state["replay/a"] in (b"1", b"2") and state["replay/b"] in (b"1", b"2")
    last = {"replay": None, "replay/a": b"2", "replay/b": b"2"}
    assert visible_state(layer.moments[-1]) == last
    assert strict_state(layer.moments[-1]).items() >= last.items()


@pytest.mark.parametrize("code", [errno.EIO, errno.ENOSPC, errno.EROFS])
def test_a_folder_that_cannot_be_synced_is_an_error_that_names_the_file(tmp_path: Path, code: int) -> None:
    path = tmp_path.resolve() / "x.json"
    with Layer(path.parent, Fault(4, code, lasts=False), records=False), pytest.raises(syncing.WriteError) as raised:
        disk.write_bytes(path, b"new")
    assert str(raised.value) == f"{path} can't be written: {os.strerror(code)}" and raised.value.errno == code


def test_a_file_system_that_cannot_sync_folders_is_no_error(tmp_path: Path) -> None:
    with Layer(tmp_path.resolve(), Fault(4, errno.EINVAL, lasts=False), records=False):
        disk.write_bytes(tmp_path.resolve() / "x.json", b"new")
    assert (tmp_path / "x.json").read_bytes() == b"new"


def test_a_checksum_is_recorded_of_what_is_on_the_disk(tmp_path: Path) -> None:
    folder = tmp_path.resolve()
    with Layer(folder) as layer:
        with (folder / "metrics.jsonl").open("ab") as file:
            file.write(b"row\n")
        file_entry(folder / "metrics.jsonl")
        syncing.sync_folder(folder)
    assert strict_state(layer.moments[-1]) == {"metrics.jsonl": b"row\n"}


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # the file of tensorboardX
def test_the_error_that_ends_a_run_is_the_first_one(tmp_path: Path) -> None:
    """A disk that becomes read-only lets closing the TensorBoard file fail as well."""
    path = tmp_path.resolve() / "metrics.jsonl"
    operations: list[str] = []
    with Layer(path.parent, operations.append, records=False), MetricsLog(path, path.parent / "tensorboard") as log:
        log.write({"kind": "episode", "env_steps": 1, "return": 1.0})
        first = len(operations)
        log.position()
    with (
        pytest.raises(syncing.WriteError, match="(tensorboard|metrics.jsonl) can't be written: Read-only"),
        Layer(path.parent, Fault(first, errno.EROFS, lasts=True), records=False),
        MetricsLog(path, path.parent / "tensorboard") as log,
    ):
        log.write({"kind": "episode", "env_steps": 1, "return": 1.0})
        log.position()
