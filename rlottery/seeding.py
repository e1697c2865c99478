"""RNG streams: the seed of every stream of a study is a hash of names.

A stream is named by (study, task, seed, arm, purpose). The name of the initial weights doesn't contain the arm, so a
dense agent and its tickets share them. All other streams (data, noise, minibatches) differ between arms.
"""

import hashlib
import json
from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """The RNG streams of one run."""

    study: str
    task: str
    seed: int
    arm: str

    def for_weights(self) -> int:
        """Seed of the initial weights, which all arms of this (study, task, seed) share."""
        return stream_seed(self.study, self.task, self.seed, "initial weights")

    def for_purpose(self, purpose: str, *index: int) -> int:
        """Seed of this run's stream for `purpose`, and for an item of it, such as an episode, if `index` is given."""
        return stream_seed(self.study, self.task, self.seed, self.arm, purpose, *index)

    def generator(self, purpose: str) -> np.random.Generator:
        """A NumPy generator for `purpose`."""
        return np.random.default_rng(self.for_purpose(purpose))


def stream_seed(*names: str | int) -> int:
    """A 64-bit seed from names, never 0. Different names give independent streams."""
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int.from_bytes(digest[:8], "little") or 1


def evaluation_seeds(study: str, task: str, episodes: int) -> list[int]:
    """Seeds of the evaluation episodes, and so their goals: the same for every arm and seed of a study."""
    return [stream_seed(study, task, "evaluation", episode) for episode in range(episodes)]


def untrained_seeds(study: str, task: str, policies: int) -> list[int]:
    """Seeds of the weights of a task's untrained policies. No run starts from these weights."""
    return [stream_seed(study, task, "untrained policy", policy) for policy in range(policies)]
