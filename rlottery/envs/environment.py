"""Tasks: from a name to an environment that an agent can learn.

A task is any Gymnasium environment with a flat Box observation and a bounded Box action, or a Meta-World v3 task by its
name (``drawer-close-v3``). Agents see float32 observations and act in [-1, 1]. Everything random in an episode follows
from the seed given to `reset`.
"""

import contextlib
import difflib
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rlottery.envs.families import FAMILIES, family_of
from rlottery.envs.family import RawEnvironment
from rlottery.errors import TaskError

EPISODE_LIMIT = 100_000
"""Steps after which an episode counts as endless."""

_LARGEST = float(np.finfo(np.float32).max)


class Step(NamedTuple):
    """The result of one action. `success` is None if the task doesn't report it."""

    observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    success: bool | None

    @property
    def over(self) -> bool:
        """Whether the episode has ended, for either reason."""
        return self.terminated or self.truncated


class Environment:
    """One environment with rescaled actions and float32 observations, whose episodes don't depend on earlier ones.

    Attributes:
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        action_low, action_high: the task's own actions that -1 and 1 map to; (act,) float32.
    """

    def __init__(self, task: str, env: RawEnvironment):
        self._task, self._env, self._family = task, env, family_of(task)
        self.action_low, self.action_high = _check_spaces(task, env)
        self._steps = 0
        self.observation_size = int(np.prod(env.observation_space.shape or ()))
        self.action_size = len(self.action_low)

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode of `seed`, which alone determines its start and its goal. Returns (obs,) float32.

        Raises:
            TaskError: an entry is NaN or infinite.
        """
        self._steps = 0
        return self._flat(self._family.reset(self._env, seed))

    def step(self, action: np.ndarray) -> Step:
        """Take `action`, (act,) in [-1, 1].

        Raises:
            TaskError: the reward or the observation is NaN or infinite, or the episode never ends.
        """
        low, high = self.action_low, self.action_high
        scaled = low + (np.clip(action, -1.0, 1.0) + 1.0) * 0.5 * (high - low)
        observation, given, terminated, truncated, info = self._env.step(scaled)
        self._steps += 1
        if self._steps >= EPISODE_LIMIT and not (terminated or truncated):
            raise TaskError(
                f"{self._task}: an episode has run for {EPISODE_LIMIT:,} steps without ending. "
                "Give the task a time limit: {id: ..., kwargs: {max_episode_steps: 1000}}."
            )
        reward = float(given)
        if not abs(reward) <= _LARGEST:
            raise self._not_finite(f"reward ({reward})")
        success = bool(info["success"]) if "success" in info else None
        return Step(self._flat(observation), reward, bool(terminated), bool(truncated), success)

    @property
    def unwrapped(self) -> Any:
        """The task's own environment, for rendering; training doesn't use it."""
        return self._env.unwrapped

    def close(self) -> None:
        self._env.close()

    def _flat(self, observation: Any) -> np.ndarray:
        flat = np.array(observation, np.float32).reshape(-1)  # a copy: some environments overwrite theirs
        if not np.isfinite(flat).all():
            raise self._not_finite(f"observation (entry {np.flatnonzero(~np.isfinite(flat))[0]})")
        return flat

    def _not_finite(self, what: str) -> TaskError:
        return TaskError(
            f"{self._task}: the {what} after step {self._steps} of an episode is not finite as float32. "
            "Fix the environment, or choose another task."
        )


def make(task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
    """The environment of `task`: a Meta-World name, a Gymnasium id, or ``module:Id`` to import a module first.

    Raises:
        TaskError: the task is unknown (the message suggests similar names), can't be imported or made, or has spaces
            that agents here can't learn.
    """
    kwargs = dict(kwargs or {})
    try:
        return Environment(task, family_of(task).make(task, kwargs))
    except TaskError:
        raise
    except gymnasium.error.UnregisteredEnv:
        raise TaskError(f"Unknown task {task!r}.{_similar_names(task)}") from None
    except ModuleNotFoundError as error:
        raise TaskError(f"Task {task!r} needs a module that can't be imported: {error}") from None
    except Exception as error:  # an environment's constructor may raise anything, and its user needs a plain message
        raise TaskError(f"Task {task!r} can't be made with {kwargs or 'no arguments'}: {error}") from None


def _similar_names(task: str) -> str:
    """' Did you mean ...?' with the most similar task names, or that there are none."""
    known: list[str] = []
    for family in FAMILIES:
        with contextlib.suppress(TaskError):
            known += family.task_names()
    similar = difflib.get_close_matches(task, known, n=3, cutoff=0.6)
    lower = {name.lower(): name for name in known}
    similar = similar or [lower[name] for name in difflib.get_close_matches(task.lower(), lower, n=3, cutoff=0.6)]
    return f" Did you mean {' or '.join(similar)}?" if similar else " No similar name found."


def _check_spaces(task: str, env: gymnasium.Env[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The action's bounds, if agents can learn both spaces."""
    observation, action = env.observation_space, env.action_space
    if not isinstance(action, gymnasium.spaces.Box):
        raise TaskError(
            f"{task} has {type(action).__name__} actions; SAC needs continuous ones (a bounded Box). "
            "Choose a continuous task, such as Pendulum-v1."
        )
    if not (action.is_bounded() and len(action.shape) == 1 and np.issubdtype(action.dtype, np.floating)):
        raise TaskError(f"{task}: actions must be a flat, bounded Box of floats, but they are {action}.")
    if not isinstance(observation, gymnasium.spaces.Box) or len(observation.shape) != 1:
        kind = "images or another grid" if len(observation.shape or ()) > 1 else type(observation).__name__
        raise TaskError(
            f"{task} has {kind} as observations ({observation}), but agents read flat vectors. "
            "Wrap it with gymnasium.wrappers.FlattenObservation in a module of yours, and write it as module:Id."
        )
    return action.low.astype(np.float32), action.high.astype(np.float32)
