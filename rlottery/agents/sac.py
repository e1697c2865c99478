"""Soft Actor-Critic (Haarnoja et al. 2018b, arXiv:1812.05905) as pure functions.

A tanh-Gaussian actor, twin critics, slowly moving target critics, and a temperature learned towards a target entropy.
One update does, in this order: critics, actor (against the updated critics), temperature, targets.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from rlottery.agents.base import Algorithm, Batch, Spec, Tree, apply_masks, zeros_hold
from rlottery.agents.networks import init_mlp, mlp, mlp_layer_inputs
from rlottery.config import SAC as SACConfig
from rlottery.config import Config, Network, Task

LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0


class Settings(NamedTuple):
    """What SAC reads of the config; hashable, so that it can be static under `jax.jit`."""

    sac: SACConfig
    network: Network


class SACState(NamedTuple):
    """Everything that one agent is.

    Attributes:
        params: ``{"actor": mlp, "critic": {"q1": mlp, "q2": mlp}}``.
        target_critic: as ``params["critic"]``.
        log_temperature: scalar.
        optimizer: Adam's state for actor, critic and temperature.
        masks: kernels' masks by group, or {} for a dense agent.
        key: the key that the next update splits its noise from.
    """

    params: Tree
    target_critic: Tree
    log_temperature: jax.Array
    optimizer: dict[str, optax.OptState]
    masks: Tree
    key: jax.Array


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
    )


def rewind(saved: SACState, key: jax.Array, settings: Settings) -> SACState:
    """What `saved` has learnt (weights, targets, temperature), dense, with a fresh optimiser and `key`."""
    dense = init(saved.params, key, settings)
    return dense._replace(target_critic=saved.target_critic, log_temperature=saved.log_temperature)


def with_masks(state: SACState, masks: Tree) -> SACState:
    """`state` as a ticket: pruned weights are zero in both networks and in Adam's moments."""

    def mask_moments(optimizer_state: optax.OptState, group_masks: Tree) -> optax.OptState:
        adam = optimizer_state[0]
        moments = {"mu": apply_masks(adam.mu, group_masks), "nu": apply_masks(adam.nu, group_masks)}
        return (adam._replace(**moments), *optimizer_state[1:])

    return state._replace(
        params=apply_masks(state.params, masks),
        target_critic=apply_masks(state.target_critic, masks["critic"]),
        optimizer=state.optimizer
        | {group: mask_moments(state.optimizer[group], masks[group]) for group in ("actor", "critic")},
        masks=masks,
    )


def masks_hold(state: SACState) -> bool:
    """Whether every pruned weight is exactly zero: online, in the targets and in Adam's moments."""
    if not state.masks:
        return True
    moments = [
        (getattr(state.optimizer[group][0], moment), state.masks[group])
        for group in ("actor", "critic")
        for moment in ("mu", "nu")
    ]
    trees = [(state.params, state.masks), (state.target_critic, state.masks["critic"]), *moments]
    return all(zeros_hold(tree, masks) for tree, masks in trees)


def act(actor: Tree, observations: jax.Array, key: jax.Array) -> jax.Array:
    """Actions drawn from the policy, (..., act) in [-1, 1]."""
    mean, log_std = _distribution(actor, observations)
    return jnp.tanh(mean + jnp.exp(log_std) * jax.random.normal(key, mean.shape))


def act_deterministic(actor: Tree, observations: jax.Array) -> jax.Array:
    """The policy's mode before squashing, squashed: (..., act) in [-1, 1]."""
    return jnp.tanh(_distribution(actor, observations)[0])


def critic_loss(critic: Tree, state: SACState, batch: Batch, key: jax.Array, settings: Settings) -> jax.Array:
    """Sum over the twins of the mean squared soft Bellman error (eqs. 5 and 6)."""
    next_actions, next_log_probs = _sample(state.params["actor"], batch.next_observations, key)
    next_values = _smaller_q(state.target_critic, batch.next_observations, next_actions)
    next_values -= jnp.exp(state.log_temperature) * next_log_probs
    sac = settings.sac
    targets = sac.reward_scale * batch.rewards + sac.discount * (1.0 - batch.terminations) * next_values
    targets = jax.lax.stop_gradient(targets)
    errors = (q_values(q, batch.observations, batch.actions) - targets for q in critic.values())
    return sum((0.5 * jnp.mean(jnp.square(error)) for error in errors), start=jnp.float32(0.0))


def actor_loss(
    actor: Tree, critic: Tree, log_temperature: jax.Array, observations: jax.Array, key: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean of temperature x log-probability - the smaller Q (eq. 7), and the policy's entropy estimate."""
    actions, log_probs = _sample(actor, observations, key)
    loss = jnp.mean(jnp.exp(log_temperature) * log_probs - _smaller_q(critic, observations, actions))
    return loss, -jnp.mean(log_probs)


def update(state: SACState, batch: Batch, settings: Settings) -> tuple[SACState, dict[str, jax.Array]]:
    """One gradient step on everything. Metrics are scalars: losses, temperature, entropy."""
    next_key, critic_key, actor_key = jax.random.split(state.key, 3)
    optimizers = _optimizers(settings)
    optimizer = dict(state.optimizer)

    critic_value, gradient = jax.value_and_grad(critic_loss)(state.params["critic"], state, batch, critic_key, settings)
    gradient = apply_masks(gradient, state.masks.get("critic", {}))
    step, optimizer["critic"] = optimizers["critic"].update(gradient, optimizer["critic"])
    critic = optax.apply_updates(state.params["critic"], step)

    (actor_value, entropy), gradient = jax.value_and_grad(actor_loss, has_aux=True)(
        state.params["actor"], critic, state.log_temperature, batch.observations, actor_key
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


def losses(state: SACState, batch: Batch, key: jax.Array, settings: Settings) -> dict[str, Callable[[Tree], jax.Array]]:
    """The actor's loss as a function of its weights, and the critics' TD loss as one of theirs."""
    critic_key, actor_key = jax.random.split(key)

    def of_actor(actor: Tree) -> jax.Array:
        critic, log_temperature = state.params["critic"], state.log_temperature
        return actor_loss(actor, critic, log_temperature, batch.observations, actor_key)[0]

    def of_critic(critic: Tree) -> jax.Array:
        return critic_loss(critic, state, batch, critic_key, settings)

    return {"actor": of_actor, "critic": of_critic}


def layer_inputs(state: SACState, batch: Batch) -> dict[str, dict[str, jax.Array]]:
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


def q_values(q: Tree, observations: jax.Array, actions: jax.Array) -> jax.Array:
    """Q of one critic: (batch,)."""
    return mlp(q, jnp.concatenate([observations, actions], axis=-1))[..., 0]


def _smaller_q(critic: Tree, observations: jax.Array, actions: jax.Array) -> jax.Array:
    return jnp.minimum(*(q_values(q, observations, actions) for q in critic.values()))


def _distribution(actor: Tree, observations: jax.Array) -> tuple[jax.Array, jax.Array]:
    mean, log_std = jnp.split(mlp(actor, observations), 2, axis=-1)
    return mean, jnp.clip(log_std, LOG_STD_MIN, LOG_STD_MAX)


def _sample(actor: Tree, observations: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Reparametrised actions (batch, act) and their log-probabilities (batch,)."""
    mean, log_std = _distribution(actor, observations)
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
    with_masks=with_masks,
    act=act,
    act_deterministic=act_deterministic,
    update=update,
    rewind=rewind,
    losses=losses,
    layer_inputs=layer_inputs,
    masks_hold=masks_hold,
    loss_names={"actor": "SAC's actor loss", "critic": "soft Bellman error of both twins"},
)
