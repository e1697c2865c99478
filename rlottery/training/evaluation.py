"""Evaluation: a deterministic policy on fixed episodes of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlottery.envs import Environment

ChooseAction = Callable[[np.ndarray], np.ndarray]
"""From one observation (obs,) to one action (act,) in [-1, 1]."""
ChooseActions = Callable[[np.ndarray], np.ndarray]
"""From observations (n, obs) to actions (n, act) in [-1, 1]; each depends on its own observation alone."""


class EpisodeResults(NamedTuple):
    """One entry per episode. `successes` is None if the task reports no success."""

    returns: list[float]
    lengths: list[int]
    successes: list[float] | None


def evaluate(choose: ChooseActions, environments: Sequence[Environment], seeds: Sequence[int]) -> EpisodeResults:
    """Run one episode for each seed. An episode is a success if any step is one; success doesn't end it.

    As many episodes take place at the same time as there are environments. That changes no result.
    """
    episodes = _played(choose, environments, seeds)
    returns, lengths, successes = ([getattr(one, name) for one in episodes] for name in ("total", "length", "success"))
    reports_success = any(success is not None for success in successes)
    return EpisodeResults(returns, lengths, [float(bool(s)) for s in successes] if reports_success else None)


def run_episode(choose: ChooseAction, environment: Environment, seed: int) -> tuple[float, int, bool | None]:
    """Undiscounted return, length in steps and success of the episode that starts from `seed`."""
    (episode,) = _played(lambda observations: choose(observations[0])[None], [environment], [seed])
    return episode.total, episode.length, episode.success


@dataclass
class _Episode:
    """An episode so far: its environment, the newest observation, and its return, length and success."""

    environment: Environment
    observation: np.ndarray
    total: float = 0.0
    length: int = 0
    success: bool | None = None
    over: bool = False

    def take(self, action: np.ndarray) -> None:
        """Take a step."""
        step = self.environment.step(action)
        self.observation, self.over = step.observation, step.over
        self.total += step.reward
        self.length += 1
        self.success = step.success if self.success is None else bool(self.success or step.success)


def _played(choose: ChooseActions, environments: Sequence[Environment], seeds: Sequence[int]) -> list[_Episode]:
    """The episodes of the seeds, from start to end. Where one ends, the next takes over its environment."""
    begun = [_Episode(one, one.reset(seed)) for one, seed in zip(environments, seeds, strict=False)]
    playing = begun[:]
    while playing:
        actions = choose(np.stack([episode.observation for episode in playing]))
        for episode, action in zip(playing, actions, strict=True):
            episode.take(action)
        for index, episode in enumerate(playing):
            if episode.over and len(begun) < len(seeds):
                playing[index] = _Episode(episode.environment, episode.environment.reset(seeds[len(begun)]))
                begun.append(playing[index])
        playing = [episode for episode in playing if not episode.over]
    return begun
