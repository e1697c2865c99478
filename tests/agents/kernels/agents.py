"""A SAC agent of middling size, its tickets, and plausible transitions, for the tests of compact training."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import kernels, nest_masks, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC, SACState
from rlottery.config import NetworkSettings, SACSettings
from rlottery.pruning.masks import GroupMask
from rlottery.pruning.prune import Rule, prune
from rlottery.training.learner import CpuLearner

SPEC = Spec(observation_size=11, action_size=3)
SETTINGS = SACSetup(SACSettings(batch_size=50), NetworkSettings(actor=(64, 48), critic=(64, 48)))
NOISE = np.array([1, 2], np.uint32)


@cache
def _dense(seed: int) -> SACState:
    make = partial(SAC.init_params, spec=SPEC, settings=SETTINGS)
    state: SACState = jax.jit(lambda key: SAC.init(make(key), jax.random.fold_in(key, 1), SETTINGS))(
        jax.random.key(seed)
    )
    return state


def fresh(seed: int = 0) -> SACState:
    """A dense agent; own arrays, as an update uses up those that it is given."""
    return copied(_dense(seed))


def random_masks(sparsity: float, allocation: Rule = "uniform", seed: int = 0) -> dict[str, GroupMask]:
    generator = np.random.default_rng(seed)
    shapes = {group: {path: k.shape for path, k in kernels(tree).items()} for group, tree in _dense(0).params.items()}
    scores = {group: {path: generator.random(shape) for path, shape in of.items()} for group, of in shapes.items()}
    return {group: prune(of, sparsity, allocation=allocation) for group, of in scores.items()}


def ticket(sparsity: float, allocation: Rule = "uniform", seed: int = 0) -> SACState:
    state: SACState = SAC.with_masks(fresh(seed), nest_masks(random_masks(sparsity, allocation, seed)))
    return state


def copied(state: Any) -> Any:
    return jax.tree.map(jnp.copy, state)


def learner(state: SACState, *, kernels: bool, masks_change: bool = False) -> CpuLearner:
    return CpuLearner(SAC, SETTINGS, copied(state), SPEC, NOISE, kernels=kernels, masks_change=masks_change)


@cache
def transitions(number: int) -> list[np.ndarray]:
    """Minibatches of a task with something to learn: rows as the replay buffer holds them."""
    generator = np.random.default_rng(3)
    obs, act = SPEC
    dynamics = generator.normal(size=(obs, obs + act)) * 0.3
    batches = []
    for _ in range(number):
        observations = generator.normal(size=(SETTINGS.batch_size, obs))
        actions = np.tanh(generator.normal(size=(SETTINGS.batch_size, act)))
        following = np.tanh(np.concatenate([observations, actions], 1) @ dynamics.T)
        rewards = following[:, :1] - (actions**2).sum(1, keepdims=True)
        ends = generator.random((SETTINGS.batch_size, 1)) < 0.05
        batches.append(np.concatenate([observations, actions, rewards, following, ends], 1).astype(np.float32))
    return batches


def arrays(state: Any) -> dict[str, np.ndarray]:
    """Copies of all arrays of a state."""
    return {name: np.array(array) for name, array in to_arrays(state).items()}
