"""The type of transitions: what the replay buffer stores and saves, and what updates and saliency scores read."""

from typing import Any, NamedTuple

import numpy as np


class Transitions(NamedTuple):
    """Transitions with a leading axis, float32, as NumPy or JAX arrays.

    Attributes:
        observations, next_observations: (n, obs).
        actions: (n, act), in [-1, 1]; discrete ones are one-hot.
        rewards: (n,).
        terminations: (n,), 1.0 where the episode terminated. Truncation by a time limit is not termination: the next
            state's value is then bootstrapped.
    """

    observations: Any
    actions: Any
    rewards: Any
    next_observations: Any
    terminations: Any


def one_hot(chosen: np.ndarray, size: int) -> np.ndarray:
    """Discrete actions (...,) as vectors (..., size) with a one at the chosen place, float32."""
    vectors: np.ndarray = np.eye(size, dtype=np.float32)[chosen]
    return vectors


def columns(rows: Any, observation_size: int, action_size: int) -> Transitions:
    """The fields of transitions stored in rows, (n, 2 obs + act + 2), as views; NumPy or JAX."""
    ends = np.cumsum([observation_size, action_size, 1, observation_size]).tolist()
    observations, actions, rewards, next_observations = (
        rows[:, start:end] for start, end in zip([0, *ends], ends, strict=False)
    )
    return Transitions(observations, actions, rewards[:, 0], next_observations, rows[:, ends[-1]])
