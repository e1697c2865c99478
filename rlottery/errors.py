"""The one family of errors that rlottery raises for the person who runs it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any


class RlotteryError(Exception):
    """Something that the user can mend. The message says what was wrong, where, and what mends it.

    The command line prints the message alone, without a traceback, and exits with code 2.
    """


class ConfigError(RlotteryError):
    """A configuration that can't be run: names the key, the file and the line."""


class MaskError(RlotteryError):
    """A mask that can't be made, read or applied."""


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Let a MaskError that is raised inside begin with `where`: the group, most often."""
    try:
        yield
    except MaskError as error:
        raise MaskError(f"{where}: {error}") from error


class StudyError(RlotteryError):
    """Files of the study that are missing, or that another configuration made."""


class TaskError(RlotteryError):
    """A task that can't be made or that this project can't learn."""


class DivergedError(RlotteryError):
    """A loss, a weight or an action became NaN or infinite during training.

    Attributes:
        evidence: arrays by name: ``data.*`` that it happened on, and the ``agent.*`` after it.
    """

    def __init__(self, message: str, evidence: Mapping[str, Any]):
        super().__init__(message)
        self.evidence = evidence


class StoppedError(Exception):
    """Work that ended early because it was told to; nothing is wrong, and it goes on from its checkpoint."""
