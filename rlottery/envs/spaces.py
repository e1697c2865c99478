"""The spaces that agents can learn: flat observations, and flat actions between bounds."""

from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rlottery.envs.family import RawEnvironment
from rlottery.errors import TaskError

_WRAP = "in a module of yours, and write it as module:Id"


class ActionBounds(NamedTuple):
    """The bounds of a task's actions.

    Attributes:
        low, high, width: as float32, and their difference; (act,) each.
        own_low, own_high: in the dtype of the task's action space.
    """

    low: np.ndarray
    high: np.ndarray
    width: np.ndarray
    own_low: np.ndarray
    own_high: np.ndarray

    def scaled(self, action: np.ndarray) -> np.ndarray:
        """The task's own action for one in [-1, 1], (act,). The task's space always contains it."""
        low, _, width, own_low, own_high = self
        unlimited = low + (np.minimum(np.maximum(action, -1.0), 1.0) + 1.0) * 0.5 * width
        # Rounding may exceed the bounds in the task's own dtype.
        limited: np.ndarray = np.minimum(np.maximum(unlimited.astype(own_low.dtype), own_low), own_high)
        return limited


def observation_space_of(task: str, env: RawEnvironment) -> gymnasium.spaces.Box:
    """The observation space, if agents can learn it: a flat Box with at least one entry.

    Raises:
        TaskError: it is another space.
    """
    space = _declared(task, env, "observation_space")
    if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1:
        kind = "images or another grid" if len(space.shape or ()) > 1 else type(space).__name__
        raise TaskError(
            f"{task} has {kind} as observations ({space}), but agents read flat vectors. "
            f"Wrap it with gymnasium.wrappers.FlattenObservation {_WRAP}."
        )
    if space.shape[0] == 0:
        raise TaskError(
            f"{task}: observations have no entries ({space}), so there is nothing to see. "
            "Declare an observation space with at least one entry, and return such observations."
        )
    return space


def action_bounds_of(task: str, env: RawEnvironment) -> ActionBounds:
    """The bounds of the actions, if agents can learn them: a flat Box of floats with finite bounds.

    Raises:
        TaskError: it is another space, its bounds are not finite, in a wrong order, too far apart for float32 or too
            close together for it, or it leaves nothing to choose.
    """
    space = _declared(task, env, "action_space")
    if not isinstance(space, gymnasium.spaces.Box):
        raise TaskError(
            f"{task} has {type(space).__name__} actions; agents need continuous ones (a bounded Box). "
            "Choose a continuous task, such as Pendulum-v1."
        )
    own_low, own_high = np.array(space.low), np.array(space.high)
    bounded = bool(np.isfinite(own_low).all() and np.isfinite(own_high).all())
    if not (bounded and len(space.shape) == 1 and np.issubdtype(space.dtype, np.floating)):
        raise TaskError(
            f"{task}: actions must be a flat, bounded Box of floats, but they are {space}. "
            f"Wrap it with gymnasium.wrappers.TransformAction {_WRAP}."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        low, high = own_low.astype(np.float32), own_high.astype(np.float32)
        width = high - low
    overflow = ~np.isfinite(width)
    if (own_low > own_high).any():
        raise _wrong_bounds(task, space, own_low > own_high, "the lower bound is above the upper bound", "Swap them.")
    if overflow.any():
        raise _wrong_bounds(task, space, overflow, "the bounds are too far apart for float32", _RANGE)
    if ((low == high) & (own_low < own_high)).any():
        wrong = (low == high) & (own_low < own_high)
        raise _wrong_bounds(task, space, wrong, "the bounds are too close together for float32", _RANGE)
    if (own_low == own_high).all():  # also where there are no entries
        why = "actions have no entries" if space.shape[0] == 0 else "the bounds of each action are equal"
        raise TaskError(
            f"{task}: {why} ({space}), so there is nothing to act on. Declare an action space with at least one entry "
            "that can vary, such as Box(-1, 1, (1,))."
        )
    return ActionBounds(low, high, width, own_low, own_high)


_RANGE = (
    "Declare the range that the task makes use of, in units of about 1: in the environment, or with "
    f"gymnasium.wrappers.TransformAction {_WRAP}."
)


def _wrong_bounds(task: str, space: gymnasium.spaces.Box, wrong: np.ndarray, what: str, fix: str) -> TaskError:
    entry = int(np.flatnonzero(wrong)[0])
    return TaskError(
        f"{task}: {what} in entry {entry} of the actions ({space.low[entry]} to {space.high[entry]}). {fix}"
    )


def _declared(task: str, env: RawEnvironment, name: str) -> Any:
    """A space of `env`. Raises TaskError if it has none, or one of another library."""
    try:
        space = getattr(env, name)
    except AttributeError:
        space = None
    if not isinstance(space, gymnasium.Space):
        given = f"is a {type(space).__module__}.{type(space).__qualname__}" if space is not None else "is missing"
        raise TaskError(
            f"{task}: its {name} {given}, but it must be a space of Gymnasium. "
            f"Set self.{name} in the environment's constructor, for example to gymnasium.spaces.Box(-1.0, 1.0, (2,))."
        )
    return space
