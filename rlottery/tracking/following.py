"""Starts a process for each tracker (`process`), says once if tracking stops, and starts it again after a while."""

import json
import shlex
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from rlottery.config import TrackerName, TrackerSettings, Tracking
from rlottery.processes.children import child_environment, ended_by, python_command
from rlottery.processes.descendants import MARK, end_families, new_mark
from rlottery.processes.stopping import at_end
from rlottery.safety.printable import on_one_line
from rlottery.storage.paths import Store
from rlottery.tracking.process import SENT
from rlottery.tracking.sinks import TITLES
from rlottery.tracking.tracked_run import TrackedRun

LAST_SECONDS = 30.0
"""How long a command waits at its end for what is not sent yet."""
STOPPED_SECONDS = 3.0
"""The same for a command that a signal has stopped."""
SILENT_SECONDS = 3.0
"""How long it waits without a word."""
FIRST_PAUSE, LONGEST_PAUSE = 30.0, 900.0
"""Seconds until a process that has failed is started again. They double each time."""


class Follower:
    """The process that sends to one tracker."""

    def __init__(self, tracker: TrackerName, message: dict[str, Any], again: str, say: Callable[[str], None]):
        self._tracker, self._message, self._again, self._say = tracker, message, again, say
        self._process: subprocess.Popen[bytes] | None = None
        self._mark, self._pause, self._starts_at, self._has_said = new_mark(), FIRST_PAUSE, 0.0, False
        self._is_over = False

    def look(self) -> None:
        """Start the process if it is due, and say if it has ended too early."""
        if self._process is not None and self._process.poll() is not None:
            self._handle_end()
        if self._process is None and not self._is_over and time.monotonic() >= self._starts_at:
            self._start()

    def finish(self) -> None:
        """Ask the process to send what is left, and to end."""
        self._is_over = True
        if self._process is not None and self._process.stdin is not None:
            self._process.stdin.close()

    def is_at_work(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """End the process, if it still runs, and what it has started."""
        if self._process is None:
            return
        was_at_work = self.is_at_work()
        if was_at_work:
            end_families([(self._process, self._mark)])
        self._process.wait()
        if was_at_work:
            self._say_once("not everything was sent in time")
            self._close()
        else:
            self._handle_end()

    def kill(self) -> None:
        """End the process at once."""
        if self._process is not None:
            end_families([(self._process, self._mark)], 0.0)

    def _start(self) -> None:
        try:
            with tempfile.TemporaryFile() as file:  # a pipe would be full, of a study with many runs
                file.write(json.dumps(self._message).encode())
                file.seek(0)
                self._process = subprocess.Popen(
                    [*python_command("rlottery.tracking.process"), str(file.fileno())],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    pass_fds=[file.fileno()],
                    env=child_environment() | {MARK: self._mark},
                    start_new_session=True,  # Ctrl-C is for the command, which lets this process finish
                )
        except OSError as error:
            self._say_once(f"its process can't be started: {error.strerror}")
            self._is_over = True

    def _handle_end(self) -> None:
        assert self._process is not None and self._process.stdout is not None
        answer, code = self._process.stdout.read(10_000), self._process.returncode
        if code != SENT:
            try:
                why = str(json.loads(answer)["why"])
            except (ValueError, KeyError, TypeError):
                why = f"its process {ended_by(code)}"
            self._say_once(why)
        self._close()
        self._starts_at, self._pause = time.monotonic() + self._pause, min(2 * self._pause, LONGEST_PAUSE)

    def _close(self) -> None:
        assert self._process is not None
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()
        self._process = None

    def _say_once(self, why: str) -> None:
        if not self._has_said:
            self._has_said = True
            self._say(
                on_one_line(
                    f"{TITLES[self._tracker]} doesn't get all metrics: {why}. Runs go on, and their files have them. "
                    f"To send the rest later: {self._again}. Log: {self._message['log']}"
                )
            )


def _command(data: Path, tracker: TrackerName, settings: TrackerSettings) -> str:
    """The command that sends to the same place later."""
    given = settings.model_dump(mode="json", exclude_defaults=True)
    chosen = shlex.quote(f"tracking={json.dumps({tracker: given})}") if given else f"--to {tracker}"
    return f"rlottery track {shlex.quote(str(data))} {chosen}"


class Followers:
    """A context in which the metrics of runs are sent to the trackers of a config.

    Args:
        data: the study's data folder.
        study: how `rlottery track` is given the study.
        say: shows a line.
        is_stopped: whether a signal has stopped the command, so that it has little time left.
    """

    def __init__(
        self,
        tracking: Tracking,
        data: Path,
        runs: Sequence[TrackedRun],
        say: Callable[[str], None],
        is_stopped: Callable[[], bool] = lambda: False,
    ):
        self._is_stopped, self._say = is_stopped, say
        folder = Store(data).tracking.absolute()
        self._all = [
            Follower(
                tracker,
                {
                    "tracking": {tracker: settings.model_dump(mode="json")},
                    "folder": str(folder),
                    "log": str(folder / f"{tracker}.log"),
                    "study": runs[0].study,
                    "runs": [run.to_json() for run in runs],
                },
                _command(data, tracker, settings),
                say,
            )
            for tracker, settings in (tracking.chosen.items() if runs else ())
        ]

    def __enter__(self) -> Self:
        _following.append(self)
        self.look()
        return self

    def look(self) -> None:
        """See to the processes. It takes no time."""
        for follower in self._all:
            follower.look()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        _following.remove(self)
        for follower in self._all:
            follower.finish()
        if kind is None:
            self._wait()
        for follower in self._all:
            follower.end()

    def _wait(self) -> None:
        began, said = time.monotonic(), False
        while any(follower.is_at_work() for follower in self._all):
            waited = time.monotonic() - began
            if waited > (STOPPED_SECONDS if self._is_stopped() else LAST_SECONDS):
                return
            if waited > SILENT_SECONDS and not said:
                said = True
                self._say("Sending the last metrics ...")
            time.sleep(0.1)

    def kill(self) -> None:
        for follower in self._all:
            follower.kill()


_following: list[Followers] = []


@at_end
def _kill_all() -> None:
    for followers in _following:
        followers.kill()
