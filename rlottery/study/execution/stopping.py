"""How a command is stopped: once asked, it saves its work and ends; asked by Ctrl-C again, it stops at once."""

import signal
import time
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Ctrl-C; a cluster's warning; a terminal that closed."""

ONE_KEYSTROKE_SECONDS = 0.5
"""What comes sooner is the same Ctrl-C, passed on by a process in between, such as uv."""


class StopSignals:
    """While it is entered, the first signal of `SIGNALS` only sets `number`; a second SIGINT is an interrupt.

    A signal that this process was started to ignore (``nohup``, a shell's background job) stays ignored.

    Attributes:
        number: of the first signal, or None.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._heard = 0.0
        self._before: dict[int, object] = {}

    def wanted(self) -> bool:
        """Whether to stop."""
        return self.number is not None

    def __enter__(self) -> "StopSignals":
        for number in SIGNALS:
            if signal.getsignal(number) != signal.SIG_IGN:
                try:
                    self._before[number] = signal.signal(number, self._note)
                except ValueError:  # not the main thread, which alone hears signals
                    break
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self.number is None:
            self.number, self._heard = number, time.monotonic()
        elif number == signal.SIGINT and time.monotonic() - self._heard > ONE_KEYSTROKE_SECONDS:
            raise KeyboardInterrupt
