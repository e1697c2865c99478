"""Calls that several processes share: each takes the next one that nobody has taken, until all are done."""

import contextlib
import pickle
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from rlottery.processes.children import ChildCall, end_calls
from rlottery.processes.stopping import at_end

T = TypeVar("T")
_CALLS = "calls"
_SECONDS = 3_600.0
"""How long another process may live."""
_PATIENCE = 60.0
"""How long this process waits for the others once it has nothing left to do."""
_MOST = 4
"""The most processes: there are about 20 calls, some longer than others."""
_folders: list[Path] = []


def call_all(own: Sequence[Callable[[], T]], shared: Sequence[Callable[[], T]], processes: int) -> list[T]:
    """What these return, first `own`, then `shared`.

    With several processes, others begin with `shared`. This one calls `own` first, and then helps them. What they leave
    undone, because they can't start, die or fail, is called here. So the results, and what is raised, are those of one
    process.

    The processes exchange pickles in a folder that only this user can read. No other files are read.

    Args:
        shared: can be pickled, as what they return: functions of rlottery with their arguments, say.
    """
    results = dict[int, T]()
    with contextlib.ExitStack() as stack:
        others = list[ChildCall]()
        if processes > 1 and len(shared) > 1:
            with contextlib.suppress(OSError):
                folder = Path(tempfile.mkdtemp(prefix="rlottery-"))
                stack.callback(_remove, folder)
                _folders.append(folder)
                (folder / _CALLS).write_bytes(pickle.dumps(list(shared)))
                for _ in range(min(processes, _MOST, len(shared)) - 1):
                    call = ChildCall(f"{__name__}:call_untaken", str(folder), seconds=_SECONDS)
                    others.append(stack.enter_context(call))
        called = [call() for call in own]
        if others:
            results = {place: call() for place, call in enumerate(shared) if _take(folder, place)}
            until = time.monotonic() + _PATIENCE
            while len(results) < len(shared):
                is_last = time.monotonic() > until or not any(other.is_running() for other in others)
                results |= _results_of_others(folder, [place for place in range(len(shared)) if place not in results])
                if is_last:
                    break
                time.sleep(0.01)
    return called + [results[place] if place in results else call() for place, call in enumerate(shared)]


def call_untaken(folder: str) -> None:
    """In another process: call what nobody has taken yet. Each result is written to a file of its own at once."""
    shared = Path(folder)
    for place, call in enumerate(pickle.loads((shared / _CALLS).read_bytes())):
        if _take(shared, place):
            written = shared / f"{place}.partial"
            written.write_bytes(pickle.dumps(call()))
            written.rename(shared / f"{place}.result")


def _take(folder: Path, place: int) -> bool:
    """Whether this process is the first that wants to make a call. An empty file says that it is taken."""
    try:
        (folder / str(place)).touch(exist_ok=False)
    except OSError:  # it exists, or nothing can be written any more
        return False
    return True


def _results_of_others(folder: Path, places: Sequence[int]) -> dict[int, T]:
    found = dict[int, T]()
    for place in places:
        with contextlib.suppress(OSError, EOFError, pickle.UnpicklingError):
            found[place] = pickle.loads((folder / f"{place}.result").read_bytes())
    return found


def _remove(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    _folders.remove(folder)


@at_end
def _remove_all() -> None:
    end_calls()  # which may be writing
    for folder in _folders:
        shutil.rmtree(folder, ignore_errors=True)
