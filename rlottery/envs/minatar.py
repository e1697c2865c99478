"""MinAtar (Young and Tian 2019, arXiv:1903.03176): five small Atari games, as ``MinAtar/Breakout-v1``.

An observation is a grid of 10 x 10 cells with a channel for each kind of thing, flattened. Version 1 of a game has its
minimal actions, version 0 has all six. It needs the extra ``minatar``.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from rlottery.envs.family import Camera, Names, RawEnvironment
from rlottery.errors import TaskError, install_extra

EPISODE_STEPS = 5_000
"""The time limit of episodes, which the library has none for: a good player of Breakout never loses."""
_NAMESPACE = "MinAtar/"
_CHANNELS = {
    "Asterix": ("player", "enemy", "trail", "gold"),
    "Breakout": ("paddle", "ball", "trail", "brick"),
    "Freeway": ("chicken", "car", *(f"speed {number}" for number in range(1, 6))),
    "Seaquest": (
        *("submarine front", "submarine back", "friendly bullet", "trail", "enemy bullet", "enemy fish"),
        *("enemy submarine", "oxygen gauge", "diver gauge", "diver"),
    ),
    "SpaceInvaders": ("cannon", "alien", "alien left", "alien right", "friendly bullet", "enemy bullet"),
}
"""What is in the channels of each game, in their order."""


class MinAtar:
    """The games of MinAtar (a `Family`)."""

    def includes(self, task: str) -> bool:
        return task.startswith(_NAMESPACE)

    def task_names(self) -> Iterable[str]:
        return [f"{_NAMESPACE}{game}-v{version}" for game in _CHANNELS for version in (0, 1)]

    def make(self, task: str, kwargs: Mapping[str, Any]) -> RawEnvironment:
        _register()
        usual = {"disable_env_checker": True, "max_episode_steps": EPISODE_STEPS}
        env = gymnasium.make(task, **{**usual, **kwargs})
        if env.render_mode == "rgb_array":
            raw: Any = env.unwrapped
            raw.render = partial(_picture, raw.render)
        made: RawEnvironment = gymnasium.wrappers.FlattenObservation(env)
        return made

    def reset(self, env: RawEnvironment, seed: int) -> Any:
        # The library seeds with 32 bits, and keeps the last action, which a sticky first action would repeat.
        game: Any = env.unwrapped.game  # type: ignore[attr-defined]
        game.random = game.env.random = np.random.RandomState(np.random.MT19937(seed))
        game.last_action = 0
        return env.reset()

    def observation_names(self, task: str) -> Names | None:
        game, _, version = task.removeprefix(_NAMESPACE).partition("-v")
        if game not in _CHANNELS or version not in ("0", "1"):
            return None
        cells = [(row, column) for row in range(10) for column in range(10)]
        return tuple(f"{channel} {row},{column}" for row, column in cells for channel in _CHANNELS[game])

    def camera(self, task: str) -> Camera | None:
        return None


def _picture(render: Callable[[], np.ndarray]) -> np.ndarray:
    """The library's picture, whose pixels are cells and from 0 to 1, as pictures usually are: (320, 320, 3), uint8."""
    cells = np.round(255 * render()).astype(np.uint8)
    return cells.repeat(32, axis=0).repeat(32, axis=1)


def _register() -> None:
    """Let Gymnasium know the games.

    Raises:
        TaskError: the library isn't installed.
    """
    try:
        from minatar.gym import register_envs
    except ModuleNotFoundError as error:
        raise TaskError(
            f"MinAtar's tasks need a package that can't be imported: {error}. Install the extra: "
            f"{install_extra('minatar')}"
        ) from None
    if f"{_NAMESPACE}Breakout-v1" not in gymnasium.registry:
        register_envs()
