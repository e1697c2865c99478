"""Which errors are the machine's, and which those of the code that ran."""

import errno
import os
from pathlib import Path

import pytest

from rlottery.processes.machine_faults import fix_for


@pytest.mark.parametrize("number", [errno.EROFS, errno.EIO, errno.ESTALE, errno.ENOMEM, errno.EFBIG, errno.EACCES])
def test_a_file_that_is_not_the_studys_is_not_the_machines(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (tmp_path / "link").symlink_to(data)
    monkeypatch.chdir(tmp_path)

    def fix(filename: object, folder: Path | None = data) -> str | None:
        return fix_for(OSError(number, os.strerror(number), filename), folder)

    for own in (data / "runs" / "agent", str(data), b"data/runs", tmp_path / "link" / "agent"):
        assert fix(own) and fix(own, Path("link")), own
    for other in ("/opt/simulator/cache", "cache", "../data", "data/\0", tmp_path / "database" / "x"):
        assert fix(other) is None
    assert fix(str(data), None) is None
    for nameless in (None, 5):
        assert (fix(nameless) is None) == (number == errno.EACCES)


def test_too_many_open_files_are_the_machines_wherever_they_are() -> None:
    for number in (errno.EMFILE, errno.ENFILE):
        for name in ("/opt/simulator/cache", None):
            assert fix_for(OSError(number, "too many", name), None) == "Raise the limit on open files: ulimit -n"


def test_memory_and_threads_are_the_machines() -> None:
    assert "Free memory" in (fix_for(MemoryError(), None) or "")
    assert "pids.max" in (fix_for(RuntimeError("can't start new thread"), None) or "")
    assert fix_for(RuntimeError("joint 3"), None) is None
    assert fix_for(BlockingIOError(errno.EAGAIN, "a socket of the code's own"), None) is None
