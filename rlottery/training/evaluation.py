"""Evaluation: a deterministic policy on fixed episodes of its own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rlottery.envs import Environment

Policy = Callable[[np.ndarray], np.ndarray]
"""From one observation (obs,) to one action (act,) in [-1, 1]."""


class Evaluation(NamedTuple):
    """One entry an episode. `successes` is None where the task knows no success."""

    returns: list[float]
    lengths: list[int]
    successes: list[float] | None


def evaluate(policy: Policy, environment: Environment, seeds: Sequence[int]) -> Evaluation:
    """Run one episode for each seed. A success is a success at any step; it doesn't end the episode."""
    episodes = [run_episode(policy, environment, seed) for seed in seeds]
    returns, lengths, successes = (list(column) for column in zip(*episodes, strict=True))
    knows_success = any(success is not None for success in successes)
    return Evaluation(returns, lengths, [float(bool(success)) for success in successes] if knows_success else None)


def run_episode(policy: Policy, environment: Environment, seed: int) -> tuple[float, int, bool | None]:
    """Undiscounted return, length in steps, and success of the episode that `seed` names."""
    observation = environment.reset(seed)
    total, length, succeeded, over = 0.0, 0, None, False
    while not over:
        step = environment.step(policy(observation))
        observation = step.observation
        total += step.reward
        length += 1
        succeeded = step.success if succeeded is None else bool(succeeded or step.success)
        over = step.terminated or step.truncated
    return total, length, succeeded
