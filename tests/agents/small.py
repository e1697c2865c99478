"""A small SAC agent, and the same mathematics written once more in NumPy at double precision."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import numpy as np

from rlottery.agents import sac
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import kernels, nest_kernels
from rlottery.agents.description import Spec
from rlottery.agents.networks import Tree
from rlottery.config import NetworkSettings, SACSettings
from rlottery.storage.transitions import Transitions
from tests.cases import SAC

SPEC = Spec(observation_size=3, action_size=2)
SETTINGS = SACSetup(
    SACSettings(
        discount=0.9,
        polyak=0.02,
        actor_learning_rate=1e-3,
        critic_learning_rate=3e-3,
        temperature_learning_rate=2e-3,
        initial_temperature=0.3,
        reward_scale=1.7,
    ),
    NetworkSettings(actor=(12,), critic=(14, 8)),
)
BATCH_SIZE = 16


@cache
def compiled(name: str) -> Any:
    """`update` or `critic_loss` of `sac`, compiled once for all tests."""
    return jax.jit(partial(getattr(sac, name), settings=SETTINGS))


@jax.jit
def gradients(state: sac.SACState, batch: Transitions, key: jax.Array) -> dict[str, Tree]:
    """Of each group's own loss by its weights."""
    losses = sac.losses(state, batch, key, SETTINGS)
    return {group: jax.grad(loss)(state.params[group]) for group, loss in losses.items()}


def fresh(seed: int = 0) -> sac.SACState:
    state: sac.SACState = SAC.fresh(SETTINGS, seed, SPEC)
    return state


with_masks = jax.jit(sac.SAC.with_masks)


def random_batch(seed: int = 0, terminations: float | None = None) -> Transitions:
    """Plausible transitions, about a third of them terminal."""
    rng = np.random.default_rng(seed)
    ends = rng.random(BATCH_SIZE) < 0.3 if terminations is None else np.full(BATCH_SIZE, terminations)
    return Transitions(
        observations=rng.normal(size=(BATCH_SIZE, SPEC.observation_size)).astype(np.float32),
        actions=rng.uniform(-1, 1, (BATCH_SIZE, SPEC.action_size)).astype(np.float32),
        rewards=rng.normal(size=BATCH_SIZE).astype(np.float32),
        next_observations=rng.normal(size=(BATCH_SIZE, SPEC.observation_size)).astype(np.float32),
        terminations=ends.astype(np.float32),
    )


def random_masks(params: Tree, seed: int = 0, density: float = 0.4) -> Tree:
    rng = np.random.default_rng(seed)
    return {
        group: nest_kernels({path: rng.random(kernel.shape) < density for path, kernel in kernels(tree).items()})
        for group, tree in params.items()
    }


def advanced(state: sac.SACState, updates: int, seed: int = 0) -> sac.SACState:
    for index in range(updates):
        state, _ = compiled("update")(state, random_batch(seed + index))
    return state


def doubled(tree: Any) -> Any:
    """A tree's leaves as NumPy arrays of double precision."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


def numpy_mlp(params: Tree, inputs: np.ndarray, activation: str = "relu") -> np.ndarray:
    hidden = inputs
    for index in range(len(params)):
        layer = params[f"layer_{index}"]
        hidden = np.einsum("...i,io->...o", hidden, layer["kernel"]) + layer["bias"]
        if index + 1 < len(params):
            hidden = np.tanh(hidden) if activation == "tanh" else np.where(hidden > 0, hidden, 0)
    return hidden


def numpy_policy(actor: Tree, observations: np.ndarray, noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Squashed actions, and their log-density by the change of variables."""
    mean, log_std = np.split(numpy_mlp(actor, observations), 2, axis=-1)
    std = np.exp(np.clip(log_std, -20, 2))
    before = mean + std * noise
    normal = np.exp(-0.5 * ((before - mean) / std) ** 2) / (std * np.sqrt(2 * np.pi))
    slope = 1 / np.cosh(before) ** 2
    return np.tanh(before), np.log(normal / slope).sum(-1)


def numpy_q(q: Tree, observations: np.ndarray, actions: np.ndarray) -> np.ndarray:
    return numpy_mlp(q, np.concatenate([observations, actions], -1))[..., 0]


def numpy_critic_losses(critic: Tree, state: sac.SACState, batch: Transitions, noise: np.ndarray) -> np.ndarray:
    """Half the squared error of each twin, summed, for each transition; `state` and `batch` of double precision."""
    settings = SETTINGS.hyperparameters
    next_actions, log_density = numpy_policy(state.params["actor"], batch.next_observations, noise)
    q1, q2 = (numpy_q(state.target_critic[twin], batch.next_observations, next_actions) for twin in ("q1", "q2"))
    value = np.where(q1 < q2, q1, q2) - np.exp(state.log_temperature) * log_density
    goals = settings.reward_scale * batch.rewards + settings.discount * np.where(batch.terminations == 1, 0, value)
    q1, q2 = (numpy_q(critic[twin], batch.observations, batch.actions) for twin in ("q1", "q2"))
    return 0.5 * (q1 - goals) ** 2 + 0.5 * (q2 - goals) ** 2


def numpy_actor_losses(actor: Tree, state: sac.SACState, batch: Transitions, noise: np.ndarray) -> np.ndarray:
    actions, log_density = numpy_policy(actor, batch.observations, noise)
    q1, q2 = (numpy_q(state.params["critic"][twin], batch.observations, actions) for twin in ("q1", "q2"))
    return np.exp(state.log_temperature) * log_density - np.minimum(q1, q2)


def numpy_critic_loss(critic: Tree, state: sac.SACState, batch: Transitions, noise: np.ndarray) -> float:
    return numpy_critic_losses(critic, state, batch, noise).mean()


def numpy_actor_loss(actor: Tree, state: sac.SACState, batch: Transitions, noise: np.ndarray) -> float:
    return numpy_actor_losses(actor, state, batch, noise).mean()


def numpy_slopes(losses: Callable[[], np.ndarray], layers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Central differences of `losses()`, of any shape s, by every entry of `layers`: path -> (*s, inputs, outputs).

    Entries are moved in place, and put back.
    """
    slopes = {}
    for path, kernel in layers.items():
        by_entry = []
        for index in np.ndindex(kernel.shape):
            before, ends = kernel[index], []
            for step in (1e-6, -1e-6):
                kernel[index] = before + step
                ends.append(np.asarray(losses()))
            kernel[index] = before
            by_entry.append((ends[0] - ends[1]) / 2e-6)
        slopes[path] = np.stack(by_entry, -1).reshape(*by_entry[0].shape, *kernel.shape)
    return slopes
