"""The type of transitions: what the replay buffer stores and saves, and what updates and saliency scores read."""

from typing import Any, NamedTuple

import numpy as np


class Transitions(NamedTuple):
    """Transitions with a leading axis, float32, as NumPy or JAX arrays.

    Attributes:
        observations, next_observations: (n, obs).
        actions: (n, act), as the agent chose them. Continuous ones may exceed [-1, 1], as PPO's do: environments clip
            them. Discrete ones are one-hot.
        rewards: (n,).
        terminations: (n,), 1.0 where the episode terminated. Truncation by a time limit is not termination: the next
            state's value is then bootstrapped.
        ends: (n,), 1.0 where the episode ended, by termination or truncation. Only on-policy algorithms need it; None
            for others.
    """

    observations: Any
    actions: Any
    rewards: Any
    next_observations: Any
    terminations: Any
    ends: Any = None

    @property
    def fields(self) -> dict[str, Any]:
        """The fields that are stored, by name."""
        return {name: field for name, field in self._asdict().items() if field is not None}


def one_hot(chosen: np.ndarray, size: int) -> np.ndarray:
    """Discrete actions (...,) as vectors (..., size) with a one at the chosen place, float32."""
    vectors = np.zeros((*np.shape(chosen), size), np.float32)
    np.put_along_axis(vectors, np.asarray(chosen)[..., None], 1.0, axis=-1)
    return vectors


def columns(rows: Any, observation_size: int, action_size: int) -> Transitions:
    """The fields of transitions stored in rows, as views; NumPy or JAX.

    Args:
        rows: (n, 2 obs + act + 2), or (n, 2 obs + act + 3) with the ends of episodes.
    """
    edges = np.cumsum([observation_size, action_size, 1, observation_size]).tolist()
    observations, actions, rewards, next_observations = (
        rows[:, start:end] for start, end in zip([0, *edges], edges, strict=False)
    )
    terminations, *ends = (rows[:, column] for column in range(edges[-1], rows.shape[1]))
    return Transitions(observations, actions, rewards[:, 0], next_observations, terminations, *ends)
