"""Soft Actor-Critic (Haarnoja et al. 2018b, arXiv:1812.05905) as pure functions.

A tanh-Gaussian actor, twin critics, slowly moving target critics, and a temperature learned towards a target entropy.
One update does, in this order: critics, actor (against the updated critics), temperature, targets.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlottery.agents.base import Algorithm, Spec, Tree, apply_masks
from rlottery.agents.networks import init_mlp, mlp, mlp_layer_inputs
from rlottery.config import Config, NetworkSettings, SACSettings, Task
from rlottery.storage.transitions import Transitions

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class Settings(NamedTuple):
    """What SAC reads of the config; hashable, so that it can be static under `jax.jit`."""

    sac: SACSettings
    network: NetworkSettings


class SACState(NamedTuple):
    """Everything that one agent is.

    Attributes:
        params: ``{"actor": mlp, "critic": {"q1": mlp, "q2": mlp}}``.
        target_critic: as ``params["critic"]``.
        log_temperature: scalar.
        optimizer: Adam's state for actor, critic and temperature.
        masks: kernels' masks by group, or {} for a dense agent.
        key: the key that the next update splits its noise from.
        patterns: of compact networks, laid out as `params`; {} otherwise.
    """

    params: Tree
    target_critic: Tree
    log_temperature: jax.Array
    optimizer: dict[str, optax.OptState]
    masks: Tree
    key: jax.Array
    patterns: Tree


def init_params(key: jax.Array, spec: Spec, settings: Settings) -> Tree:
    """Fresh weights, ``{"actor": ..., "critic": {"q1": ..., "q2": ...}}``; they follow from `key` alone."""
    actor_key, q1_key, q2_key = jax.random.split(key, 3)
    actor_sizes = (spec.observation_size, *settings.network.actor, 2 * spec.action_size)
    critic_sizes = (spec.observation_size + spec.action_size, *settings.network.critic, 1)
    return {
        "actor": init_mlp(actor_key, actor_sizes),
        "critic": {"q1": init_mlp(q1_key, critic_sizes), "q2": init_mlp(q2_key, critic_sizes)},
    }


def init(params: Tree, key: jax.Array, settings: Settings) -> SACState:
    """A dense agent at the start of its training: targets equal to the critics, a fresh optimiser.

    Args:
        params: fresh weights, or the ones that a ticket is rewound to.
        key: all noise of the updates follows from it.
    """
    log_temperature = jnp.log(jnp.float32(settings.sac.initial_temperature))
    optimizers = _optimizers(settings)
    return SACState(
        params=params,
        target_critic=jax.tree.map(jnp.copy, params["critic"]),
        log_temperature=log_temperature,
        optimizer={
            "actor": optimizers["actor"].init(params["actor"]),
            "critic": optimizers["critic"].init(params["critic"]),
            "temperature": optimizers["temperature"].init(log_temperature),
        },
        masks={},
        key=key,
        patterns={},
    )


def rewind(saved: SACState, key: jax.Array, settings: Settings) -> SACState:
    """What `saved` has learnt (weights, targets, temperature), dense, with a fresh optimiser and `key`."""
    dense = init(saved.params, key, settings)
    return dense._replace(target_critic=saved.target_critic, log_temperature=saved.log_temperature)


def map_weights(change: Callable[[str, Any], Any], state: SACState) -> SACState:
    """`state` with ``change(group, tree)`` for weights, target critics and Adam's moments."""

    def of_optimizer(group: str) -> optax.OptState:
        adam, *rest = state.optimizer[group]
        return (adam._replace(mu=change(group, adam.mu), nu=change(group, adam.nu)), *rest)

    return state._replace(
        params={group: change(group, tree) for group, tree in state.params.items()},
        target_critic=change("critic", state.target_critic),
        optimizer=state.optimizer | {group: of_optimizer(group) for group in state.params},
    )


def act(outputs: Any, noise: Any) -> Any:
    """Actions (..., act) in [-1, 1] from the actor's outputs: drawn with `noise`, or the squashed mode without it."""
    xp: Any = np if isinstance(outputs, np.ndarray) else jnp
    mean, log_std = outputs[..., : outputs.shape[-1] // 2], outputs[..., outputs.shape[-1] // 2 :]
    if noise is None:
        return xp.tanh(mean)
    return xp.tanh(mean + xp.exp(xp.minimum(xp.maximum(log_std, LOG_STD_MIN), LOG_STD_MAX)) * noise)


def critic_loss(critic: Tree, state: SACState, batch: Transitions, key: jax.Array, settings: Settings) -> jax.Array:
    """Sum over the twins of the mean squared soft Bellman error (eqs. 5 and 6)."""
    patterns = state.patterns
    next_actions, next_log_probs = _sample(state.params["actor"], patterns, batch.next_observations, key)
    next_values = _smaller_q(state.target_critic, patterns, batch.next_observations, next_actions)
    next_values -= jnp.exp(state.log_temperature) * next_log_probs
    sac = settings.sac
    targets = sac.reward_scale * batch.rewards + sac.discount * (1.0 - batch.terminations) * next_values
    targets = jax.lax.stop_gradient(targets)
    errors = (q - targets for q in q_values(critic, patterns, batch.observations, batch.actions))
    return sum((0.5 * jnp.mean(jnp.square(error)) for error in errors), start=jnp.float32(0.0))


def actor_loss(
    actor: Tree, critic: Tree, state: SACState, observations: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean of temperature x log-probability - the smaller Q (eq. 7), and the policy's entropy estimate."""
    actions, log_probs = _sample(actor, state.patterns, observations, key)
    values = _smaller_q(critic, state.patterns, observations, actions)
    return jnp.mean(jnp.exp(state.log_temperature) * log_probs - values), -jnp.mean(log_probs)


def update(state: SACState, batch: Transitions, settings: Settings) -> tuple[SACState, dict[str, jax.Array]]:
    """One gradient step on everything. Metrics are scalars: losses, temperature, entropy."""
    next_key, critic_key, actor_key = jax.random.split(state.key, 3)
    optimizers = _optimizers(settings)
    optimizer = dict(state.optimizer)

    critic_value, gradient = jax.value_and_grad(critic_loss)(state.params["critic"], state, batch, critic_key, settings)
    gradient = apply_masks(gradient, state.masks.get("critic", {}))
    step, optimizer["critic"] = optimizers["critic"].update(gradient, optimizer["critic"])
    critic = optax.apply_updates(state.params["critic"], step)

    (actor_value, entropy), gradient = jax.value_and_grad(actor_loss, has_aux=True)(
        state.params["actor"], critic, state, batch.observations, actor_key
    )
    gradient = apply_masks(gradient, state.masks.get("actor", {}))
    step, optimizer["actor"] = optimizers["actor"].update(gradient, optimizer["actor"])
    actor = optax.apply_updates(state.params["actor"], step)

    # The loss is log_temperature x (entropy - target): its gradient is the gap itself (as in SB3 and CleanRL).
    gap = entropy - _target_entropy(settings, batch.actions.shape[-1])
    step, optimizer["temperature"] = optimizers["temperature"].update(gap, optimizer["temperature"])
    log_temperature = optax.apply_updates(state.log_temperature, step)

    polyak = settings.sac.polyak
    target_critic = jax.tree.map(lambda t, w: t + polyak * (w - t), state.target_critic, critic)
    new_state = state._replace(
        params={"actor": actor, "critic": critic},
        target_critic=target_critic,
        log_temperature=log_temperature,
        optimizer=optimizer,
        key=next_key,
    )
    metrics = {
        "critic_loss": critic_value,
        "actor_loss": actor_value,
        "temperature": jnp.exp(log_temperature),
        "entropy": entropy,
    }
    return new_state, metrics


def losses(
    state: SACState, batch: Transitions, key: jax.Array, settings: Settings
) -> dict[str, Callable[[Tree], jax.Array]]:
    """The actor's loss as a function of its weights, and the critics' TD loss as one of theirs."""
    critic_key, actor_key = jax.random.split(key)

    def of_actor(actor: Tree) -> jax.Array:
        return actor_loss(actor, state.params["critic"], state, batch.observations, actor_key)[0]

    def of_critic(critic: Tree) -> jax.Array:
        return critic_loss(critic, state, batch, critic_key, settings)

    return {"actor": of_actor, "critic": of_critic}


def layer_inputs(state: SACState, batch: Transitions) -> dict[str, dict[str, jax.Array]]:
    """What enters each kernel, (batch, in): observations into the actor, observations and actions into the critics."""
    pairs = jnp.concatenate([batch.observations, batch.actions], axis=-1)
    return {
        "actor": mlp_layer_inputs(state.params["actor"], batch.observations),
        "critic": {
            f"{name}.{layer}": inputs
            for name, q in state.params["critic"].items()
            for layer, inputs in mlp_layer_inputs(q, pairs).items()
        },
    }


def q_values(critic: Tree, patterns: Tree, observations: jax.Array, actions: jax.Array) -> list[jax.Array]:
    """Q of each of the twins: (batch,)."""
    of_critic = patterns.get("critic", {})
    return [mlp(q, observations, actions, pattern=of_critic.get(name))[..., 0] for name, q in critic.items()]


def _smaller_q(critic: Tree, patterns: Tree, observations: jax.Array, actions: jax.Array) -> jax.Array:
    return jnp.minimum(*q_values(critic, patterns, observations, actions))


def _sample(actor: Tree, patterns: Tree, observations: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reparametrised actions (batch, act) and their log-probabilities (batch,)."""
    mean, log_std = jnp.split(mlp(actor, observations, pattern=patterns.get("actor")), 2, axis=-1)
    log_std = jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)
    noise = jax.random.normal(key, mean.shape)
    unsquashed = mean + jnp.exp(log_std) * noise
    gaussian = -0.5 * jnp.square(noise) - log_std - 0.5 * jnp.log(2.0 * jnp.pi)
    # log(1 - tanh(u)^2), in the form that doesn't underflow for large |u|.
    squash = 2.0 * (jnp.log(2.0) - unsquashed - jax.nn.softplus(-2.0 * unsquashed))
    return jnp.tanh(unsquashed), jnp.sum(gaussian - squash, axis=-1)


def _target_entropy(settings: Settings, action_size: int) -> float:
    target = settings.sac.target_entropy
    return -float(action_size) if target == "auto" else float(target)


def _optimizers(settings: Settings) -> dict[str, optax.GradientTransformation]:
    sac = settings.sac
    return {
        "actor": optax.adam(sac.actor_learning_rate),
        "critic": optax.adam(sac.critic_learning_rate),
        "temperature": optax.adam(sac.temperature_learning_rate),
    }


def settings_for(config: Config, task: Task) -> Settings:
    """What SAC reads of the config, with the task's overrides."""
    return Settings(config.sac_for(task), config.network)


SAC = Algorithm(
    settings=settings_for,
    init_params=init_params,
    init=init,
    map_weights=map_weights,
    act=act,
    update=update,
    rewind=rewind,
    losses=losses,
    layer_inputs=layer_inputs,
    loss_names={"actor": "SAC's actor loss", "critic": "soft Bellman error of both twins"},
)
