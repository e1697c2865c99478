"""A peer for Stable-Baselines3 and SBX, which have the same interface."""

from typing import Any

from drawer_close import LEARNING_STARTS, REPLAY_SIZE, DrawerClose, Transitions
from stable_baselines3.common.logger import configure


class BaselinesPeer:
    """SAC of one of the libraries: one agent with a full buffer for single updates, another for the training loop."""

    def __init__(self, algorithm: type[Any], environment: DrawerClose, transitions: Transitions):
        self._full, self._training = (
            algorithm(
                "MlpPolicy",
                environment,
                learning_rate=3e-4,
                batch_size=256,
                buffer_size=REPLAY_SIZE,
                learning_starts=LEARNING_STARTS,
                train_freq=1,
                gradient_steps=1,
                tau=0.005,
                ent_coef="auto",
                policy_kwargs={"net_arch": [256, 256]},
                seed=seed,
                device="cpu",
            )
            for seed in range(2)
        )
        self._full.set_logger(configure(format_strings=[]))
        buffer = self._full.replay_buffer
        buffer.observations[:, 0] = transitions.observations
        buffer.actions[:, 0] = transitions.actions
        buffer.rewards[:, 0] = transitions.rewards
        buffer.next_observations[:, 0] = transitions.next_observations
        buffer.full = True

    def update(self) -> None:
        self._full.train(gradient_steps=1, batch_size=256)

    def train(self, steps: int) -> None:
        self._training.learn(steps, reset_num_timesteps=False)
