"""The errors that rlottery raises for its user. They form one family."""

import difflib
import sysconfig
import traceback
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rlottery.safety.printable import printable


class RlotteryError(Exception):
    """An error that the user can fix. The message says what is wrong, where, and how to fix it.

    The command line prints only the message, without a traceback, and exits with code 2. Messages are safe to print,
    whatever names and text from files they contain.
    """

    def __str__(self) -> str:
        return printable(super().__str__())


class ConfigError(RlotteryError):
    """A configuration that can't be run. The message names the key, the file and the line."""


class MaskError(RlotteryError):
    """A mask that can't be made, read or applied."""


def install_extra(extra: str) -> str:
    """How to install what an extra of rlottery brings, as the end of a message."""
    return f"pip install 'rlottery[{extra}]', or in a checkout: uv sync --extra {extra}"


def closest(name: object, known: Iterable[str]) -> str | None:
    """The known name that a misspelt one is most like, whatever the case of its letters; None if none is close.

    Of names that differ only in case, it is the one whose letters have the same case in most places.
    """
    if not isinstance(name, str):
        return None
    spellings: dict[str, list[str]] = {}
    for one in known:
        if one != name:
            spellings.setdefault(one.casefold(), []).append(one)
    nearest = difflib.get_close_matches(name.casefold(), spellings, n=1)
    if not nearest:
        return None
    return max(spellings[nearest[0]], key=lambda one: difflib.SequenceMatcher(None, name, one).ratio())


def or_closest(name: object, known: Iterable[str]) -> str:
    """``; did you mean 'random'?`` with the closest known name; "" if none is close."""
    meant = closest(name, known)
    return "" if meant is None else f"; did you mean {meant!r}?"


def unknown_choice(option: str, given: str, known: Iterable[str]) -> str:
    """The message about an option of the command line that has none of the values that it may have."""
    names = list(known)
    return f"{option} {given}: unknown{or_closest(given, names) or '.'} Choose from: {', '.join(names)}."


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Prefix the message of a MaskError raised inside with `where`, such as the name of a group."""
    try:
        yield
    except MaskError as error:
        raise MaskError(f"{where}: {error}") from error


class StudyError(RlotteryError):
    """Files of a study that are missing or damaged, or that another configuration made."""


class ForeignFileError(RlotteryError):
    """A file of another tool that can't be read, or that has no agent, replay or results that can be used here."""


class TaskError(RlotteryError):
    """A task that can't be made, or that no agent here can learn."""


class DivergedError(RlotteryError):
    """A loss, a weight or an action became NaN or infinite during training.

    Attributes:
        arrays: by name, the ``data.*`` that it happened on, and the ``agent.*`` afterwards.
    """

    def __init__(self, message: str, arrays: Mapping[str, Any]):
        super().__init__(message)
        self.arrays = arrays


class StoppedError(Exception):
    """A run was asked to stop. Nothing is wrong: it continues from its checkpoint when the study is run again."""


class GoneError(StoppedError):
    """The folder of a run was deleted while it was trained, or another process has taken the run over. Nothing more may
    be written there."""


def typed_text(error: BaseException) -> str:
    """The type and the message of an error in other people's code; if it has no message, the line that raised it."""
    kind, text = type(error).__name__, str(error)
    if text.strip():
        return f"{kind}: {text}"
    raised = traceback.extract_tb(error.__traceback__)[-1:]
    return f"{kind} in {raised[0].filename}, line {raised[0].lineno}: {raised[0].line}" if raised else kind


def error_text(error: BaseException) -> str:
    """An error's message, with the name of its type unless it is one of these."""
    return str(error) if isinstance(error, RlotteryError) else typed_text(error)


def located_text(error: BaseException) -> str:
    """`error_text`, and for errors in other people's code the place."""
    text, where = error_text(error), place_of(error)
    return text if isinstance(error, RlotteryError) or not where or where in text else f"{text}, in {where}"


def place_of(error: BaseException) -> str:
    """File and line of the innermost call that isn't in Python's own library: "/tasks/my_task.py, line 12"."""
    others = (sysconfig.get_path("stdlib"), "<frozen", str(Path(__file__).parent))
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if "site-packages" in frame.filename or not frame.filename.startswith(others):
            return f"{frame.filename}, line {frame.lineno}"
    return ""
