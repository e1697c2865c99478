"""Locks of runs, and a command's place in a data folder. `tests/test_pipeline.py` has whole commands that meet."""

import contextlib
import fcntl
import json
import os
import re
import resource
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlottery.errors import GoneError, StudyError
from rlottery.storage import locks, work_place
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.work_place import WorkPlace, adopt

HOLD = """
import pathlib, sys
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.work_place import WorkPlace
store = Store(pathlib.Path(sys.argv[1]))
with WorkPlace(store) as place:
    place.enter(store.run("A-v0", 0, arm) for arm in sys.argv[2:])
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(store: Store, *arms: str) -> Iterator[subprocess.Popen[str]]:
    """Another command has these runs of seed 0."""
    arguments = [sys.executable, "-c", HOLD, str(store.root), *arms]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (locks, work_place):
        monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "data")


@pytest.fixture
def files(store: Store) -> RunFiles:
    return store.run("A-v0", 0, "dense")


def test_another_command_is_refused_before_it_has_anything(store: Store, files: RunFiles) -> None:
    runs = [store.run("A-v0", 0, arm) for arm in ("a", "dense", "z")]
    assert locks.holder_of(files) is None
    with held_elsewhere(store, "dense") as other:
        words = re.escape(f"Another process is using {files.folder}: process {other.pid} on {socket.gethostname()}, ")
        with pytest.raises(StudyError, match=words), WorkPlace(store) as place:
            place.enter(runs)
        with pytest.raises(StudyError, match=words):
            locks.hold(files)
        assert [locks.holder_of(run) is None for run in runs] == [True, False, True]
        holder = locks.holder_of(files)
        assert holder is not None and (holder.pid, holder.parent) == (other.pid, other.pid) and not holder.is_orphan
        with WorkPlace(store) as place:  # other runs are free
            place.enter([runs[0], runs[2]])
        # Deleting the run's folder, or the whole data folder, lets nobody in.
        files.folder.mkdir(parents=True)
        shutil.rmtree(store.runs)
        with pytest.raises(StudyError, match=words), WorkPlace(store) as place:
            place.enter(runs)
        if sys.platform == "linux":
            shutil.rmtree(store.root)
            gone = f"{store.root} was deleted or replaced while process {other.pid} works in it. Wait until"
            for _ in range(2):
                with pytest.raises(StudyError, match=re.escape(gone)), WorkPlace(store) as place:
                    place.enter(runs)
        other.kill()
        other.wait()
        assert locks.holder_of(files) is None
        with WorkPlace(store) as place:
            place.enter(runs)
            assert json.loads(files.lock.read_text())["pid"] == os.getpid()
            assert locks.try_lock(files) is None
        assert locks.holder_of(files) is None


def test_a_worker_keeps_the_lock_that_it_has_inherited(store: Store, files: RunFiles) -> None:
    place = WorkPlace(store)
    place.enter([files])
    lock, *signs = (os.dup(descriptor) for descriptor in place.inherited([files]))  # as a worker has them
    place.leave()  # the command dies
    assert locks.try_lock(files) is None
    adopt(files, lock, parent=2**30)
    holder = locks.holder_of(files)
    assert holder is not None and (holder.pid, holder.parent) == (os.getpid(), 2**30) and holder.is_orphan
    said: list[str] = []
    other = WorkPlace(store, said.append)
    with pytest.MonkeyPatch.context() as patch, pytest.raises(StudyError, match="Another process is using"):
        patch.setattr(work_place, "ORPHAN_SECONDS", 0.3)
        other.enter([files])
    assert said == [f"Waiting for {holder} to save its work: the command that started it has died."]
    for descriptor in (lock, *signs):
        os.close(descriptor)
    with other:
        other.enter([files])


def test_a_lock_that_is_taken_if_it_is_free_is_not_waited_for(store: Store, files: RunFiles) -> None:
    other = locks.hold(files)
    with pytest.MonkeyPatch.context() as patch, WorkPlace(store) as place:
        patch.setattr(work_place.time, "sleep", lambda seconds: pytest.fail("it waits"))
        assert not place.enter_if_free(files)
        other.release()
        assert place.enter_if_free(files) and place.enter_if_free(files)
        assert locks.try_lock(files) is None


@pytest.mark.parametrize("looks", [1, 2])
def test_a_lock_that_is_released_while_it_is_looked_at_is_no_error(store: Store, files: RunFiles, looks: int) -> None:
    other, calls = locks.hold(files), []

    def holder_of(of: RunFiles) -> locks.Holder | None:
        calls.append(of)
        if len(calls) == looks:
            other.release()
        return locks.holder_of(of)

    with pytest.MonkeyPatch.context() as patch, WorkPlace(store) as place:
        patch.setattr(work_place, "holder_of", holder_of)
        patch.setattr(work_place, "PATIENCE_SECONDS", 0.0)
        place.enter_if_free(files)
    other.release()
    assert locks.holder_of(files) is None


def test_a_run_notices_that_its_folder_or_lock_is_gone(files: RunFiles) -> None:
    for path in (files.folder, files.lock):
        files.folder.mkdir(parents=True, exist_ok=True)
        with locks.hold(files) as lock:
            lock.watch_folder()
            lock.check_intact()
            shutil.rmtree(path) if path.is_dir() else path.unlink()
            with pytest.raises(GoneError, match=re.escape(f"{path} was deleted or replaced while this run")):
                lock.check_intact()
            path.mkdir() if path == files.folder else path.touch()  # somebody else has created it again
            with pytest.raises(GoneError):
                lock.check_intact()


def test_a_lock_of_an_earlier_version_counts_while_it_is_held(files: RunFiles) -> None:
    files.folder.mkdir(parents=True)
    with files.earlier_lock.open("w") as earlier:
        with locks.hold(files):
            pass
        fcntl.flock(earlier, fcntl.LOCK_EX)
        with pytest.raises(StudyError, match="Another process is using"):
            locks.hold(files)
        assert locks.holder_of(files) is not None


def test_a_holder_whose_command_has_gone_is_an_orphan() -> None:
    host = socket.gethostname()
    assert locks.Holder(1, 2**30, host, 0.0).is_orphan
    assert not locks.Holder(1, os.getpid(), host, 0.0).is_orphan
    assert not locks.Holder(1, 2**30, "another host", 0.0).is_orphan


FAR = b'{"pid": 1, "parent": 1, "host": "", "since": 1e300}'


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x"}', b"{" * 5000, b'{"pid": 1e999}', FAR])
def test_a_lock_file_of_any_content_will_do(files: RunFiles, content: bytes) -> None:
    files.lock.parent.mkdir(parents=True)
    files.lock.write_bytes(content)
    assert locks.holder_of(files) is None
    with locks.hold(files):
        files.lock.write_bytes(content)
        holder = locks.holder_of(files)
        assert holder is not None and holder.host == "an unknown host"


@pytest.mark.parametrize("kind", ["link", "dangling", "pipe", "socket", "folder"])
def test_what_is_no_file_is_one_message_and_no_hang(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # names of sockets are short
    store = Store(Path("d"))
    files = store.run("A-v0", 0, "dense")
    Path("precious").write_text("precious")
    for path in (files.lock, store.record_lock):
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            if kind in ("link", "dangling"):
                path.symlink_to(Path("precious" if kind == "link" else "nowhere").absolute())
            elif kind == "pipe":
                os.mkfifo(path)
            elif kind == "socket":
                stack.enter_context(socket.socket(socket.AF_UNIX)).bind(str(path))
            else:
                path.mkdir()
            with pytest.raises(StudyError, match=f"The lock file {re.escape(str(path))} can't be used: not a regular"):
                stack.enter_context(locks.hold(files) if path == files.lock else locks.one_at_a_time(path))
    assert Path("precious").read_text() == "precious" and not Path("nowhere").exists()


def test_a_file_system_without_locks_is_told_in_words(files: RunFiles, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(StudyError, match="can't be locked: No locks available. The file system must have locks: mount"):
        locks.hold(files)


def test_more_runs_than_open_files_are_locked_later(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    limits = [(300, 310)]
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, limit: limits.append(limit))
    runs = [store.run("A-v0", seed, "dense") for seed in range(60)]
    with WorkPlace(store) as place:
        place.enter(runs)
        assert limits == [(300, 310), (310, 310)]
        held = [run for run in runs if locks.holder_of(run) is not None]
        assert len(held) == 310 - work_place.OTHER_FILES
        late = next(run for run in runs if run not in held)
        place.lock(late)
        assert locks.holder_of(late) is not None
        place.release(late)
        assert locks.holder_of(late) is None
    assert limits == [(300, 310), (310, 310), (300, 310)]
