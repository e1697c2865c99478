"""Tasks: from a name to an environment that an agent can learn.

Any Gymnasium environment with a flat Box observation and a bounded Box action, and every Meta-World v3 task by its
name (``drawer-close-v3``). Agents see float32 observations and act in [-1, 1]; everything random in an episode
follows from the seed given to `reset`.
"""

import contextlib
import difflib
import importlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rlottery.errors import TaskError

EPISODE_LIMIT = 100_000
"""Steps after which an episode is taken for endless."""

_LARGEST = float(np.finfo(np.float32).max)


class Step(NamedTuple):
    """What one action led to. `success` is None where the task knows no success."""

    observation: np.ndarray
    reward: float
    terminated: bool
    truncated: bool
    success: bool | None


class Environment:
    """One environment with rescaled actions, float32 observations and resets free of history.

    Attributes:
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1].
        action_low, action_high: what -1 and 1 stand for in the task's own actions; (act,) float32.
    """

    def __init__(self, task: str, env: gymnasium.Env[np.ndarray, np.ndarray]):
        self._task, self._env = task, env
        self.action_low, self.action_high = _check_spaces(task, env)
        self._steps = 0
        self._is_metaworld = is_metaworld(task)
        self.observation_size = int(np.prod(env.observation_space.shape or ()))
        self.action_size = len(self.action_low)

    def reset(self, seed: int) -> np.ndarray:
        """Begin the episode that `seed` names: its start and its goal follow from the seed alone. (obs,) float32.

        Raises:
            TaskError: an entry is NaN or infinite.
        """
        self._steps = 0
        if self._is_metaworld:
            # Meta-World ignores reset(seed=): its goals come from a generator that has to be seeded by hand.
            self.unwrapped.seed(seed % 2**63)
        observation, _ = self._env.reset(seed=seed % 2**31)
        return self._flat(observation)

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
                f"{self._task}: an episode has run for {EPISODE_LIMIT:,} steps without an end. "
                "Give the task a time limit: {id: ..., kwargs: {max_episode_steps: 1000}}."
            )
        reward = float(given)
        if not abs(reward) <= _LARGEST:
            raise self._not_finite(f"reward ({reward})")
        success = bool(info["success"]) if "success" in info else None
        return Step(self._flat(observation), reward, bool(terminated), bool(truncated), success)

    @property
    def unwrapped(self) -> Any:
        """The task's own environment, for what training never asks of one: to draw itself."""
        return self._env.unwrapped

    def close(self) -> None:
        self._env.close()

    def _flat(self, observation: Any) -> np.ndarray:
        flat = np.array(observation, np.float32).reshape(-1)  # a copy: some environments write over theirs
        if not np.isfinite(flat).all():
            raise self._not_finite(f"observation (entry {np.flatnonzero(~np.isfinite(flat))[0]})")
        return flat

    def _not_finite(self, what: str) -> TaskError:
        return TaskError(
            f"{self._task}: the {what} after step {self._steps} of an episode is not finite as float32. "
            "Mend the environment, or choose another task."
        )


def make(task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
    """The environment of `task`: a Meta-World name, a Gymnasium id, or ``module:Id`` to import a module first.

    Raises:
        TaskError: unknown (with near names), not importable, or with spaces that can't be learnt here.
    """
    kwargs = dict(kwargs or {})
    if is_metaworld(task):
        return Environment(task, _make_metaworld(task, kwargs))
    try:
        return Environment(task, gymnasium.make(task, **kwargs))
    except TaskError:
        raise
    except gymnasium.error.UnregisteredEnv:
        raise TaskError(f"Unknown task {task!r}.{_near_names(task)}") from None
    except ModuleNotFoundError as error:
        raise TaskError(f"Task {task!r} needs a module that can't be imported: {error}") from None
    except Exception as error:  # whatever an environment's own constructor raises, its user should read it plainly
        raise TaskError(f"Task {task!r} can't be made with {kwargs or 'no arguments'}: {error}") from None


def is_metaworld(task: str) -> bool:
    """Whether `task` is the name of one of Meta-World's."""
    return task.endswith("-v3") and task == task.lower() and not set(":/") & set(task)


def _make_metaworld(task: str, kwargs: dict[str, Any]) -> gymnasium.Env[Any, Any]:
    environments = _metaworld_environments()
    if f"{task}-goal-observable" not in environments:
        raise TaskError(f"Unknown Meta-World task {task!r}.{_near_names(task)}")
    unknown = set(kwargs) - {"render_mode"}
    if unknown:
        raise TaskError(f"Meta-World tasks take no argument {sorted(unknown)[0]!r}; they take: render_mode.")
    # Any seed but None: the constructor then leaves NumPy's global stream alone.
    env: Any = environments[f"{task}-goal-observable"](seed=1, **kwargs)
    # Goals are drawn anew at each reset, from the generator that `Environment.reset` seeds.
    env._freeze_rand_vec = False
    env.seeded_rand_vec = True
    found: gymnasium.Env[Any, Any] = env
    return found


def _metaworld_environments() -> Mapping[str, Any]:
    try:
        module = importlib.import_module("metaworld.env_dict")
    except ImportError as error:
        raise TaskError(
            f"Meta-World can't be imported ({error}). Reinstall it: pip install metaworld, or with uv: uv sync"
        ) from None
    environments: Mapping[str, Any] = module.ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE
    return environments


def _near_names(task: str) -> str:
    """' Did you mean ...?' with the nearest known names, or nothing."""
    known = list(gymnasium.registry)
    with contextlib.suppress(TaskError):
        known += [name.removesuffix("-goal-observable") for name in _metaworld_environments()]
    near = difflib.get_close_matches(task, known, n=3, cutoff=0.6)
    lower = {name.lower(): name for name in known}
    near = near or [lower[name] for name in difflib.get_close_matches(task.lower(), lower, n=3, cutoff=0.6)]
    return f" Did you mean {' or '.join(near)}?" if near else " No name is near to it."


def _check_spaces(task: str, env: gymnasium.Env[Any, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The action's bounds, once both spaces have been found fit to learn."""
    observation, action = env.observation_space, env.action_space
    if not isinstance(action, gymnasium.spaces.Box):
        raise TaskError(
            f"{task} has {type(action).__name__} actions; SAC needs continuous ones (a bounded Box). "
            "Choose a continuous task, such as Pendulum-v1."
        )
    if not (action.is_bounded() and len(action.shape) == 1 and np.issubdtype(action.dtype, np.floating)):
        raise TaskError(f"{task}: actions must be a flat, bounded Box of floats; this one is {action}.")
    if not isinstance(observation, gymnasium.spaces.Box) or len(observation.shape) != 1:
        kind = "images or another grid" if len(observation.shape or ()) > 1 else type(observation).__name__
        raise TaskError(
            f"{task} gives {kind} as observations ({observation}); agents here read flat vectors. "
            "Wrap it with gymnasium.wrappers.FlattenObservation in a module of yours and name it module:Id."
        )
    return action.low.astype(np.float32), action.high.astype(np.float32)
