"""What algorithms with an actor and twin critics share: values, gradient steps that keep masks, and layer inputs."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax

from rlottery.agents.base import apply_masks
from rlottery.agents.networks import Tree, mlp, mlp_layer_inputs
from rlottery.storage.transitions import Transitions


def q_values(critic: Tree, patterns: Tree, observations: jax.Array, actions: jax.Array) -> list[jax.Array]:
    """Q-values of each critic: (batch,)."""
    of_critic = patterns.get("critic", {})
    return [mlp(q, observations, actions, pattern=of_critic.get(name))[..., 0] for name, q in critic.items()]


def smaller_q(critic: Tree, patterns: Tree, observations: jax.Array, actions: jax.Array) -> jax.Array:
    """The smaller of the two Q-values of each pair: (batch,)."""
    return jnp.minimum(*q_values(critic, patterns, observations, actions))


def masked_step(
    optimizer: optax.GradientTransformation, gradient: Tree, state: optax.OptState, weights: Tree, masks: Tree
) -> tuple[Tree, optax.OptState]:
    """A group's weights and its optimiser's state after one step. Pruned weights and their moments stay zero.

    Args:
        masks: of the group's kernels; {} if it is dense.
    """
    step, state = optimizer.update(apply_masks(gradient, masks), state)
    updated: Any = optax.apply_updates(weights, step)
    return updated, state


def map_moments(change: Callable[[Any], Any], state: optax.OptState) -> optax.OptState:
    """The state of `optax.adam` with both moments replaced by ``change(moment)``."""
    adam, *rest = state
    return (adam._replace(mu=change(adam.mu), nu=change(adam.nu)), *rest)


def layer_inputs(state: Any, batch: Transitions) -> dict[str, dict[str, jax.Array]]:
    """The input of each kernel, (batch, in): the actor reads observations, the critics observations and actions."""
    pairs = jnp.concatenate([batch.observations, batch.actions], axis=-1)
    of_critics = {name: mlp_layer_inputs(q, pairs) for name, q in state.params["critic"].items()}
    return {
        "actor": mlp_layer_inputs(state.params["actor"], batch.observations),
        "critic": {f"{name}.{layer}": inputs for name, q in of_critics.items() for layer, inputs in q.items()},
    }
