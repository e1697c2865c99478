"""Environments that are closed together, long after their last use: what was trained is saved before."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import Any, Self

from rlottery.envs.environment import Environment, make
from rlottery.errors import error_text
from rlottery.processes.user_code import no_exit
from rlottery.safety.printable import printable

HUNG_SECONDS = 1_800.0
"""How long a constructor, a reset or a step may take. No simulator needs that long; a connection may be lost.

The time that the process is suspended doesn't count. A call that holds the interpreter lock isn't noticed.
"""
LOOK_SECONDS = 10.0
"""How often to look whether one takes longer."""


class OpenEnvironments:
    """Makes environments, and closes all of them at the end of a `with` statement, whatever happens inside.

    Args:
        hung: called in another thread, with a message, if the code of an environment doesn't return. None: not watched.
    """

    def __init__(self, hung: Callable[[str], None] | None = None) -> None:
        self._open: list[tuple[str, Environment]] = []
        self._hung, self._over = hung, Event()
        self._making = "", math.inf

    def make(self, task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
        """Make an environment, as `rlottery.envs.make`."""
        self._making = task, time.monotonic()
        try:
            environment = make(task, kwargs)
        finally:
            self._making = "", math.inf
        self._open.append((task, environment))
        return environment

    def opened(self, task: str) -> Environment:
        """One of the open environments of a task, which `make` has made. Raises KeyError if there is none."""
        return dict(self._open)[task]

    def close(self) -> None:
        """Close them. If one can't be closed, a line is printed: nothing depends on it any more."""
        while self._open:
            task, environment = self._open.pop()
            try:
                with no_exit("close()"):
                    environment.close()
            except Exception as error:
                line = f"An environment of {task} was not closed: {error_text(error)}"
                print(printable(line), file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        if self._hung is not None:
            Thread(target=self._watch, args=[self._hung], daemon=True).start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self.close()

    def _watch(self, hung: Callable[[str], None]) -> None:
        looks: dict[tuple[str, float], int] = {}  # at each call in progress; a suspended process doesn't look
        while not self._over.wait(LOOK_SECONDS):
            calls = [self._making, *((task, environment.called_at) for task, environment in list(self._open))]
            looks = {call: looks.get(call, 0) + 1 for call in calls if call[1] < math.inf}
            for (task, _), number in looks.items():
                if number > HUNG_SECONDS / LOOK_SECONDS:
                    hung(f"The environment of {task} has not returned from a call for {HUNG_SECONDS / 60:.0f} minutes.")
                    return


def make_closed(task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
    """An environment that is closed already, for its sizes. The working directory stays what it was.

    Raises:
        TaskError: as `rlottery.envs.make`.
    """
    with contextlib.chdir("."), OpenEnvironments() as environments:
        return environments.make(task, kwargs)
