"""Environments that are closed together, long after their last use: what was trained is saved before."""

import contextlib
import sys
from collections.abc import Mapping
from typing import Any, Self

from rlottery.envs.environment import Environment, make
from rlottery.errors import error_text
from rlottery.user_code import no_exit


class OpenEnvironments:
    """Makes environments, and closes all of them at the end of a `with` statement, whatever happens inside."""

    def __init__(self) -> None:
        self._open: list[tuple[str, Environment]] = []

    def make(self, task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
        """Make an environment, as `rlottery.envs.make`."""
        environment = make(task, kwargs)
        self._open.append((task, environment))
        return environment

    def close(self) -> None:
        """Close them. If one can't be closed, a line is printed: nothing depends on it any more."""
        while self._open:
            task, environment = self._open.pop()
            try:
                with no_exit("close()"):
                    environment.close()
            except Exception as error:
                print(f"An environment of {task} was not closed: {error_text(error)}", file=sys.stderr, flush=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def make_closed(task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
    """An environment that is closed already, for its sizes. The working directory stays what it was.

    Raises:
        TaskError: as `rlottery.envs.make`.
    """
    with contextlib.chdir("."), OpenEnvironments() as environments:
        return environments.make(task, kwargs)
