import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from rlottery.processes import stopping
from rlottery.storage import temporary_files
from rlottery.storage.disk import write_bytes, write_folder
from rlottery.storage.paths import Store
from rlottery.storage.temporary_files import remove_leftovers, temporary_path

HOST, OTHER = temporary_files._HOST, "0123abcd"
HOUR, DAY = 3600.0, 86400.0


@pytest.fixture(scope="module")
def dead() -> int:
    """The number of a process that has ended."""
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    return process.pid


@pytest.mark.parametrize(
    ("whose", "host", "age", "goes"),
    [
        ("dead", HOST, 0.0, True),
        ("live", HOST, DAY, False),
        ("live", HOST, 4 * DAY, True),  # its number has another process now
        ("dead", OTHER, DAY, False),
        ("dead", OTHER, 4 * DAY, True),
        ("dead", None, 0.0, False),  # of an earlier version, perhaps on another machine
        ("dead", None, 2 * HOUR, True),
        ("live", None, 2 * HOUR, False),
    ],
)
def test_files_of_dead_processes_go_and_no_others(
    whose: str, host: str | None, age: float, goes: bool, tmp_path: Path, dead: int
) -> None:
    pid, end = (dead if whose == "dead" else os.getpid()), "" if host is None else f"-{host}"
    left = [tmp_path / f".agent.safetensors.partial-{pid}{end}", tmp_path / f".write-test-{pid}{end}"]
    folder = tmp_path / f".replay.partial-{pid}{end}"
    folder.mkdir()
    others = [tmp_path / name for name in ("a.partial-1", ".a.partial-x", f".a.partial-{dead}-{HOST}.json", ".lock")]
    for path in (*left, *others, folder / "rewards.npy"):
        path.write_bytes(b"x")
    for path in (*left, folder):
        os.utime(path, (0, 1e9 - age))
    remove_leftovers([tmp_path, tmp_path / "nowhere"], now=1e9)
    assert [path.exists() for path in (*left, folder)] == [not goes] * 3
    assert all(path.exists() for path in others)


def test_every_folder_of_a_study_is_cleaned(tmp_path: Path, dead: int) -> None:
    store = Store(tmp_path)
    run = store.run("A-v0", 0, "dense")
    places = [tmp_path, tmp_path / "masks", store.trials, store.report, store.report / "figures", run.folder]
    left = [temporary_path(place / "x.json") for place in (*places, run.checkpoint)]
    left = [path.with_name(path.name.replace(str(os.getpid()), str(dead))) for path in left]
    for path in left:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    remove_leftovers(store.written_folders(), store.check_writable())
    assert not [path for path in left if path.exists()]
    assert abs(store.check_writable() - time.time()) < 60


def test_what_is_being_written_goes_when_a_signal_ends_the_process(tmp_path: Path) -> None:
    """`end_process` calls this; the process would be gone after it."""

    def stopped(folder: Path) -> None:
        (folder / "a").write_bytes(b"half")
        write_bytes(tmp_path / "whole", b"whole")
        half = temporary_path(tmp_path / "file")
        half.write_bytes(b"half")
        assert {path.name for path in tmp_path.iterdir()} == {"whole", folder.name, half.name}
        assert temporary_files._remove_own in stopping._at_end
        temporary_files._remove_own()
        assert {path.name for path in tmp_path.iterdir()} == {"whole"}
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "replay", stopped)
