"""What rlottery needs to know about a family of environments: how to make, seed, name and show its tasks.

Each family is one file, listed in `rlottery.envs.families`.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeAlias

import gymnasium

RawEnvironment: TypeAlias = gymnasium.Env[Any, Any]
"""An environment as its library makes it."""

Names: TypeAlias = tuple[str, ...]
"""A name for each entry of an observation."""

Camera: TypeAlias = Mapping[str, Any]
"""MuJoCo's camera settings: azimuth and elevation in degrees, distance and lookat in metres."""


class Family(Protocol):
    """Environments that are made and seeded in the same way.

    Tasks come without ``+noiseN``: noise inputs (`rlottery.envs.noise_inputs`) are added to tasks of any family.
    """

    def includes(self, task: str) -> bool:
        """Whether the name `task` belongs to this family. This imports nothing."""

    def task_names(self) -> Iterable[str]:
        """All known tasks, for suggestions after a typing error.

        Raises:
            TaskError: the family's library can't be imported.
        """

    def make(self, task: str, kwargs: Mapping[str, Any]) -> RawEnvironment:
        """A new environment.

        Raises:
            TaskError: the library can't be imported, or it refuses `kwargs`; the message says how to fix it.
            gymnasium.error.UnregisteredEnv: there is no such task.
        """

    def reset(self, env: RawEnvironment, seed: int) -> Any:
        """Start an episode and return what the environment's `reset` returns: its first observation and an info.

        Args:
            seed: below 2^64; everything random in the episode follows from it.
        """

    def observation_names(self, task: str) -> Names | None:
        """What the entries of an observation are, if the task is made without arguments; None if unknown."""

    def camera(self, task: str) -> Camera | None:
        """A camera that shows what the agent does; None for the task's own."""
