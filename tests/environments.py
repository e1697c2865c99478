"""Environments that the tests share, registered with Gymnasium under ``rlottery-tests/``."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Target(gymnasium.Env[np.ndarray, np.ndarray]):
    """Reward -(action - 0.5)^2 in every step. Observes the episode's own random number and the steps so far.

    Args:
        steps: length of an episode.
        terminates: whether episode k ends in a termination; else in a truncation.
        success_at: the one step with success, for tasks that know it.
        spoil: step -> what to put in place of its observation and reward.
        overwrites: whether all observations are one array, written over in every step.
    """

    action_space = spaces.Box(-1.0, 1.0, (1,), np.float32)
    observation_space = spaces.Box(-np.inf, np.inf, (2,), np.float32)

    def __init__(
        self,
        steps: int = 5,
        terminates: Any = lambda episode: False,
        success_at: int | None = None,
        spoil: dict[int, tuple[float, float]] | None = None,
        overwrites: bool = False,
    ) -> None:
        self._steps, self._terminates, self._success_at = steps, terminates, success_at
        self._spoil, self._overwrites = spoil or {}, overwrites
        self.seeds: list[int | None] = []
        self.actions: list[float] = []
        self._observation = np.zeros(2, np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.seeds.append(seed)
        self._observation[:] = self.np_random.uniform(-1, 1), 0
        return self._observe(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self._observation[1] += 1
        step = int(self._observation[1])
        self.actions.append(float(action[0]))
        reward = -float((action[0] - 0.5) ** 2)
        if step in self._spoil:
            self._observation[0], reward = self._spoil[step]
        over = step == self._steps
        terminated = over and self._terminates(len(self.seeds) - 1)
        info = {} if self._success_at is None else {"success": float(step == self._success_at)}
        return self._observe(), reward, terminated, over and not terminated, info

    def _observe(self) -> np.ndarray:
        return self._observation if self._overwrites else self._observation.copy()


class Strange(gymnasium.Env[Any, Any]):
    """An environment with the given spaces, whose episodes never end."""

    def __init__(self, observation: spaces.Space[Any] | None = None, action: spaces.Space[Any] | None = None) -> None:
        self.observation_space = observation or spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = action or spaces.Box(-1.0, 1.0, (1,), np.float32)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: np.ndarray) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        return np.zeros(2, np.float32), 0.0, False, False, {}


_SPACES: dict[str, dict[str, spaces.Space[Any]]] = {
    "Endless": {},
    "Image": {"observation": spaces.Box(0, 255, (8, 8, 3), np.uint8)},
    "Dict": {"observation": spaces.Dict({"position": spaces.Box(-1.0, 1.0, (2,), np.float32)})},
    "Unbounded": {"action": spaces.Box(-np.inf, np.inf, (1,), np.float32)},
    "Matrix": {"action": spaces.Box(-1.0, 1.0, (2, 2), np.float32)},
}
gymnasium.register("rlottery-tests/Target-v0", entry_point=Target)
for _name, _given in _SPACES.items():
    gymnasium.register(f"rlottery-tests/{_name}-v0", entry_point=Strange, kwargs=_given)
