"""What an environment's `reset` and `step` have to return.

Each function checks one part of a result and returns it as training reads it. They run at every step, so the usual case
comes first and costs about a microsecond. Their errors say what was returned and what to return instead; the caller
adds the task and the step.
"""

import inspect
import math
import reprlib
from collections.abc import Mapping
from numbers import Real
from typing import Any

import gymnasium
import numpy as np

from rlottery.config.numbers import LARGEST_FLOAT32
from rlottery.envs.family import RawEnvironment
from rlottery.errors import TaskError

SUCCESS_KEYS = ("success", "is_success")
"""Entries of `info` that report success. The second is that of Stable-Baselines3 and Gymnasium-Robotics."""

_INTERFACE = (
    "Gymnasium's interface is: reset(self, *, seed=None, options=None) returns (observation, info), and "
    "step(self, action) returns (observation, reward, terminated, truncated, info), where info is a dict. "
    "Change the environment, or convert its results in a gymnasium.Env of your own."
)


def first_observation(result: Any) -> Any:
    """The observation in what `reset` returned: a tuple (observation, info), with a mapping as info.

    Raises:
        TaskError: it is something else. An observation alone is refused even if it has two entries.
    """
    if isinstance(result, tuple) and len(result) == 2 and isinstance(result[1], Mapping):
        return result[0]
    if not isinstance(result, tuple):
        raise old_interface(f"reset() returned the observation alone ({described(result)})")
    if len(result) == 2:
        raise _not_the_interface(f"the second value that reset() returned is {described(result[1])}, not a dict")
    raise _not_the_interface(f"reset() returned {described(result)}")


def step_parts(result: Any) -> tuple[Any, Any, Any, Any, Mapping[str, Any]]:
    """The five parts of what `step` returned: observation, reward, terminated, truncated and a mapping as info.

    Raises:
        TaskError: it is something else.
    """
    if isinstance(result, tuple) and len(result) == 5 and isinstance(result[4], Mapping):
        return result
    if isinstance(result, tuple) and len(result) == 4:
        raise old_interface("step() returned four values")
    if isinstance(result, tuple) and len(result) == 5:
        raise _not_the_interface(f"the last value that step() returned is {described(result[4])}, not a dict")
    raise _not_the_interface(f"step() returned {described(result)}")


def old_interface(how: str) -> TaskError:
    """The error for an environment that was written for Gym before version 0.26; `how` it shows."""
    return TaskError(f"the environment has the old Gym interface: {how}. {_INTERFACE}")


def cause_in_interface(error: Exception, env: RawEnvironment, method: str) -> TaskError | None:
    """The error to show instead of one that `reset` or `step` raised because a layer of `env` has the old interface.

    Gymnasium's wrappers pass a seed and options to the environment inside, and unpack what it returns, before anything
    here sees it. Returns None if that isn't what failed.
    """
    if method == "reset" and isinstance(error, TypeError):
        layer: Any = env
        while True:
            if not _takes_seed(layer.reset):
                return old_interface(f"{type(layer).__name__}.reset() doesn't take the arguments seed and options")
            if not isinstance(layer, gymnasium.Wrapper):
                break
            layer = layer.env
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    wrapper = trace.tb_frame.f_locals.get("self") if trace is not None else None
    expected = {"reset": "(expected 2", "step": "(expected 5"}[method]
    text = str(error)
    if isinstance(wrapper, gymnasium.Wrapper) and "unpack" in text and (expected in text or "non-iterable" in text):
        inside, outside = type(wrapper.env).__name__, type(wrapper).__name__
        return old_interface(f"the wrapper {outside} can't read what {method}() of {inside} returned ({text})")
    return None


def flat_observation(given: Any, space: gymnasium.spaces.Box) -> np.ndarray:
    """A copy of an observation as float32, (obs,).

    It must have exactly the shape of the space, and real numbers of a dtype that casts to the space's within the same
    kind: float64 or integers for float32 are fine, floats for integers are not. Lists of numbers are fine too. Whether
    the numbers lie within the space's bounds is not checked: many environments declare bounds that they don't keep.

    Raises:
        TaskError: it is something else, or an entry is not finite as float32.
    """
    array = given if type(given) is np.ndarray else _array(given)
    if array is None or array.shape != space.shape or not _casts(array.dtype, space.dtype):
        raise TaskError(
            f"the observation is {described(given if array is None else array)}, but the observation space has shape "
            f"{space.shape} and dtype {space.dtype}. Return what the space says, or change the space."
        )
    with np.errstate(all="ignore"):  # numbers beyond float32 become infinite, which is checked next
        flat = np.array(array, np.float32)  # a copy: some environments overwrite theirs
    if not np.isfinite(flat).all():
        entry = int(np.flatnonzero(~np.isfinite(flat))[0])
        raise TaskError(f"entry {entry} of the observation is {array[entry]}, {_NOT_FINITE}")
    return flat


def finite_reward(given: Any) -> float:
    """A reward, which must be one real number that is finite as float32.

    Raises:
        TaskError: it is something else, such as an array of shape (1,).
    """
    number = given if type(given) is float else real_number(given)
    if number is None:
        raise TaskError(f"the reward is {described(given)}, but it must be one real number. Return float(...) of it.")
    if not abs(number) <= LARGEST_FLOAT32:
        raise TaskError(f"the reward is {number}, {_NOT_FINITE}")
    return number


def flag(given: Any, name: str) -> bool:
    """`terminated` or `truncated`, whichever is the `name`: a bool of Python or NumPy.

    Raises:
        TaskError: it is something else, such as 0 or 1.
    """
    if given is True or given is False:
        return bool(given)
    if not isinstance(given, str | np.ma.MaskedArray) and getattr(given, "dtype", None) == np.bool_ and given.ndim == 0:
        return bool(given)
    raise TaskError(f"{name} is {described(given)}, but it must be True or False. Return bool({name}).")


def success_of(info: Mapping[str, Any]) -> tuple[bool, str] | tuple[None, None]:
    """Whether a step's `info` reports success, and the key that says so; None if it reports nothing.

    The first of `SUCCESS_KEYS` that is there counts. Its value is a bool, or a number that is 0 or 1. NaN is no
    success: it stands for "not measured" in some environments. None is the same as a missing key. A task may report
    success at some steps only.

    Raises:
        TaskError: the value is something else, such as a fraction, a text or an array with several entries.
    """
    for key in SUCCESS_KEYS:
        given = info.get(key)
        if given is None:
            continue
        if given is True or given is False:
            return bool(given), key
        number = real_number(given)
        if number == 0 or number == 1:
            return number == 1, key
        if number is not None and math.isnan(number):
            return False, key
        raise TaskError(
            f"info[{key!r}] is {described(given)}, but success must be True or False, or the number 0 or 1. "
            "Compare it with what counts as success, such as distance < 0.05, or use another key."
        )
    return None, None


def real_number(given: Any) -> float | None:
    """One real number as a float: of Python, of NumPy, or an array without axes. None for anything else."""
    if isinstance(given, Real):  # includes NumPy's integers and floats
        try:
            return float(given)
        except OverflowError:  # an integer beyond a float
            return math.inf
    array = _array(given) if hasattr(given, "dtype") else None
    return float(array) if array is not None and array.ndim == 0 and array.dtype.kind in "biuf" else None


def described(given: Any) -> str:
    """What was returned, for a message: its type, with its value or its shape."""
    kind = type(given).__name__
    if given is None:
        return "None"
    if isinstance(given, np.generic | bool | float | str | bytes) or (isinstance(given, int) and abs(given) < 2**63):
        return f"{reprlib.repr(given)} (of type {kind})"
    if hasattr(given, "shape") and hasattr(given, "dtype"):
        masked = "a masked" if isinstance(given, np.ma.MaskedArray) else "an"
        return f"{masked} array of shape {given.shape} and dtype {given.dtype}"
    if isinstance(given, list | tuple | dict):
        return f"a {kind} of {len(given)} {'entry' if len(given) == 1 else 'entries'}"
    return f"of type {kind}"


_NOT_FINITE = "which is not finite as float32. Fix the environment, or choose another task."


def _not_the_interface(how: str) -> TaskError:
    return TaskError(f"the environment doesn't have Gymnasium's interface: {how}. {_INTERFACE}")


def _takes_seed(reset: Any) -> bool:
    try:
        inspect.signature(reset).bind(seed=0, options=None)
    except TypeError:
        return False
    except ValueError:  # it has no signature to look at
        return True
    return True


def _array(given: Any) -> np.ndarray | None:
    """An array of what is a list or has an array's dtype; None if it can't be one, or hides some of its entries."""
    if isinstance(given, np.ma.MaskedArray) or not (isinstance(given, list | tuple) or hasattr(given, "dtype")):
        return None
    try:
        return np.asarray(given)
    except Exception:  # lists with rows of different lengths; arrays of other libraries may raise anything
        return None


def _casts(given: np.dtype[Any], declared: np.dtype[Any]) -> bool:
    """Whether numbers of one dtype may stand for another's. Signs and widths of integers don't matter."""
    if given == declared:
        return given.kind in "biuf"
    both_integers = given.kind in "iu" and declared.kind in "iu"
    return given.kind in "biuf" and (both_integers or np.can_cast(given, declared, "same_kind"))
