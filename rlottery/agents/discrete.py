"""Discrete actions from the outputs of a network with one output for each action. Nothing here imports JAX."""

import numpy as np

from rlottery.storage.transitions import one_hot


def largest(values: np.ndarray) -> np.ndarray:
    """The action with the largest value, one-hot (..., act); NaN where a value is not finite."""
    chosen = one_hot(np.argmax(values, axis=-1), values.shape[-1])
    finite = np.isfinite(values).all(axis=-1, keepdims=True)
    return chosen if finite.all() else np.where(finite, chosen, np.float32(np.nan))
