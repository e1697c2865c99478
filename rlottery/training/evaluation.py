"""Evaluation: a deterministic policy on fixed episodes of its own."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from rlottery.envs import Environment, EpisodeTotals

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
    episodes = [episode.totals for episode in _played(choose, environments, seeds)]
    successes = [one.success for one in episodes]
    reports_success = any(success is not None for success in successes)
    return EpisodeResults(
        returns=[one.total for one in episodes],
        lengths=[one.length for one in episodes],
        successes=[float(bool(success)) for success in successes] if reports_success else None,
    )


def run_episode(choose: ChooseAction, environment: Environment, seed: int) -> EpisodeTotals:
    """The episode that starts from `seed`, to its end."""
    (episode,) = _played(lambda observations: choose(observations[0])[None], [environment], [seed])
    return episode.totals


@dataclass
class _Episode:
    """An episode so far: its environment, the newest observation, and what it has come to."""

    environment: Environment
    observation: np.ndarray
    totals: EpisodeTotals = field(default_factory=EpisodeTotals)
    over: bool = False

    def take(self, action: np.ndarray) -> None:
        """Take a step."""
        step = self.environment.step(action)
        self.observation, self.over = step.observation, step.over
        self.totals.add(step)


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
