"""How a command is stopped. The first signal lets it save its work and end; a second Ctrl-C stops it at once."""

import contextlib
import signal
import time
from collections.abc import Iterator
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; a cluster's warning; a terminal that is closed."""

ONE_KEYSTROKE_SECONDS = 0.5
"""A second SIGINT within this time is the same Ctrl-C, forwarded by a process such as uv."""


class StopSignals:
    """A context in which the first signal of `SIGNALS` only sets `number`, and a second SIGINT interrupts.

    A signal that this process was started to ignore (``nohup``, a shell's background job) stays ignored.

    Attributes:
        number: the first signal, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._received, self._at_once = 0.0, False
        self._before: dict[int, object] = {}

    def wanted(self) -> bool:
        """Whether a signal has asked to stop."""
        return self.number is not None

    @contextlib.contextmanager
    def at_once(self) -> Iterator[None]:
        """A context in which the first signal interrupts too, by KeyboardInterrupt(number). Nothing is to be saved."""
        self._at_once = True
        try:
            yield
        finally:
            self._at_once = False

    def __enter__(self) -> "StopSignals":
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._handle)
                except ValueError:  # only the main thread receives signals, and this is another one
                    break
        return self

    def __exit__(self, *exception: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._at_once:
            raise KeyboardInterrupt(number)
        if self.number is None:
            self.number, self._received = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._received > ONE_KEYSTROKE_SECONDS:
            raise KeyboardInterrupt
