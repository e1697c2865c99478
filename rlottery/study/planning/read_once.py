"""Files and values that several jobs of a plan share are read once.

All arms of a task and seed start from the same dense agent, and a control from its ticket's mask. Whoever plans says so
with `reading_once`: inside, nothing changes the files. Elsewhere every call reads again.
"""

from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")
_KNOWN: ContextVar[dict[Hashable, Any] | None] = ContextVar("known", default=None)


@contextmanager
def reading_once() -> Iterator[None]:
    """Within this, `once` remembers what it has read. At the end it is forgotten."""
    token = _KNOWN.set({})
    try:
        yield
    finally:
        _KNOWN.reset(token)


def once(key: Hashable, read: Callable[[], T]) -> T:
    """What `read` returns, or has returned for this key. What it raises is raised again by the next call.

    Whoever gets it must not change it.
    """
    known = _KNOWN.get()
    if known is None:
        return read()
    if key not in known:
        known[key] = read()
    found: T = known[key]
    return found
