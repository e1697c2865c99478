"""Soft Actor-Critic (Haarnoja et al. 2018b, arXiv:1812.05905) as pure functions.

A tanh-Gaussian actor, twin critics, slowly moving target critics, and a temperature learned towards a target entropy.
One update changes, in this order: critics, actor (using the updated critics), temperature, targets.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlottery.agents.actor_critic import layer_inputs, q_values, smaller_q
from rlottery.agents.adam import Adam, map_moments
from rlottery.agents.algorithms import SAC_DESCRIPTION, SACSetup
from rlottery.agents.base import Algorithm
from rlottery.agents.kernels.random_numbers import standard_normal
from rlottery.agents.networks import Tree, fresh_weights, mlp
from rlottery.storage.transitions import Transitions

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class SACState(NamedTuple):
    """The complete state of one agent.

    Attributes:
        params: ``{"actor": mlp, "critic": {"q1": mlp, "q2": mlp}}``.
        target_critic: like ``params["critic"]``.
        log_temperature: scalar.
        optimizer: Adam's state for actor, critic and temperature.
        masks: masks of the kernels by group, or {} for a dense agent.
        key: the key that the noise of the next update is split from.
        patterns: sparsity patterns of compact networks, nested like `params`; otherwise {}.
    """

    params: Tree
    target_critic: Tree
    log_temperature: jax.Array
    optimizer: dict[str, optax.OptState]
    masks: Tree
    key: jax.Array
    patterns: Tree


init_params = fresh_weights(SAC_DESCRIPTION)
"""Fresh weights, ``{"actor": ..., "critic": {"q1": ..., "q2": ...}}``, which depend on `key` alone."""


def init(params: Tree, key: jax.Array, settings: SACSetup) -> SACState:
    """A dense agent at the start of training: targets equal to the critics, a fresh optimiser."""
    log_temperature = jnp.log(jnp.float32(settings.hyperparameters.initial_temperature))
    learned = params | {"temperature": log_temperature}
    optimizer = {name: adam.init(learned[name]) for name, adam in _optimizers(settings).items()}
    targets = jax.tree.map(jnp.copy, params["critic"])
    return SACState(params, targets, log_temperature, optimizer, masks={}, key=key, patterns={})


def rewind(saved: SACState, key: jax.Array, settings: SACSetup) -> SACState:
    """A dense agent with the weights, targets and temperature of `saved`, a fresh optimiser and `key`."""
    dense = init(saved.params, key, settings)
    return dense._replace(target_critic=saved.target_critic, log_temperature=saved.log_temperature)


def map_weights(change: Callable[[str, Any], Any], state: SACState) -> SACState:
    """`state` with weights, target critics and Adam's moments replaced by ``change(group, tree)``."""
    return state._replace(
        params={group: change(group, tree) for group, tree in state.params.items()},
        target_critic=change("critic", state.target_critic),
        optimizer=map_moments(change, state.optimizer, state.params),
    )


def explore(outputs: Any, noise: Any, step: int, settings: SACSetup) -> Any:
    """Stochastic actions (..., act) in [-1, 1] from the actor's outputs and standard normal noise; NumPy or JAX."""
    xp: Any = np if isinstance(outputs, np.ndarray) else jnp
    mean, log_std = outputs[..., : outputs.shape[-1] // 2], outputs[..., outputs.shape[-1] // 2 :]
    return xp.tanh(mean + xp.exp(xp.minimum(xp.maximum(log_std, LOG_STD_MIN), LOG_STD_MAX)) * noise)


def exploit(outputs: np.ndarray) -> np.ndarray:
    """Deterministic actions (..., act) in [-1, 1]: tanh of the mean."""
    actions: np.ndarray = np.tanh(outputs[..., : outputs.shape[-1] // 2])
    return actions


def critic_loss(critic: Tree, state: SACState, batch: Transitions, key: jax.Array, settings: SACSetup) -> jax.Array:
    """Sum over both critics of half the mean squared soft Bellman error (eqs. 5 and 6)."""
    patterns, activation = state.patterns, settings.network.activation
    next_actions, next_log_probs = _sample(state.params["actor"], patterns, batch.next_observations, key, settings)
    next_values = smaller_q(state.target_critic, patterns, activation, batch.next_observations, next_actions)
    next_values -= jnp.exp(state.log_temperature) * next_log_probs
    sac = settings.hyperparameters
    targets = sac.reward_scale * batch.rewards + sac.discount * (1.0 - batch.terminations) * next_values
    targets = jax.lax.stop_gradient(targets)
    errors = (q - targets for q in q_values(critic, patterns, activation, batch.observations, batch.actions))
    return sum((0.5 * jnp.mean(jnp.square(error)) for error in errors), start=jnp.float32(0.0))


def actor_loss(
    actor: Tree, critic: Tree, state: SACState, observations: jax.Array, key: jax.Array, settings: SACSetup
) -> tuple[jax.Array, jax.Array]:
    """Mean of temperature x log-probability - min(Q1, Q2) (eq. 7), and an estimate of the policy's entropy."""
    actions, log_probs = _sample(actor, state.patterns, observations, key, settings)
    values = smaller_q(critic, state.patterns, settings.network.activation, observations, actions)
    return jnp.mean(jnp.exp(state.log_temperature) * log_probs - values), -jnp.mean(log_probs)


def update(state: SACState, batch: Transitions, settings: SACSetup) -> tuple[SACState, dict[str, jax.Array]]:
    """One gradient step on critics, actor and temperature. Metrics: both losses, temperature, entropy."""
    next_key, critic_key, actor_key = jax.random.split(state.key, 3)
    optimizers = _optimizers(settings)
    optimizer = dict(state.optimizer)

    critic_value, gradient = jax.value_and_grad(critic_loss)(state.params["critic"], state, batch, critic_key, settings)
    critic, optimizer["critic"] = optimizers["critic"].step(
        gradient, optimizer["critic"], state.params["critic"], state.masks.get("critic", {})
    )

    (actor_value, entropy), gradient = jax.value_and_grad(actor_loss, has_aux=True)(
        state.params["actor"], critic, state, batch.observations, actor_key, settings
    )
    actor, optimizer["actor"] = optimizers["actor"].step(
        gradient, optimizer["actor"], state.params["actor"], state.masks.get("actor", {})
    )

    # The loss is log_temperature x (entropy - target), as in SB3 and CleanRL. Its gradient is the gap itself.
    target = settings.hyperparameters.target_entropy
    gap = entropy - (-float(batch.actions.shape[-1]) if target == "auto" else float(target))
    log_temperature, optimizer["temperature"] = optimizers["temperature"].step(
        gap, optimizer["temperature"], state.log_temperature, masks={}
    )

    polyak = settings.hyperparameters.polyak
    target_critic = jax.tree.map(lambda t, w: t + polyak * (w - t), state.target_critic, critic)
    new_state = state._replace(
        params={"actor": actor, "critic": critic},
        target_critic=target_critic,
        log_temperature=log_temperature,
        optimizer=optimizer,
        key=next_key,
    )
    metrics = {"critic_loss": critic_value, "actor_loss": actor_value, "entropy": entropy}
    return new_state, metrics | {"temperature": jnp.exp(log_temperature)}


def losses(
    state: SACState, batch: Transitions, key: jax.Array, settings: SACSetup
) -> dict[str, Callable[[Tree], jax.Array]]:
    """The actor's loss as a function of its weights, and the critics' loss as a function of theirs."""
    critic_key, actor_key = jax.random.split(key)

    return {
        "actor": lambda actor: actor_loss(
            actor, state.params["critic"], state, batch.observations, actor_key, settings
        )[0],
        "critic": lambda critic: critic_loss(critic, state, batch, critic_key, settings),
    }


def _sample(
    actor: Tree, patterns: Tree, observations: jax.Array, key: jax.Array, settings: SACSetup
) -> tuple[jax.Array, jax.Array]:
    """Actions (batch, act), reparametrised, and their log-probabilities (batch,)."""
    outputs = mlp(actor, observations, activation=settings.network.activation, pattern=patterns.get("actor"))
    mean, log_std = jnp.split(outputs, 2, axis=-1)
    log_std = jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)
    noise = standard_normal(key, mean.shape)
    unsquashed = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * jnp.square(noise) - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    actions, epsilon = jnp.tanh(unsquashed), settings.hyperparameters.log_prob_epsilon
    if epsilon > 0.0:
        squash = jnp.log(1.0 - jnp.square(actions) + epsilon)
    else:  # log(1 - tanh(u)^2), in a form that doesn't underflow for large |u|
        squash = 2.0 * (jnp.log(2.0) - unsquashed - jax.nn.softplus(-2.0 * unsquashed))
    return actions, jnp.sum(gaussian - squash, axis=-1)


def _optimizers(settings: SACSetup) -> dict[str, Adam]:
    sac = settings.hyperparameters
    return {
        "actor": Adam(sac.actor_learning_rate),
        "critic": Adam(sac.critic_learning_rate),
        "temperature": Adam(sac.temperature_learning_rate),
    }


SAC = Algorithm(
    SAC_DESCRIPTION,
    init_params,
    init,
    rewind,
    map_weights,
    explore,
    update,
    losses,
    layer_inputs,
    exploit=exploit,
    elementwise=True,
)
