"""The process that sends the metrics of a command's runs to one tracker while these are trained.

It follows the files of the runs, with low priority, and training knows nothing of it: a library that fails, hangs,
prints or ends its process affects this one alone. What to do is JSON in an open file, whose descriptor is the argument.
The end of standard input says that no more rows will come. What libraries print goes to a log. The process ends with
exit code 0 once all is sent. If a call fails, or doesn't return, it ends with another, after a line of JSON on standard
output that says why.
"""

import contextlib
import json
import os
import selectors
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from threading import Thread
from typing import Any, NoReturn

from rlottery.config import Tracking
from rlottery.errors import located_text
from rlottery.safety.regular_files import regular
from rlottery.tracking.sender import Sender
from rlottery.tracking.sinks import make_sink, without_passwords
from rlottery.tracking.tracked_run import TrackedRun

POLL_SECONDS = 5.0
"""How often the files of runs are looked at."""
UNBEGUN_AT_ONCE = 100
"""The most runs without metrics that are looked at each time."""
CALL_SECONDS = 120.0
"""How long the library may take for one run at a time."""
NICENESS = 10
MOST_LOG_BYTES = 2**20
SENT, FAILED = 0, 1
"""Exit codes."""


class Watchdog:
    """Ends the process if a call takes too long."""

    def __init__(self, answer: int):
        self._answer, self._deadline = answer, float("inf")
        Thread(target=self._watch, daemon=True).start()

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        self._deadline = time.monotonic() + CALL_SECONDS
        try:
            yield
        finally:
            self._deadline = float("inf")

    def _watch(self) -> None:
        while time.monotonic() < self._deadline:
            time.sleep(0.5)
        fail(self._answer, f"its library didn't return within {CALL_SECONDS:g} seconds")


def fail(answer: int, why: str) -> NoReturn:
    """End the process, and all threads of the library."""
    with contextlib.suppress(OSError):
        os.write(answer, (json.dumps({"why": " ".join(without_passwords(why).split())[:500]}) + "\n").encode())
    os._exit(FAILED)


def main(descriptor: int) -> NoReturn:
    """Send what the message in an open file asks for, until standard input ends."""
    answer = os.dup(1)
    with open(descriptor, "rb") as file:
        message = json.load(file)
    _print_to(Path(message["log"]))
    with contextlib.suppress(OSError):
        os.nice(NICENESS)
    watchdog = Watchdog(answer)
    try:
        _follow(message, watchdog)
    except BaseException as error:
        fail(answer, located_text(error))
    os._exit(SENT)


def _follow(message: Any, watchdog: Watchdog) -> None:
    tracking = Tracking.model_validate(message["tracking"])
    ((tracker, settings),) = tracking.chosen.items()
    with watchdog.watching():
        sender = Sender(tracker, make_sink(tracker, settings, Path(message["folder"]), message["study"]))
    left = [TrackedRun.from_json(run) for run in message["runs"]]
    left = _look(sender, watchdog, left, all_of_them=False)
    has_ended = False
    while not has_ended:
        has_ended = _input_has_ended(POLL_SECONDS)
        left = _look(sender, watchdog, left, all_of_them=has_ended)
    with watchdog.watching():
        sender.close()


def _look(sender: Sender, watchdog: Watchdog, runs: Sequence[TrackedRun], *, all_of_them: bool) -> list[TrackedRun]:
    """Send what is new. Returns the runs that are not done, in the order of the next look."""
    begun = [run for run in runs if all_of_them or run.files.tracking.exists()]
    others = [run for run in runs if run not in begun]
    looked_at, rest = others[:UNBEGUN_AT_ONCE], others[UNBEGUN_AT_ONCE:]
    left = []
    for run in (*begun, *looked_at):
        with watchdog.watching():
            is_done = sender.send(run)
        if not is_done:
            left.append(run)
    return [*(run for run in left if run in begun), *rest, *(run for run in left if run not in begun)]


def _input_has_ended(seconds: float) -> bool:
    """Wait for the end of standard input, at most so long."""
    with selectors.DefaultSelector() as selector:
        selector.register(0, selectors.EVENT_READ)
        return bool(selector.select(seconds)) and not os.read(0, 1_024)


def _print_to(log: Path) -> None:
    """Send what is printed to a file, which begins anew when it has become large."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with open(log, "ab", opener=regular) as file:
        if file.tell() > MOST_LOG_BYTES:
            file.truncate(0)
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)


if __name__ == "__main__":
    main(int(sys.argv[1]))
