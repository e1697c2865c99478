"""Deep Q-networks (DQN, Mnih et al. 2015) as pure functions; double DQN (van Hasselt et al. 2016) by option.

One network has a value for each action. Every `target_interval` updates it is copied into the target network, whose
values it learns from. Data is collected with random actions at a rate that falls along a line, and otherwise with the
action of the highest value.
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import ndtr

from rlottery.agents.adam import map_moments
from rlottery.agents.algorithms import DQN_DESCRIPTION, DQNSetup
from rlottery.agents.base import Algorithm, apply_masks
from rlottery.agents.description import Spec
from rlottery.agents.discrete import largest
from rlottery.agents.networks import Tree, fresh_weights, mlp, mlp_layer_inputs
from rlottery.storage.transitions import Transitions


class DQNState(NamedTuple):
    """The complete state of one agent.

    Attributes:
        params: ``{"q": mlp}``.
        target: like ``params["q"]``.
        optimizer: Adam's state for the network.
        updates: the number of updates since the optimiser was fresh; int32 scalar.
        masks: masks of the kernels by group, or {} for a dense agent.
        patterns: sparsity patterns of compact networks, nested like `params`; otherwise {}.
    """

    params: Tree
    target: Tree
    optimizer: dict[str, optax.OptState]
    updates: jax.Array
    masks: Tree
    patterns: Tree


init_params = fresh_weights(DQN_DESCRIPTION)


def init(params: Tree, key: jax.Array, settings: DQNSetup) -> DQNState:
    """A dense agent at the start of training: the target equal to the network, a fresh optimiser. No update is random.

    Args:
        key: not used.
    """
    optimizer = {"q": _optimizer(settings).init(params["q"])}
    return DQNState(params, jax.tree.map(jnp.copy, params["q"]), optimizer, jnp.int32(0), masks={}, patterns={})


def rewind(saved: DQNState, key: jax.Array, settings: DQNSetup) -> DQNState:
    """A dense agent with the weights and the target of `saved`, and a fresh optimiser."""
    return init(saved.params, key, settings)._replace(target=saved.target)


def map_weights(change: Callable[[str, Any], Any], state: DQNState) -> DQNState:
    """`state` with weights, target and Adam's moments replaced by ``change(group, tree)``."""
    return state._replace(
        params={"q": change("q", state.params["q"])},
        target=change("q", state.target),
        optimizer=map_moments(change, state.optimizer, state.params),
    )


def noise_size(spec: Spec) -> int:
    """A normal number for each action, and one more."""
    return spec.action_size + 1


def exploration(step: int, settings: DQNSetup) -> float:
    """The probability of a random action at an environment step of training."""
    dqn = settings.hyperparameters
    progress = min(step / dqn.exploration_steps, 1.0)
    return dqn.exploration_start + progress * (dqn.exploration_end - dqn.exploration_start)


def explore(outputs: np.ndarray, noise: np.ndarray, step: int, settings: DQNSetup) -> np.ndarray:
    """One-hot actions (..., act) by epsilon-greedy, from the values and standard normal noise (..., act + 1).

    The last normal number decides whether an action is random, and the largest of the others which one it is.
    """
    best = largest(outputs)
    is_random = ndtr(noise[..., -1:].astype(np.float64)) < exploration(step, settings)
    actions: np.ndarray = np.where(is_random & np.isfinite(best), largest(noise[..., :-1]), best)
    return actions


def q_loss(q: Tree, state: DQNState, batch: Transitions, settings: DQNSetup) -> tuple[jax.Array, jax.Array]:
    """The mean Huber loss of the Bellman errors, and the mean value of the actions taken.

    Its gradient is that of half the squared error, with the error clipped to [-1, 1] (Mnih et al. 2015, methods).
    """
    dqn = settings.hyperparameters
    network = partial(mlp, activation=settings.network.activation, pattern=state.patterns.get("q"))
    next_values = network(state.target, batch.next_observations)
    if dqn.double:
        choosing = network(state.params["q"], batch.next_observations)
        chosen = jnp.argmax(choosing, axis=-1, keepdims=True)
        next_value = jnp.take_along_axis(next_values, chosen, axis=-1)[..., 0]
    else:
        next_value = jnp.max(next_values, axis=-1)
    targets = dqn.reward_scale * batch.rewards + dqn.discount * (1.0 - batch.terminations) * next_value
    values = jnp.sum(network(q, batch.observations) * batch.actions, axis=-1)
    return jnp.mean(optax.huber_loss(values, jax.lax.stop_gradient(targets))), jnp.mean(values)


def update(state: DQNState, batch: Transitions, settings: DQNSetup) -> tuple[DQNState, dict[str, jax.Array]]:
    """One gradient step; every `target_interval`-th time, the target becomes a copy. Metrics: loss, mean value."""
    dqn = settings.hyperparameters
    (loss, value), gradient = jax.value_and_grad(q_loss, has_aux=True)(state.params["q"], state, batch, settings)
    gradient = apply_masks(gradient, state.masks.get("q", {}))  # before its norm is taken
    gradient, _ = optax.clip_by_global_norm(dqn.max_gradient_norm).update(gradient, optax.EmptyState())
    step, optimizer = _optimizer(settings).update(gradient, state.optimizer["q"])
    q: Any = optax.apply_updates(state.params["q"], step)
    updates = state.updates + 1
    is_copied = updates % dqn.target_interval == 0
    new_state = state._replace(
        params={"q": q},
        target=jax.tree.map(lambda target, weight: jnp.where(is_copied, weight, target), state.target, q),
        optimizer={"q": optimizer},
        updates=updates,
    )
    return new_state, {"q_loss": loss, "q_value": value}


def losses(
    state: DQNState, batch: Transitions, key: jax.Array, settings: DQNSetup
) -> dict[str, Callable[[Tree], jax.Array]]:
    """The loss as a function of the network's weights. The targets stay those of `state`."""
    return {"q": lambda q: q_loss(q, state, batch, settings)[0]}


def layer_inputs(state: DQNState, batch: Transitions, settings: DQNSetup) -> dict[str, dict[str, jax.Array]]:
    """The input of each kernel on the batch's observations, (batch, in)."""
    return {"q": mlp_layer_inputs(state.params["q"], batch.observations, settings.network.activation)}


def _optimizer(settings: DQNSetup) -> optax.GradientTransformation:
    return optax.adam(settings.hyperparameters.learning_rate)


DQN = Algorithm(
    DQN_DESCRIPTION,
    init_params,
    init,
    rewind,
    map_weights,
    explore,
    update,
    losses,
    layer_inputs,
    noise_size=noise_size,
)
