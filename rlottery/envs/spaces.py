"""The spaces that agents can learn: flat observations, and actions that are flat and bounded, or one of a few."""

from typing import Any, NamedTuple

import gymnasium
import numpy as np

from rlottery.envs.family import RawEnvironment
from rlottery.errors import TaskError
from rlottery.storage.transitions import one_hot

MOST_ACTIONS = 65_536
"""The most actions of a discrete space: a network has an output for each."""
_WRAP = "in a module of yours, and write it as module:Id"


class ActionBounds(NamedTuple):
    """Continuous actions between bounds. Agents act in [-1, 1], (act,).

    Attributes:
        low, high, width: as float32, and their difference; (act,) each.
        own_low, own_high: in the dtype of the task's action space.
    """

    low: np.ndarray
    high: np.ndarray
    width: np.ndarray
    own_low: np.ndarray
    own_high: np.ndarray

    @property
    def size(self) -> int:
        """Entries of an action."""
        return len(self.low)

    def random(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Uniformly random actions in [-1, 1], (number, act)."""
        return generator.uniform(-1.0, 1.0, (number, self.size)).astype(np.float32)

    def own(self, action: np.ndarray) -> np.ndarray:
        """The task's own action for one that is clipped to [-1, 1], (act,). The task's space always contains it."""
        low, _, width, own_low, own_high = self
        unlimited = low + (np.minimum(np.maximum(action, -1.0), 1.0) + 1.0) * 0.5 * width
        # Rounding may exceed the bounds in the task's own dtype.
        limited: np.ndarray = np.minimum(np.maximum(unlimited.astype(own_low.dtype), own_low), own_high)
        return limited


class DiscreteActions(NamedTuple):
    """One of `size` actions. Agents choose by a vector, (size,): the position of its largest entry counts.

    Attributes:
        first: the smallest of the task's own actions, which are consecutive integers.
        dtype: of the task's own actions.
    """

    size: int
    first: int
    dtype: np.dtype[Any]

    def random(self, generator: np.random.Generator, number: int) -> np.ndarray:
        """Uniformly random actions as one-hot vectors, (number, act)."""
        return one_hot(generator.integers(self.size, size=number), self.size)

    def own(self, action: np.ndarray) -> Any:
        """The task's own action, an integer, for a vector (act,)."""
        return self.dtype.type(self.first + int(np.argmax(action)))


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


def actions_of(task: str, env: RawEnvironment) -> ActionBounds | DiscreteActions:
    """The actions, if agents can learn them: a flat Box of floats with finite bounds, or a Discrete space.

    Raises:
        TaskError: it is another space, its bounds are not finite, in a wrong order, too far apart for float32 or too
            close together for it, or it leaves nothing to choose.
    """
    space = _declared(task, env, "action_space")
    if isinstance(space, gymnasium.spaces.Discrete):
        return _discrete(task, space)
    if not isinstance(space, gymnasium.spaces.Box):
        raise TaskError(
            f"{task} has {type(space).__name__} actions ({space}); agents need a flat, bounded Box of floats, or a "
            "Discrete space. Let one number stand for each combination of choices, with "
            f"gymnasium.wrappers.TransformAction and a Discrete space, {_WRAP}."
        )
    return _bounds(task, space)


def _discrete(task: str, space: gymnasium.spaces.Discrete) -> DiscreteActions:
    count = int(space.n)
    if count < 2:
        raise TaskError(
            f"{task}: there is only one action ({space}), so there is nothing to choose. Declare a Discrete space with "
            "at least two actions."
        )
    if count > MOST_ACTIONS:
        raise TaskError(
            f"{task} has {count:,} actions ({space}), and agents choose among at most {MOST_ACTIONS:,}. Declare a "
            "space with fewer, or a Box if the numbers are a quantity."
        )
    return DiscreteActions(count, int(space.start), np.dtype(space.dtype))


def _bounds(task: str, space: gymnasium.spaces.Box) -> ActionBounds:
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
