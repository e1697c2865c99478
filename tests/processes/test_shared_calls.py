import os
import pickle
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from rlottery.processes import shared_calls
from rlottery.processes.shared_calls import call_all
from tests.waiting import wait_for, wait_until_dead

HANGS = """
import sys, time
from functools import partial
from pathlib import Path
from rlottery.processes.shared_calls import call_all
from rlottery.processes.stopping import own_process
own_process()
call_all([partial(time.sleep, 600)], [partial(Path(sys.argv[1]).touch), partial(time.sleep, 600), int], 2)
"""


def exists(path: Path) -> int:
    """1, once the file is there."""
    wait_for(path.exists)
    return 1


def note_and_wait(path: Path, other: Path) -> int:
    """The process that calls it."""
    with path.open("a") as file:
        file.write("called\n")
    wait_for(other.exists)
    return os.getpid()


def leave_a_child(parent: int, path: Path) -> int:
    path.touch()
    if os.getpid() != parent:
        os._exit(3)
    return parent


def fail_in_a_child(parent: int, path: Path) -> int:
    path.touch()
    if os.getpid() != parent:
        raise ValueError("only here")
    return parent


@pytest.mark.parametrize("processes", [0, 1, 2, 3])
def test_results_are_in_order(processes: int) -> None:
    own, shared = [partial(int, text) for text in "12"], [partial(int, text) for text in "3456789"]
    assert call_all(own, shared, processes) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_without_calls() -> None:
    assert call_all([], [], 2) == []


def test_each_call_is_made_once_and_several_processes_make_them(tmp_path: Path) -> None:
    # Each of the two waits for the other, so that one process alone can't make both.
    paths = tmp_path / "a", tmp_path / "b"
    shared = [partial(note_and_wait, *paths), partial(note_and_wait, *reversed(paths)), os.getpid, os.getpid]
    first, second, *rest = call_all([], shared, 2)
    assert first != second and os.getpid() in (first, second)
    assert set(rest) <= {first, second}
    assert [path.read_text() for path in paths] == ["called\n"] * 2


def test_others_begin_while_own_calls_are_made(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    found = call_all([partial(exists, begun)], [partial(note_and_wait, begun, begun), os.getpid], 2)
    assert found[1] != os.getpid()


@pytest.mark.parametrize("odd", [leave_a_child, fail_in_a_child])
def test_what_others_leave_undone_is_called_here(odd: Callable[[int, Path], int], tmp_path: Path) -> None:
    taken, me = tmp_path / "taken", os.getpid()
    shared = [os.getpid, partial(odd, me, taken), *[partial(int, text) for text in "12"]]
    _, first, *rest = call_all([partial(exists, taken)], shared, 2)
    assert first != me  # what it had done before is kept
    assert rest == [me, 1, 2]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("place", [0, 1])
def test_errors_are_raised(place: int, processes: int) -> None:
    calls: list[list[Callable[[], int]]] = [[partial(int, "1")], [partial(int, "2"), partial(int, "3")]]
    calls[place].append(partial(int, "x"))
    with pytest.raises(ValueError, match="'x'"):
        call_all(*calls, processes)


def test_without_a_folder_or_a_process_all_is_called_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> None:
        raise OSError("no")

    for name in ("ChildCall", "tempfile.mkdtemp"):
        with monkeypatch.context() as patch:
            patch.setattr(f"rlottery.processes.shared_calls.{name}", fail)
            assert call_all([], [os.getpid, os.getpid], 2) == [os.getpid()] * 2


def test_one_that_hangs_or_loses_its_results_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_calls, "_PATIENCE", 0.1)
    taken, never = tmp_path / "taken", tmp_path / "never"

    def end() -> int:
        wait_for(taken.exists)
        monkeypatch.setattr(shared_calls.pickle, "loads", unreadable)
        return 0

    def unreadable(_: bytes) -> None:
        raise pickle.UnpicklingError

    me = os.getpid()
    shared = [os.getpid, partial(hang_in_a_child, me, taken, never)]
    assert call_all([end], shared, 2) == [0, me, me]


def hang_in_a_child(parent: int, taken: Path, never: Path) -> int:
    taken.touch()
    return parent if os.getpid() == parent else note_and_wait(taken, never)


def test_nothing_is_left_when_it_is_stopped(tmp_path: Path) -> None:
    folder, taken = tmp_path / "temporary", tmp_path / "taken"
    folder.mkdir()
    environment = dict(os.environ) | {"TMPDIR": str(folder)}
    process = subprocess.Popen([sys.executable, "-c", HANGS, str(taken)], env=environment, start_new_session=True)
    wait_for(taken.exists)
    assert list(folder.iterdir())
    process.send_signal(signal.SIGTERM)
    process.wait(60)
    wait_until_dead(process.pid)
    assert not list(folder.iterdir())
    assert tempfile.gettempdir() != str(folder)
