"""A policy that was made in Python, checked before it is written: anything may be in its attributes."""

import operator
from dataclasses import replace
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from rlottery.activations import ACTIVATIONS
from rlottery.agents.description import Squash
from rlottery.errors import StudyError
from rlottery.export.policy import Policy, PolicyLayers
from rlottery.safety.printable import on_one_line

_UNUSABLE = (TypeError, ValueError, OverflowError)
"""What Python and NumPy raise for values that are not numbers, or not as many as needed."""
_LARGEST = 2**63 - 1
"""Seeds are int64."""
_LARGEST_ACTION = 2**53
"""Of the integers that JSON's readers hold exactly."""


def checked_policy(policy: Policy) -> Policy:
    """The policy with plain numbers, and arrays of float32.

    Raises:
        StudyError: names an attribute that can't be written, and says what it must be.
    """
    for name in ("task", "arm", "agent_sha256"):
        if not isinstance(value := getattr(policy, name), str):
            raise _fault(name, "a string", value)
    for name, known in (("squash", get_args(Squash)), ("activation", ACTIVATIONS)):
        if not isinstance(value := getattr(policy, name), str) or value not in known:
            raise _fault(name, " or ".join(map(repr, known)), value)
    inputs, outputs = (_whole(policy, name, 1, _LARGEST) for name in ("observation_size", "action_size"))
    is_discrete = policy.first_action is not None
    return replace(
        policy,
        seed=_whole(policy, "seed", 0, _LARGEST),
        sparsity=_sparsity(policy.sparsity),
        observation_size=inputs,
        action_size=outputs,
        action_low=_bound(policy, "action_low", 0 if is_discrete else outputs),
        action_high=_bound(policy, "action_high", 0 if is_discrete else outputs),
        layers=_layers(policy.layers, inputs, outputs),
        statistics=_statistics(policy.statistics, inputs),
        first_action=_whole(policy, "first_action", -_LARGEST_ACTION, _LARGEST_ACTION) if is_discrete else None,
    )


def _fault(name: str, wanted: str, value: object) -> StudyError:
    return StudyError(f"The policy's {name} must be {wanted}, not {on_one_line(repr(value))[:100]}.")


def _whole(policy: Policy, name: str, least: int, most: int) -> int:
    value = getattr(policy, name)
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        raise _fault(name, f"a whole number from {least} to {most}", value)
    return number


def _sparsity(value: Any) -> float:
    try:
        share = float(value)
    except _UNUSABLE:
        share = np.nan
    if not 0 <= share <= 1:
        raise _fault("sparsity", "a number from 0 to 1", value)
    return share


def _bound(policy: Policy, name: str, size: int) -> NDArray[np.float32]:
    value = getattr(policy, name)
    try:
        return _floats(value, size)
    except _UNUSABLE:
        wanted = f"finite numbers of shape ({size},)" if size else "empty for discrete actions"
        raise _fault(name, wanted, value) from None


def _statistics(given: Any, size: int) -> tuple[NDArray[np.float32], NDArray[np.float32]] | None:
    if given is None:
        return None
    try:
        mean, variance = (_floats(array, size) for array in given)
        if (variance < 0).any():
            raise ValueError
    except _UNUSABLE:
        wanted = f"None, or a mean and a variance, both finite numbers of shape ({size},)"
        raise _fault("statistics", wanted, given) from None
    return mean, variance


def _layers(given: Any, inputs: int, action_size: int) -> PolicyLayers:
    try:
        layers = tuple((_as_float32(kernel), _as_float32(bias)) for kernel, bias in given)
        if not layers:
            raise ValueError
    except _UNUSABLE:
        raise _fault("layers", "one or more pairs (kernel, bias) of arrays", given) from None
    for index, (kernel, bias) in enumerate(layers):
        if bias.ndim != 1 or kernel.shape != (inputs, len(bias)):
            raise StudyError(
                f"Layer {index} of the policy has a kernel {kernel.shape} and a bias {bias.shape}, which don't fit "
                f"together: its kernel must be ({inputs}, outputs), and its bias (outputs,)."
            )
        if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
            raise StudyError(f"Layer {index} of the policy has values that are not finite.")
        inputs = len(bias)
    if inputs < action_size:
        raise StudyError(f"The policy has {inputs} outputs, and {action_size} are needed: one per action entry.")
    return layers


def _floats(value: Any, size: int) -> NDArray[np.float32]:
    """Finite numbers (size,). Raises one of `_UNUSABLE` for others."""
    array = _as_float32(value)
    if array.shape != (size,) or not np.isfinite(array).all():
        raise ValueError
    return array


def _as_float32(value: Any) -> NDArray[np.float32]:
    with np.errstate(over="ignore"):  # it becomes infinite, which is refused
        return np.asarray(value, np.float32)
