import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rlottery.errors import StudyError
from rlottery.storage import locks
from rlottery.storage.paths import RunFiles

HOLD = """
import pathlib, sys
from rlottery.storage.locks import hold
from rlottery.storage.paths import RunFiles
with hold(RunFiles(pathlib.Path(sys.argv[1]))):
    print("held", flush=True)
    sys.stdin.read()
"""


@contextmanager
def held_elsewhere(files: RunFiles) -> Iterator[subprocess.Popen[str]]:
    """Another process holds the run's folder."""
    arguments = [sys.executable, "-c", HOLD, str(files.folder)]
    with subprocess.Popen(arguments, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
        process.kill()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "PATIENCE_SECONDS", 0.1)


def test_the_holder_is_named(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    assert locks.holder_of(files) is None
    with held_elsewhere(files) as other:
        words = f"Another process is using {files.folder}: process {other.pid} on {socket.gethostname()}, since 20"
        with pytest.raises(StudyError, match=re.escape(words)), locks.hold(files):
            pass
        holder = locks.holder_of(files)
        assert holder is not None and (holder.pid, holder.parent) == (other.pid, os.getpid())
        assert not holder.is_orphan


def test_a_lock_ends_with_its_holder_however_that_dies(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    with held_elsewhere(files) as other:
        other.kill()
        other.wait()
        assert locks.holder_of(files) is None
        with locks.hold(files):
            told = json.loads(files.lock.read_text())
            assert told["pid"] == os.getpid()
    assert locks.holder_of(files) is None


def test_a_holder_whose_parent_has_gone_is_an_orphan() -> None:
    host = socket.gethostname()
    assert locks.Holder(1, 2**30, host, 0.0).is_orphan
    assert not locks.Holder(1, os.getpid(), host, 0.0).is_orphan
    assert not locks.Holder(1, 2**30, "another host", 0.0).is_orphan


@pytest.mark.parametrize("content", [b"", b"[]", b'{"pid": "x"}', b"{" * 5000, b'{"pid": 1e999}'])
def test_a_lock_file_of_any_content_will_do(tmp_path: Path, content: bytes) -> None:
    files = RunFiles(tmp_path)
    files.lock.write_bytes(content)
    assert locks.holder_of(files) is None
    with held_elsewhere(files):
        files.lock.write_bytes(content)
        holder = locks.holder_of(files)
        assert holder is not None and holder.host == "an unknown host"


def test_a_lock_that_is_a_link_is_not_followed(tmp_path: Path) -> None:
    files = RunFiles(tmp_path / "run")
    files.folder.mkdir()
    (tmp_path / "precious").write_text("precious")
    files.lock.symlink_to(tmp_path / "precious")
    with pytest.raises(OSError), locks.hold(files):
        pass
    assert (tmp_path / "precious").read_text() == "precious"
