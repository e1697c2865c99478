"""Gradient steps of an optimiser that leave pruned weights and their moments at zero."""

from collections.abc import Callable, Iterable, Mapping
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


def map_moments(
    change: Callable[[str, Any], Any], optimizer: Mapping[str, optax.OptState], groups: Iterable[str]
) -> dict[str, optax.OptState]:
    """States of `optax.adam` by name, with both moments of these groups replaced by ``change(group, moment)``."""
    changed = {}
    for group in groups:
        adam, *rest = optimizer[group]
        changed[group] = (adam._replace(mu=change(group, adam.mu), nu=change(group, adam.nu)), *rest)
    return {**optimizer, **changed}
