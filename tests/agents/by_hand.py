"""Gradients of networks and Adam's steps in NumPy, at double precision, to hold updates against."""

from typing import Any

import jax
import numpy as np

from rlottery.agents.networks import Tree
from tests.agents.small import doubled


class ByHand:
    """The networks of an agent, and what Adam knows of them.

    Attributes:
        params: of double precision.
        moments: by group, Adam's first and second.
        steps: by group, how many were taken.
    """

    def __init__(self, state: Any):
        self.params = doubled(state.params)
        self.masks = jax.tree.map(np.asarray, state.masks)
        self.moments = {group: [jax.tree.map(np.zeros_like, tree)] * 2 for group, tree in self.params.items()}
        self.steps = dict.fromkeys(self.params, 0)

    def adam(self, group: str, gradient: Tree, rate: float) -> None:
        """Kingma & Ba 2015, algorithm 1, on the gradient of the weights that are not pruned."""
        masked = self.masked(group, gradient)
        self.steps[group] += 1
        first, second = self.moments[group]
        first = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, first, masked)
        second = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g**2, second, masked)
        self.moments[group] = [first, second]
        share, share_of_squares = 1 - 0.9 ** self.steps[group], 1 - 0.999 ** self.steps[group]
        self.params[group] = jax.tree.map(
            lambda w, m, v: w - rate * (m / share) / (np.sqrt(v / share_of_squares) + 1e-8),
            *(self.params[group], first, second),
        )

    def masked(self, group: str, gradient: Tree) -> Tree:
        """The gradient, with zeros for pruned weights."""
        masked: Tree = jax.tree_util.tree_map_with_path(lambda path, g: g * self.mask(group, path), gradient)
        return masked

    def mask(self, group: str, path: Any) -> Any:
        node = self.masks.get(group, {})
        for entry in path:
            node = node.get(entry.key, {}) if isinstance(node, dict) else node
        return 1.0 if isinstance(node, dict) else node


def close(one: Any, other: Any, atol: float = 1e-5) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.allclose(a, b, rtol=1e-5, atol=atol) for a, b in pairs)


def same(one: Any, other: Any) -> bool:
    pairs = zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)
