"""Evaluation: a deterministic policy on fixed episodes of its own."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from rlottery.envs import Environment

ChooseAction = Callable[[np.ndarray], np.ndarray]
"""From one observation (obs,) to one action (act,) in [-1, 1]."""


class EpisodeResults(NamedTuple):
    """One entry per episode. `successes` is None if the task reports no success."""

    returns: list[float]
    lengths: list[int]
    successes: list[float] | None


def evaluate(choose: ChooseAction, environment: Environment, seeds: Sequence[int]) -> EpisodeResults:
    """Run one episode for each seed. An episode is a success if any step is one; success doesn't end it."""
    episodes = [run_episode(choose, environment, seed) for seed in seeds]
    returns, lengths, successes = (list(column) for column in zip(*episodes, strict=True))
    reports_success = any(success is not None for success in successes)
    return EpisodeResults(returns, lengths, [float(bool(s)) for s in successes] if reports_success else None)


def run_episode(choose: ChooseAction, environment: Environment, seed: int) -> tuple[float, int, bool | None]:
    """Undiscounted return, length in steps and success of the episode that starts from `seed`."""
    observation = environment.reset(seed)
    total, length, succeeded, over = 0.0, 0, None, False
    while not over:
        step = environment.step(choose(observation))
        observation = step.observation
        total += step.reward
        length += 1
        succeeded = step.success if succeeded is None else bool(succeeded or step.success)
        over = step.over
    return total, length, succeeded
