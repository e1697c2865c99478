"""Noise inputs: entries of an observation that say nothing, and that an agent has to learn to ignore.

A task with N of them is written ``TASK+noiseN``. After Vischer et al. 2022, "On Lottery Tickets and Minimal Task
Representations in Deep Reinforcement Learning" (arXiv:2105.01648), whose tickets drop inputs that a task doesn't need.
"""

import numpy as np

from rlottery.seeding import stream_seed


class NoiseInputs:
    """Draws `count` standard normal numbers for each observation, as float32.

    They follow from the seed of the episode, and are independent of each other and of what the environment draws from
    the same seed.
    """

    def __init__(self, count: int):
        self.count = count
        self.reset(0)

    def reset(self, seed: int) -> None:
        """Start the episode of `seed`."""
        self._generator = np.random.default_rng(stream_seed("noise inputs", seed))

    def appended_to(self, observation: np.ndarray) -> np.ndarray:
        """The observation, (obs,) float32, and noise drawn for it: (obs + count,)."""
        if not self.count:
            return observation
        return np.concatenate((observation, self._generator.standard_normal(self.count, np.float32)))

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the entries, in order: ``noise 1`` and so on."""
        return tuple(f"noise {number}" for number in range(1, self.count + 1))
