"""Tasks: from a name to an environment that an agent can learn.

A task is any Gymnasium environment with a flat Box observation and a bounded Box or Discrete action, or a Meta-World v3
task by its name (``drawer-close-v3``), and noise inputs can be added to each (``drawer-close-v3+noise50``). Agents see
float32 observations. They act in [-1, 1], or choose a discrete action by a one-hot vector. Everything random in an
episode follows from the seed given to `reset`.
"""

import contextlib
import copy
import difflib
import math
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rlottery.config.task_ids import task_parts, wrong_ending
from rlottery.envs import contract
from rlottery.envs.families import FAMILIES, family_of
from rlottery.envs.family import RawEnvironment
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.mujoco_import import import_without_renderer
from rlottery.envs.noise_inputs import NoiseInputs
from rlottery.envs.spaces import ActionBounds, DiscreteActions, actions_of, observation_space_of
from rlottery.errors import TaskError, located_text
from rlottery.processes.user_code import isolated, restore_warning_filters, same_random_numbers

EPISODE_LIMIT = 100_000
"""Steps after which an episode counts as endless."""
_ARGUMENTS = re.compile(
    r"(?P<call>\S+\(\)) "
    r"(?:got an unexpected keyword argument '(?P<unknown>\w+)'|missing \d+ required [a-z -]+: (?P<missing>.+))"
)
"""What Python says of a call with arguments that a function doesn't take, or without some that it needs."""
_MAKERS = ("gymnasium.", "rlottery.")
"""Packages that call the constructors of environments. A wrong call elsewhere is a fault of the environment."""


class UnknownArgumentError(TaskError):
    """The constructor of a task's environment takes no such argument.

    Attributes:
        call: what doesn't take it, such as ``MyTask.__init__()``.
    """

    def __init__(self, task: str, call: str, argument: str):
        super().__init__(
            f"Task {task!r} can't be made: {call} takes no argument {argument!r}. Leave it out of the task's kwargs, "
            "or let the constructor take it."
        )
        self.call, self.argument = call, argument


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

    What the environment returns is checked at every step (`rlottery.envs.contract`).

    Attributes:
        observation_size: entries of an observation.
        action_size: entries of an action, each in [-1, 1]; of discrete actions, how many there are.
        discrete: whether an action is a choice of one of its entries.
        actions: how they are turned into the task's own.
        called_at: when the reset or step in progress began, by the monotonic clock; infinity if there is none.
        success_key: the entry of `info` that success was read from, "success" or "is_success"; None before a step has
            reported it.

    Raises:
        TaskError: agents can't learn its spaces.
    """

    def __init__(self, task: str, env: RawEnvironment):
        self._task, self._env, self._family = task, env, family_of(task)
        self._space = observation_space_of(task, env)
        self.actions: ActionBounds | DiscreteActions = actions_of(task, env)
        self._noise = NoiseInputs(task_parts(task).noise)
        self._steps = 0
        self.observation_size = int(self._space.shape[0]) + self._noise.count
        self.action_size, self.discrete = self.actions.size, isinstance(self.actions, DiscreteActions)
        self.success_key: str | None = None
        self.called_at = math.inf

    def reset(self, seed: int) -> np.ndarray:
        """Start the episode of `seed`, which alone determines its start and its goal. Returns (obs,) float32.

        Raises:
            TaskError: the environment has the old Gym interface, or it returned something else than an observation of
                its space and an info.
        """
        self._steps = 0
        self._noise.reset(seed)
        result = self._call("reset", self._family.reset, self._env, seed)
        try:
            return self._seen(contract.first_observation(result))
        except TaskError as error:
            raise TaskError(f"{self._task}: at reset(), {error}") from None

    def step(self, action: np.ndarray) -> Step:
        """Take `action`, (act,), clipped to [-1, 1]; a discrete one is where the largest entry is.

        Raises:
            TaskError: the environment returned something else than its spaces and Gymnasium's interface say, or the
                episode never ends.
            ValueError: the action has another shape.
        """
        if np.shape(action) != (self.action_size,):
            raise ValueError(f"actions of {self._task} have the shape {(self.action_size,)}, not {np.shape(action)}")
        result = self._call("step", self._env.step, self.actions.own(action))
        self._steps += 1
        try:
            return self._checked(result)
        except TaskError as error:
            raise TaskError(f"{self._task}: after step {self._steps} of an episode, {error}") from None

    @property
    def unwrapped(self) -> Any:
        """The task's own environment, for rendering; training doesn't use it."""
        return self._env.unwrapped

    def close(self) -> None:
        self._env.close()

    def _checked(self, result: Any) -> Step:
        """What `step` returned, as training reads it. Raises TaskError, without the task and the step."""
        observation, reward, terminated, truncated, info = contract.step_parts(result)
        terminated, truncated = contract.flag(terminated, "terminated"), contract.flag(truncated, "truncated")
        if self._steps >= EPISODE_LIMIT and not (terminated or truncated):
            raise TaskError(
                "it still hasn't ended. Give the task a time limit: {id: ..., kwargs: {max_episode_steps: 1000}}."
            )
        success, key = contract.success_of(info)
        self.success_key = key or self.success_key
        reward = contract.finite_reward(reward)
        return Step(self._seen(observation), reward, terminated, truncated, success)

    def _seen(self, observation: Any) -> np.ndarray:
        """What an agent sees of an observation: (obs,) float32. Raises TaskError, without the task and the step."""
        return self._noise.appended_to(contract.flat_observation(observation, self._space))

    def _call(self, method: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What the environment's `method` returns. NumPy's error state and filters of warnings stay what they are.

        Raises:
            TaskError: the environment has the old Gym interface.
        """
        filters = warnings.filters[:]
        self.called_at = time.monotonic()
        try:
            with np.errstate():
                return function(*arguments)
        except (TypeError, ValueError) as error:
            cause = contract.cause_in_interface(error, self._env, method)
            if cause is not None:
                raise TaskError(f"{self._task}: {cause}") from error
            raise
        finally:
            self.called_at = math.inf
            restore_warning_filters(filters)


def make(task: str, kwargs: Mapping[str, Any] | None = None) -> Environment:
    """The environment of `task`: a Meta-World name, a Gymnasium id, or ``module:Id`` to import a module first.

    Each may end in ``+noiseN``, which adds N noise inputs.

    Raises:
        TaskError: the task is unknown (the message suggests similar names), can't be imported or made, or has spaces
            that agents here can't learn.
    """
    kwargs = dict(kwargs or {})
    if needed := wrong_ending(task):
        raise TaskError(f"Task {task!r} can't be made: its id {needed}.")
    try:
        with isolated(f"Task {task!r}"), same_random_numbers():
            env = _raw_environment(task, kwargs)
    except TaskError:
        raise
    except ModuleNotFoundError as error:
        why = str(error).partition(". Environment registration")[0]
        raise TaskError(
            f"Task {task!r} needs a module that can't be imported: {why}. Modules are searched next to the study's "
            "config (`rlottery check TASK --study CONFIG`), in the working directory, and where Python finds packages."
        ) from None
    except Exception as error:  # an environment's constructor may raise anything, and its user needs a plain message
        if (wrong := _wrong_arguments(task, kwargs, error)) is not None:
            raise wrong from None
        environment = task_parts(task).environment
        is_known = environment.rpartition(":")[2] in gymnasium.registry  # then its constructor asked for another one
        if isinstance(error, gymnasium.error.UnregisteredEnv) and not is_known:
            raise TaskError(f"Unknown task {task!r}.{_advice_on_names(task)}") from None
        raise TaskError(f"Task {task!r} can't be made with {kwargs or 'no arguments'}: {located_text(error)}") from None
    try:
        return Environment(task, env)
    except TaskError:
        with contextlib.suppress(Exception):  # the error in its spaces is the one to report
            env.close()
        raise


def _wrong_arguments(task: str, kwargs: Mapping[str, Any], error: Exception) -> TaskError | None:
    """The error of a constructor that doesn't take the arguments, or needs others; None if it raised another one."""
    raised = error.__cause__ or error  # Gymnasium raises it again, with all arguments in its text
    said = _ARGUMENTS.match(str(raised)) if isinstance(error, TypeError) else None
    if said is None or not _called_by(raised).startswith(_MAKERS):
        return None
    if missing := said["missing"]:
        return TaskError(
            f"Task {task!r} can't be made: {said['call']} needs {missing}. Give it in the task's kwargs: "
            f"{{id: {task}, kwargs: {{NAME: VALUE}}}}."
        )
    return UnknownArgumentError(task, said["call"], said["unknown"]) if said["unknown"] in kwargs else None


def _called_by(error: BaseException) -> str:
    """The module whose call raised an error."""
    *_, (frame, _) = traceback.walk_tb(error.__traceback__)
    return str(frame.f_globals.get("__name__", ""))


def _raw_environment(task: str, kwargs: Mapping[str, Any]) -> RawEnvironment:
    environment = task_parts(task).environment

    def attempt() -> RawEnvironment:
        return family_of(task).make(environment, copy.deepcopy(kwargs))  # an environment may change its arguments

    try:
        return attempt()
    except Exception:  # importing MuJoCo may raise anything
        if not import_without_renderer():
            raise
        return attempt()


def with_version(task: str) -> str | None:
    """The id with its newest version, of a task that was made from an id of Gymnasium's without one; else None."""
    environment = task_parts(task).environment
    name = environment.rpartition(":")[2]
    if name in gymnasium.registry or type(family_of(task)) is not GymnasiumTasks:
        return None
    versions = (re.fullmatch(rf"{re.escape(name)}-v(\d+)", known) for known in gymnasium.registry)
    newest = max((int(found[1]) for found in versions if found is not None), default=None)
    return None if newest is None else f"{environment}-v{newest}{task.removeprefix(environment)}"


def _advice_on_names(task: str) -> str:
    """The most similar task names, and how a task is written that another package registers."""
    known: list[str] = []
    for family in FAMILIES:
        with contextlib.suppress(TaskError):
            known += family.task_names()
    environment = task_parts(task).environment
    similar = difflib.get_close_matches(environment, known, n=3, cutoff=0.6)
    lower = {name.lower(): name for name in known}
    similar = similar or [
        lower[name] for name in difflib.get_close_matches(environment.lower(), lower, n=3, cutoff=0.6)
    ]
    ending = task.removeprefix(environment)
    meant = " or ".join(f"{name}{ending}" for name in similar)
    advice = f" Did you mean {meant}?" if similar else " No similar name found."
    if ":" in task:
        name = task.partition(":")[0]
        place = getattr(sys.modules.get(name), "__file__", None)
        return f"{advice} The module {name} was imported{f' from {place}' if place else ''}, but doesn't register it."
    module = next((module for module, names in _REGISTERED_BY.items() if task.startswith(names)), "my_module")
    return f"{advice} If a module registers it when it is imported, write module:Id, such as {module}:{task}."


_REGISTERED_BY = {
    "ale_py": ("ALE/",),
    "gymnasium_robotics": ("Fetch", "Hand", "Adroit", "PointMaze", "AntMaze", "FrankaKitchen"),
    "panda_gym": ("Panda",),
    "shimmy": ("dm_control/",),
}
"""Some packages, and how the tasks begin that they register with Gymnasium."""
