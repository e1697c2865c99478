"""Random streams: every stream of a study follows from names, by hashing, and from nothing else.

A stream is named by (study, task, seed, arm, purpose). The initial weights leave the arm out, so that a dense
agent and its tickets share them; all else (data, noise, minibatches) differs from arm to arm.
"""

import hashlib
import json
from typing import NamedTuple

import numpy as np


class Streams(NamedTuple):
    """The random streams of one run."""

    study: str
    task: str
    seed: int
    arm: str

    def for_weights(self) -> int:
        """Seed of the initial weights, shared by all arms of this (study, task, seed)."""
        return stream_seed(self.study, self.task, self.seed, "initial weights")

    def for_purpose(self, purpose: str, *index: int) -> int:
        """Seed of this run's stream for `purpose`, and for the `index`-th thing in it (an episode, say)."""
        return stream_seed(self.study, self.task, self.seed, self.arm, purpose, *index)

    def generator(self, purpose: str) -> np.random.Generator:
        """A NumPy generator for `purpose`."""
        return np.random.default_rng(self.for_purpose(purpose))


def stream_seed(*names: str | int) -> int:
    """A 64-bit seed from names. Different names give independent streams; it is never 0."""
    digest = hashlib.sha256(json.dumps(names).encode()).digest()
    return int.from_bytes(digest[:8], "little") or 1


def evaluation_seeds(study: str, task: str, episodes: int) -> list[int]:
    """Seeds (and so goals) of the evaluation episodes: the same for every arm and seed of a study."""
    return [stream_seed(study, task, "evaluation", episode) for episode in range(episodes)]
