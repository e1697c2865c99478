"""Calls that several processes share: each takes the next one that nobody has taken, until all are done."""

import contextlib
import pickle
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rlottery.processes.children import ChildCall, ChildError

T = TypeVar("T")
_CALLS = "calls"
_SECONDS = 600.0
"""After so long, what a process has taken is called here."""
_MOST = 4
"""More processes than this take longer to start than they save."""


def call_all(own: Sequence[Callable[[], T]], shared: Sequence[Callable[[], T]], processes: int) -> list[T]:
    """What these return, first `own`, then `shared`.

    With several processes, others start on `shared`, this one calls `own` first, and helps them. What a process leaves
    undone because it can't start, or dies, is called here: the result is the same as with one process.

    Args:
        shared: can be pickled, as what they return; functions of rlottery with their arguments, say.
    """
    results = dict[int, T]()
    with contextlib.ExitStack() as stack:
        folder, others = Path(), list[ChildCall]()
        if processes > 1 and len(shared) > 1:
            with contextlib.suppress(OSError):
                folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rlottery-")))
                (folder / _CALLS).write_bytes(pickle.dumps(list(shared)))
                for _ in range(min(processes, _MOST, len(shared)) - 1):
                    call = ChildCall(f"{__name__}:call_untaken", str(folder), seconds=_SECONDS)
                    others.append(stack.enter_context(call))
        called = [call() for call in own]
        if others:
            results |= _call_untaken(folder, shared)
        for other in others if len(results) < len(shared) else []:
            with contextlib.suppress(ChildError):
                results |= pickle.loads(Path(other.result()).read_bytes())
    return called + [results[place] if place in results else call() for place, call in enumerate(shared)]


def call_untaken(folder: str) -> str:
    """In another process: call what nobody has taken yet. Returns the file with the results."""
    calls = pickle.loads((Path(folder) / _CALLS).read_bytes())
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as file:
        pickle.dump(_call_untaken(Path(folder), calls), file)
    return file.name


def _call_untaken(folder: Path, calls: Sequence[Callable[[], Any]]) -> dict[int, Any]:
    """The results of the calls that this process took, by their places. An empty file says that one is taken."""
    results = {}
    for place, call in enumerate(calls):
        try:
            (folder / str(place)).touch(exist_ok=False)
        except OSError:  # it exists, or nothing can be written any more
            continue
        results[place] = call()
    return results
