"""Agents of middling size, its tickets, and plausible transitions, for the tests of compact training."""

from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.algorithms import SACSetup, TD3Setup
from rlottery.agents.base import Algorithm, kernels, nest_masks, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC, SACState
from rlottery.agents.td3 import TD3
from rlottery.config import NetworkSettings, SACSettings, TD3Settings
from rlottery.pruning.masks import GroupMask
from rlottery.pruning.prune import Rule, prune
from rlottery.training.learner import CpuLearner

SPEC = Spec(observation_size=11, action_size=3)
SETTINGS = SACSetup(SACSettings(batch_size=50), NetworkSettings(actor=(64, 48), critic=(64, 48)))
SETTINGS_OF: dict[str, Any] = {"sac": SETTINGS, "td3": TD3Setup(TD3Settings(batch_size=50), SETTINGS.network)}
NOISE = np.array([1, 2], np.uint32)


@cache
def _dense(seed: int, algorithm: Algorithm) -> Any:
    settings = settings_of(algorithm)
    make = partial(algorithm.init_params, spec=SPEC, settings=settings)
    return jax.jit(lambda key: algorithm.init(make(key), jax.random.fold_in(key, 1), settings))(jax.random.key(seed))


def settings_of(algorithm: Algorithm) -> Any:
    return SETTINGS_OF[algorithm.description.name]


def fresh(seed: int = 0, algorithm: Algorithm = SAC) -> Any:
    """A dense agent; own arrays, as an update uses up those that it is given."""
    return copied(_dense(seed, algorithm))


def random_masks(
    sparsity: float, allocation: Rule = "uniform", seed: int = 0, algorithm: Algorithm = SAC
) -> dict[str, GroupMask]:
    generator, params = np.random.default_rng(seed), _dense(0, algorithm).params
    shapes = {group: {path: k.shape for path, k in kernels(tree).items()} for group, tree in params.items()}
    scores = {group: {path: generator.random(shape) for path, shape in of.items()} for group, of in shapes.items()}
    return {group: prune(of, sparsity, allocation=allocation) for group, of in scores.items()}


def ticket(sparsity: float, allocation: Rule = "uniform", seed: int = 0, algorithm: Algorithm = SAC) -> Any:
    masks = random_masks(sparsity, allocation, seed, algorithm)
    return algorithm.with_masks(fresh(seed, algorithm), nest_masks(masks))


def copied(state: Any) -> Any:
    return jax.tree.map(jnp.copy, state)


def learner(state: Any, *, kernels: bool, masks_change: bool = False) -> CpuLearner:
    algorithm = SAC if isinstance(state, SACState) else TD3
    settings = settings_of(algorithm)
    return CpuLearner(algorithm, settings, copied(state), SPEC, NOISE, kernels=kernels, masks_change=masks_change)


@cache
def transitions(number: int) -> list[np.ndarray]:
    """Minibatches of a task with something to learn: rows as the replay buffer holds them."""
    generator = np.random.default_rng(3)
    obs, act = SPEC.sizes
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
