"""How a command ends at Ctrl-C, at SIGTERM (a cluster's warning) and at SIGHUP (a terminal that is closed).

While runs are trained, the first signal only asks to stop, so that they can save their work. At all other times it ends
the process at once, with one line. The stack isn't unwound, because code of other people may be anywhere on it.

Commands import this module before any other, so it imports nothing that takes long.
"""

from __future__ import annotations

import _thread
import atexit
import os
import sys
import time

TYPE_CHECKING = False  # as in `typing`, which takes long to import, as do `signal` and `contextlib`
if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Iterable, Mapping
    from types import FrameType
    from typing import Any, NoReturn
else:
    import _signal as signal

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
TERMINATED, INTERRUPTED = 75, 130
"""Exit codes. 75 is EX_TEMPFAIL of sysexits.h: a failure that passes, so try again."""
AGAIN = "Stopped. Run the same command again."
ONE_KEYSTROKE_SECONDS = 0.5
"""A second SIGINT within this time is the same Ctrl-C, forwarded by a process such as uv."""
FLUSH_SECONDS = 1.0
"""How long it may take to write what was printed before, and then the line."""

_exit = os._exit
"""The real one: while code of the user runs, `os._exit` is another function."""
_line = AGAIN
_at_end: list[Callable[[], None]] = []


def own_process() -> None:
    """From now on, a signal ends this process at once: it belongs to a command.

    Signals that the process was started to ignore (``nohup``, a shell's background job) stay ignored. Once the command
    has its exit code, and Python takes itself apart, they are ignored too.
    """
    if _install(end_process):
        atexit.register(_ignore_signals)


class OwnedProcess:
    """A context in which a signal ends this process at once, as in `own_process`."""

    def __enter__(self) -> None:
        self._before = _install(end_process)

    def __exit__(self, *exception: object) -> None:
        restore(self._before)


def is_owned() -> bool:
    """Whether signals end this process at once, and not by an exception in the code that has called this package."""
    return any(signal.getsignal(number) is end_process for number in SIGNALS)


def say_when_stopped(line: str) -> None:
    """Set the line that is shown if a signal stops this command from now on."""
    global _line
    _line = line


def line_when_stopped() -> str:
    """The line that is shown if a signal stops this command now."""
    return _line


def exit_code(number: int) -> int:
    """The exit code of a command that a signal has stopped."""
    return INTERRUPTED if number == signal.SIGINT else TERMINATED


def at_end(clean: Callable[[], None]) -> Callable[[], None]:
    """Call `clean` when a signal ends this process. It must not wait for locks: another frame may hold them."""
    _at_end.append(clean)
    return clean


def end_process(number: int, frame: FrameType | None = None) -> NoReturn:
    """End this process with the exit code for a signal. Shows the line, and does what `at_end` was given."""
    _ignore_signals()
    _in_time(_flush)
    _in_time(_show_line)
    for clean in reversed(_at_end):
        _attempt(clean)
    _exit(exit_code(number))


class StopSignals:
    """A context in which the first signal only sets `number`, and a second SIGINT raises KeyboardInterrupt.

    Signals that the process was started to ignore stay ignored.

    Attributes:
        number: the first signal, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._received = 0.0
        self.stops_at_once = False
        self._before: Mapping[int, Any] = {}

    def wanted(self) -> bool:
        """Whether a signal has asked to stop."""
        return self.number is not None

    def at_once(self) -> _AtOnce:
        """A context in which the first signal stops at once, because nothing has to be saved.

        It ends the process if that belongs to a command (`own_process`), and raises KeyboardInterrupt(number) if not.
        """
        return _AtOnce(self)

    def __enter__(self) -> StopSignals:
        self._before = _install(self._handle)
        return self

    def __exit__(self, *exception: object) -> None:
        restore(self._before)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.stops_at_once:
            self.stop(number)
        if self.number is None:
            self.number, self._received = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._received > ONE_KEYSTROKE_SECONDS:
            raise KeyboardInterrupt

    def stop(self, number: int) -> NoReturn:
        """Stop at once."""
        if self._before.get(number) is end_process:
            end_process(number)
        raise KeyboardInterrupt(number)


class _AtOnce:
    """The context that `StopSignals.at_once` returns."""

    def __init__(self, signals: StopSignals) -> None:
        self._signals = signals

    def __enter__(self) -> None:
        self._signals.stops_at_once = True
        if self._signals.number is not None:  # since anybody looked
            self._signals.stop(self._signals.number)

    def __exit__(self, *exception: object) -> None:
        self._signals.stops_at_once = False


def _install(handler: Callable[[int, FrameType | None], Any]) -> dict[int, Any]:
    """Handle signals, except those that are ignored. Returns the handlers of before. Only the main thread can."""
    before: dict[int, Any] = {}
    for number, old in handlers_of(SIGNALS).items():
        if old not in (signal.SIG_IGN, handler) and _attempt(signal.signal, number, handler):
            before[number] = old
    return before


def handlers_of(numbers: Iterable[int]) -> dict[int, Any]:
    """The handlers of these signals, for `restore`. One that wasn't set by Python is left out: it can't be restored."""
    found = {number: signal.getsignal(number) for number in numbers}
    return {number: handler for number, handler in found.items() if handler is not None}


def restore(handlers: Mapping[int, Any]) -> None:
    """Set the handlers of signals again. Only the main thread can."""
    for number, handler in handlers.items():
        if signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _ignore_signals() -> None:
    for number in SIGNALS:
        _attempt(signal.signal, number, signal.SIG_IGN)


def _flush() -> None:
    """Write what is in the buffers."""
    for stream in (sys.stdout, sys.stderr):
        _attempt(lambda stream=stream: stream.flush())


def _show_line() -> None:
    os.write(2, f"{_line}\n".encode(errors="replace"))


def _in_time(write: Callable[[], object]) -> None:
    """Write something, unless that waits for somebody: a reader of a full pipe, or the frame that was interrupted."""
    written = _thread.allocate_lock()
    written.acquire()

    def work() -> None:
        _attempt(write)
        written.release()

    if _attempt(_thread.start_new_thread, work, ()):
        written.acquire(timeout=FLUSH_SECONDS)


def _attempt(function: Callable[..., object], *arguments: object) -> bool:
    """Call a function. Returns whether it raised nothing."""
    try:
        function(*arguments)
    except BaseException:
        return False
    return True
