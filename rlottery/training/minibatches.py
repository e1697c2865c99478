"""What each gradient update learns from: minibatches of replay, or all of a rollout in several epochs."""

from collections.abc import Iterator

import numpy as np

from rlottery.agents.description import Rollouts
from rlottery.training.learner import Learner
from rlottery.training.replay_buffer import ReplayBuffer


def from_replay(
    replay: ReplayBuffer, generator: np.random.Generator, batch_size: int, updates: int
) -> Iterator[np.ndarray]:
    """So many minibatches of transitions that are sampled from all of the buffer, as rows."""
    for _ in range(updates):
        yield replay.sample(generator, batch_size)


def from_rollout(
    replay: ReplayBuffer, generator: np.random.Generator, learner: Learner, rollouts: Rollouts
) -> Iterator[np.ndarray]:
    """The minibatches of the newest rollout, as rows: every epoch has all of its transitions, in a random order."""
    prepared = learner.prepare(replay.rows_between(replay.added - rollouts.steps, replay.added))
    for _ in range(rollouts.epochs):
        order = generator.permutation(rollouts.steps)
        for start in range(0, rollouts.steps, rollouts.batch_size):
            yield np.take(prepared, order[start : start + rollouts.batch_size], axis=0)
