"""Twin delayed deep deterministic policy gradients (TD3, Fujimoto et al. 2018, arXiv:1802.09477) as pure functions.

A deterministic actor, twin critics, and slowly moving targets of all three. An update changes the critics. Every
`policy_delay`-th update then changes the actor, using the updated critics, and moves the targets.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlottery.activations import Activation
from rlottery.agents.actor_critic import layer_inputs, q_values, smaller_q
from rlottery.agents.adam import Adam, map_moments
from rlottery.agents.algorithms import TD3_DESCRIPTION, TD3Setup
from rlottery.agents.base import Algorithm
from rlottery.agents.networks import Tree, fresh_weights, mlp
from rlottery.storage.transitions import Transitions


class TD3State(NamedTuple):
    """The complete state of one agent.

    Attributes:
        params: ``{"actor": mlp, "critic": {"q1": mlp, "q2": mlp}}``.
        targets: like `params`.
        optimizer: Adam's state for actor and critic.
        updates: the number of updates since the optimiser was fresh; int32 scalar.
        actor_loss: of the last update that changed the actor; 0 before the first.
        masks: masks of the kernels by group, or {} for a dense agent.
        key: the key that the noise of the next update is split from.
        patterns: sparsity patterns of compact networks, nested like `params`; otherwise {}.
    """

    params: Tree
    targets: Tree
    optimizer: dict[str, optax.OptState]
    updates: jax.Array
    actor_loss: jax.Array
    masks: Tree
    key: jax.Array
    patterns: Tree


init_params = fresh_weights(TD3_DESCRIPTION)
"""Fresh weights, ``{"actor": ..., "critic": {"q1": ..., "q2": ...}}``, which depend on `key` alone."""


def init(params: Tree, key: jax.Array, settings: TD3Setup) -> TD3State:
    """A dense agent at the start of training: targets equal to the networks, a fresh optimiser."""
    optimizer = {group: adam.init(params[group]) for group, adam in _optimizers(settings).items()}
    targets = jax.tree.map(jnp.copy, params)
    return TD3State(params, targets, optimizer, jnp.int32(0), jnp.float32(0.0), masks={}, key=key, patterns={})


def rewind(saved: TD3State, key: jax.Array, settings: TD3Setup) -> TD3State:
    """A dense agent with the weights and targets of `saved`, a fresh optimiser and `key`."""
    return init(saved.params, key, settings)._replace(targets=saved.targets)


def map_weights(change: Callable[[str, Any], Any], state: TD3State) -> TD3State:
    """`state` with weights, targets and Adam's moments replaced by ``change(group, tree)``."""
    return state._replace(
        params={group: change(group, tree) for group, tree in state.params.items()},
        targets={group: change(group, tree) for group, tree in state.targets.items()},
        optimizer=map_moments(change, state.optimizer, state.params),
    )


def explore(outputs: np.ndarray, noise: np.ndarray, step: int, settings: TD3Setup) -> np.ndarray:
    """Actions (..., act) in [-1, 1] with Gaussian noise, from the actor's outputs and standard normal noise."""
    actions: np.ndarray = np.clip(np.tanh(outputs) + settings.hyperparameters.exploration_noise * noise, -1.0, 1.0)
    return actions


def exploit(outputs: np.ndarray) -> np.ndarray:
    """Deterministic actions (..., act) in [-1, 1]."""
    actions: np.ndarray = np.tanh(outputs)
    return actions


def critic_loss(critic: Tree, state: TD3State, batch: Transitions, key: jax.Array, settings: TD3Setup) -> jax.Array:
    """Sum over both critics of the mean squared Bellman error, at smoothed target actions (algorithm 1, eq. 14)."""
    td3, patterns, activation = settings.hyperparameters, state.patterns, settings.network.activation
    # Not `standard_normal`: XLA folds `target_noise` and a factor of `jax.random.normal` into one number, and earlier
    # results depend on how that rounds.
    noise = td3.target_noise * jax.random.normal(key, batch.actions.shape)
    noise = jnp.clip(noise, -td3.target_noise_clip, td3.target_noise_clip)
    smoothed = _act(state.targets["actor"], patterns, activation, batch.next_observations) + noise
    next_actions = jnp.clip(smoothed, -1.0, 1.0)
    next_values = smaller_q(state.targets["critic"], patterns, activation, batch.next_observations, next_actions)
    targets = td3.reward_scale * batch.rewards + td3.discount * (1.0 - batch.terminations) * next_values
    targets = jax.lax.stop_gradient(targets)
    errors = (q - targets for q in q_values(critic, patterns, activation, batch.observations, batch.actions))
    return sum((jnp.mean(jnp.square(error)) for error in errors), start=jnp.float32(0.0))


def actor_loss(actor: Tree, critic: Tree, state: TD3State, observations: jax.Array, settings: TD3Setup) -> jax.Array:
    """Minus the first critic's mean value of the actor's actions."""
    activation = settings.network.activation
    actions = _act(actor, state.patterns, activation, observations)
    (values,) = q_values({"q1": critic["q1"]}, state.patterns, activation, observations, actions)
    return -jnp.mean(values)


def update(state: TD3State, batch: Transitions, settings: TD3Setup) -> tuple[TD3State, dict[str, jax.Array]]:
    """One gradient step on the critics; every `policy_delay`-th time also on the actor, and the targets move.

    Metrics: both losses. The actor's is that of its last step.
    """
    td3, optimizers, masks = settings.hyperparameters, _optimizers(settings), state.masks
    next_key, noise_key = jax.random.split(state.key)
    critic_value, gradient = jax.value_and_grad(critic_loss)(state.params["critic"], state, batch, noise_key, settings)
    critic, of_critic = optimizers["critic"].step(
        gradient, state.optimizer["critic"], state.params["critic"], masks.get("critic", {})
    )

    def with_policy(actor: Tree, of_actor: optax.OptState, targets: Tree, _: jax.Array) -> tuple[Any, ...]:
        value, gradient = jax.value_and_grad(actor_loss)(actor, critic, state, batch.observations, settings)
        actor, of_actor = optimizers["actor"].step(gradient, of_actor, actor, masks.get("actor", {}))
        online = {"actor": actor, "critic": critic}
        return actor, of_actor, jax.tree.map(lambda t, w: t + td3.polyak * (w - t), targets, online), value

    updates = state.updates + 1
    actor, of_actor, targets, actor_value = jax.lax.cond(
        updates % td3.policy_delay == 0,
        with_policy,
        lambda *unchanged: unchanged,
        *(state.params["actor"], state.optimizer["actor"], state.targets, state.actor_loss),
    )
    new_state = state._replace(
        params={"actor": actor, "critic": critic},
        targets=targets,
        optimizer={"actor": of_actor, "critic": of_critic},
        updates=updates,
        actor_loss=actor_value,
        key=next_key,
    )
    return new_state, {"critic_loss": critic_value, "actor_loss": actor_value}


def losses(
    state: TD3State, batch: Transitions, key: jax.Array, settings: TD3Setup
) -> dict[str, Callable[[Tree], jax.Array]]:
    """The actor's loss as a function of its weights, and the critics' loss as a function of theirs."""
    return {
        "actor": lambda actor: actor_loss(actor, state.params["critic"], state, batch.observations, settings),
        "critic": lambda critic: critic_loss(critic, state, batch, key, settings),
    }


def _act(actor: Tree, patterns: Tree, activation: Activation, observations: jax.Array) -> jax.Array:
    """Deterministic actions (batch, act) in [-1, 1]."""
    return jnp.tanh(mlp(actor, observations, activation=activation, pattern=patterns.get("actor")))


def _optimizers(settings: TD3Setup) -> dict[str, Adam]:
    td3 = settings.hyperparameters
    return {"actor": Adam(td3.actor_learning_rate), "critic": Adam(td3.critic_learning_rate)}


TD3 = Algorithm(
    TD3_DESCRIPTION,
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
