"""The task that all peers learn, Meta-World's drawer-close-v3, and random transitions of the same sizes."""

import time
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from metaworld.env_dict import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE

OBSERVATION_SIZE = 39
ACTION_SIZE = 4
REPLAY_SIZE = 25_000
LEARNING_STARTS = 400
"""Random actions at the start of every training loop, before the first update."""


class DrawerClose(gymnasium.Env):
    """drawer-close-v3 with the goal in the observation and a new goal at every reset; truncated after 500 steps.

    Attributes:
        step_times: the time at the start of each step, by the monotonic clock.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (OBSERVATION_SIZE,), np.float32)
    action_space = gymnasium.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32)

    def __init__(self) -> None:
        self._env = ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE["drawer-close-v3-goal-observable"](seed=1)
        self._env._freeze_rand_vec = False
        self._env.seeded_rand_vec = True
        self.step_times: list[float] = []

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        if seed is not None:
            self._env.seed(seed)
        observation, info = self._env.reset()
        return observation.astype(np.float32), info

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict]:
        self.step_times.append(time.monotonic())
        observation, reward, terminated, truncated, info = self._env.step(action)
        return observation.astype(np.float32), float(reward), bool(terminated), bool(truncated), info


class Transitions(NamedTuple):
    """float32: observations (n, obs), actions (n, act) in [-1, 1], rewards (n,), next_observations (n, obs).

    None of them ends an episode.
    """

    observations: np.ndarray
    actions: np.ndarray
    rewards: np.ndarray
    next_observations: np.ndarray


def random_transitions() -> Transitions:
    """A full replay buffer of random numbers: the speed of dense arithmetic doesn't depend on them."""
    generator = np.random.default_rng(3)

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal((REPLAY_SIZE, *shape), dtype=np.float32)

    return Transitions(
        observations=normal(OBSERVATION_SIZE),
        actions=np.tanh(normal(ACTION_SIZE)),
        rewards=normal(),
        next_observations=normal(OBSERVATION_SIZE),
    )
