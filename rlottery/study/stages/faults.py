"""What ends a job though nothing is wrong with its work: a signal, a full disk, or another fault of the machine."""

from enum import Enum, auto
from pathlib import Path

from rlottery.errors import StoppedError
from rlottery.processes.machine_faults import fix_for
from rlottery.storage.disk import FULL
from rlottery.storage.syncing import WriteError

AGAIN = "Then run this command again."


class Fault(Enum):
    """The kinds of such an end. A run that ends so is not over: it continues from its checkpoint."""

    STOPPED = auto()
    DISK_FULL = auto()
    MACHINE = auto()


def fault_of(error: BaseException, data: Path | None) -> Fault | None:
    """Of which kind the error is that has ended a job; None if it is one of the work itself.

    Args:
        data: the study's data folder.
    """
    if isinstance(error, StoppedError):
        return Fault.STOPPED
    if isinstance(error, OSError) and error.errno in FULL:
        return Fault.DISK_FULL
    return Fault.MACHINE if isinstance(error, WriteError) or fix_for(error, data) else None


def with_fix(text: str, error: BaseException, data: Path | None) -> str:
    """A text about a fault of the machine, followed by what to do about it."""
    return f"{text}. {fix_for(error, data) or 'Fix this'}. {AGAIN}"
