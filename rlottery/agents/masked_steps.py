"""Gradient steps of an optimiser that leave pruned weights and their moments at zero."""

from collections.abc import Callable
from typing import Any

import optax

from rlottery.agents.base import apply_masks
from rlottery.agents.networks import Tree


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
