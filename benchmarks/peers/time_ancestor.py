"""The public project that rlottery's pipeline descends from, timed by serve.py: its agent, buffer and training loop.

Its code is imported from the clone given by ``--checkout``.
"""

import tempfile

import jax
import numpy as np
from drawer_close import ACTION_SIZE, LEARNING_STARTS, OBSERVATION_SIZE, REPLAY_SIZE, DrawerClose, Transitions
from src.agents.sac import SACAgent, SACConfig
from src.data.replay_buffer import ReplayBuffer
from src.training.loops_vectorized import run_training_loop

BATCH_SIZE = 256
MASKED_SPARSITY = 0.95


class Peer:
    """Three agents: a dense and a masked one with a full buffer for single updates, and one for the training loop."""

    def __init__(self, environment: DrawerClose, transitions: Transitions):
        self._environment = environment
        self._dense, self._masked, self._training = (_agent(masked) for masked in (False, True, False))
        self._full, self._replay = (ReplayBuffer(OBSERVATION_SIZE, ACTION_SIZE, REPLAY_SIZE) for _ in range(2))
        for observation, action, reward, following in zip(*transitions, strict=True):
            self._full.store(observation, action, reward, following, 0.0)
        self._folder = tempfile.TemporaryDirectory()

    def update(self) -> None:
        self._update(self._dense)

    def masked_update(self) -> None:
        """The update of a ticket with 95 % sparsity. Its weights are multiplied by the masks."""
        self._update(self._masked)

    def _update(self, agent: SACAgent) -> None:
        # The project's own training loop reads every metric, so it waits for each update to finish.
        for value in agent.update(self._full, BATCH_SIZE).values():
            float(value)

    def train(self, steps: int) -> None:
        run_training_loop(
            env=self._environment,
            agent=self._training,
            replay_buffer=self._replay,
            total_steps=steps,
            start_steps=max(0, LEARNING_STARTS - len(self._replay)),
            batch_size=BATCH_SIZE,
            eval_interval=steps + 1,
            save_dir=self._folder.name,
            seed=0,
            task_name="drawer-close-v3",
            updates_per_step=1,
        )


def _agent(masked: bool) -> SACAgent:
    bounds = np.ones(ACTION_SIZE, np.float32)
    config = SACConfig(hidden_dims=(256, 256), use_masking=masked)
    agent = SACAgent(OBSERVATION_SIZE, ACTION_SIZE, -bounds, bounds, config)
    if masked:
        generator = np.random.default_rng(0)

        def mask(array: jax.Array) -> np.ndarray:
            kept = generator.random(array.shape) >= MASKED_SPARSITY
            return np.where(array.ndim > 1, kept, True).astype(np.float32)

        agent.apply_mask(*(jax.tree.map(mask, params) for params in agent.get_params()))
    return agent
