"""The fence: a process that has lost the run it works on puts nothing in place.

Whoever works on a run puts up a fence around its work (`RunLock`). `rlottery.storage.disk` checks it before a file gets
its name. Between that check and the new name a process may be suspended, and wake up when another one has taken the run
over. So that one removes all temporary files first (`temporary_files.revoke`): then there is nothing left to rename.
"""

from collections.abc import Callable
from contextvars import ContextVar, Token

_checks: ContextVar[Callable[[], None] | None] = ContextVar("fence", default=None)

Raised = Token[Callable[[], None] | None]


def raise_fence(check: Callable[[], None]) -> Raised:
    """Let `check_fence` call `check` in this thread, until `lower_fence`."""
    return _checks.set(check)


def lower_fence(raised: Raised) -> None:
    """Take a fence down again."""
    _checks.reset(raised)


def check_fence() -> None:
    """Raise GoneError if the run that this thread works on is another process's by now. Raises OSError if that can't
    be found out."""
    if (check := _checks.get()) is not None:
        check()
