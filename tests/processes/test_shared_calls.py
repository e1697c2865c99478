import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from rlottery.processes.shared_calls import call_all


def leave_a_child(parent: int) -> int:
    if os.getpid() != parent:
        os._exit(3)
    return parent


def wait_for(path: Path) -> int:
    deadline = time.monotonic() + 60
    while not path.exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    return int(path.exists())


def touch_and_wait(path: Path, other: Path) -> int:
    path.touch()
    wait_for(other)
    return os.getpid()


@pytest.mark.parametrize("processes", [0, 1, 2, 3])
def test_results_are_in_order(processes: int) -> None:
    own, shared = [partial(int, text) for text in "12"], [partial(int, text) for text in "3456789"]
    assert call_all(own, shared, processes) == [1, 2, 3, 4, 5, 6, 7, 8, 9]


def test_without_calls() -> None:
    assert call_all([], [], 2) == []


def test_each_call_is_made_once_and_several_processes_make_them(tmp_path: Path) -> None:
    # Each of the two waits for the other, so that one process alone can't make both.
    paths = tmp_path / "a", tmp_path / "b"
    shared = [partial(touch_and_wait, *paths), partial(touch_and_wait, *reversed(paths)), os.getpid, os.getpid]
    first, second, *rest = call_all([], shared, 2)
    assert first != second and os.getpid() in (first, second)
    assert set(rest) <= {first, second}


def test_others_begin_while_own_calls_are_made(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    found = call_all([partial(wait_for, begun)], [partial(touch_and_wait, begun, begun), os.getpid], 2)
    assert found[0] == 1
    assert found[1] != os.getpid()


def test_what_a_dead_process_leaves_is_called_here() -> None:
    shared = [partial(leave_a_child, os.getpid()), *[partial(int, text) for text in "123"]]
    # The other process takes the first call, while this one is busy.
    assert call_all([partial(_sleep, 2.0)], shared, 2) == [0, os.getpid(), 1, 2, 3]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("place", [0, 1])
def test_errors_are_raised(place: int, processes: int) -> None:
    calls: list[list[Callable[[], int]]] = [[partial(int, "1")], [partial(int, "2"), partial(int, "3")]]
    calls[place].append(partial(int, "x"))
    with pytest.raises(ValueError, match="'x'"):
        call_all(*calls, processes)


def _sleep(seconds: float) -> int:
    time.sleep(seconds)
    return 0
