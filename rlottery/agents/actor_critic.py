"""What algorithms with an actor and twin critics share: values and layer inputs."""

from typing import Any

import jax
import jax.numpy as jnp

from rlottery.activations import Activation
from rlottery.agents.networks import Tree, mlp, mlp_layer_inputs
from rlottery.storage.transitions import Transitions


def q_values(
    critic: Tree, patterns: Tree, activation: Activation, observations: jax.Array, actions: jax.Array
) -> list[jax.Array]:
    """Q-values of each critic: (batch,)."""
    of_critic = patterns.get("critic", {})
    return [
        mlp(q, observations, actions, activation=activation, pattern=of_critic.get(name))[..., 0]
        for name, q in critic.items()
    ]


def smaller_q(
    critic: Tree, patterns: Tree, activation: Activation, observations: jax.Array, actions: jax.Array
) -> jax.Array:
    """The smaller of the two Q-values of each pair: (batch,)."""
    return jnp.minimum(*q_values(critic, patterns, activation, observations, actions))


def layer_inputs(state: Any, batch: Transitions, settings: Any) -> dict[str, dict[str, jax.Array]]:
    """The input of each kernel, (batch, in): the actor reads observations, the critics observations and actions."""
    activation = settings.network.activation
    pairs = jnp.concatenate([batch.observations, batch.actions], axis=-1)
    of_critics = {name: mlp_layer_inputs(q, pairs, activation) for name, q in state.params["critic"].items()}
    return {
        "actor": mlp_layer_inputs(state.params["actor"], batch.observations, activation),
        "critic": {f"{name}.{layer}": inputs for name, q in of_critics.items() for layer, inputs in q.items()},
    }
