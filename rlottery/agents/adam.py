"""Adam (Kingma and Ba 2015, arXiv:1412.6980): as in optax, and for compact networks by the kernels, in one pass."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from rlottery.agents.base import apply_masks
from rlottery.agents.kernels.library import PORTABLE, loaded_instruction_set
from rlottery.agents.kernels.native import Compact, call

_DECAYS = 0.9, 0.999
_EPSILON = 1e-8


@dataclass(frozen=True)
class Adam:
    """The optimiser of one group, with optax's defaults. Its states are those of `optax.adam`."""

    learning_rate: float

    def init(self, weights: Any) -> optax.OptState:
        """The state before the first step: no steps, and moments of zero."""
        return self._in_optax.init(weights)

    def step(self, gradient: Any, state: optax.OptState, weights: Any, masks: Any) -> tuple[Any, optax.OptState]:
        """The weights and the state after one step. Pruned weights and their moments stay zero.

        The kernels do it for compact networks without masks, with AVX2 or AVX-512, and give the bits of optax's
        program. Otherwise optax does it: XLA fuses masks with the step, and then rounds in another way.

        Args:
            masks: of the group's kernels; {} if it is dense, or has only its survivors.
        """
        is_compact = all(isinstance(leaf, Compact) for leaf in _networks(weights))
        if not is_compact or jax.tree.leaves(masks) or loaded_instruction_set() == PORTABLE:
            step, state = self._in_optax.update(apply_masks(gradient, masks) if masks else gradient, state)
            return optax.apply_updates(weights, step), state
        moments, *rest = state
        count = optax.safe_increment(moments.count)
        shares = jnp.stack([1.0 - decay**count for decay in _DECAYS])
        # XLA multiplies with the reciprocals of the shares, unless several networks are divided by the same ones.
        step_of = partial(self._by_kernels, shares, len(_networks(weights)) > 1)
        stepped = map(step_of, *map(_networks, (gradient, weights, moments.mu, moments.nu)))
        structure = jax.tree.structure(weights, is_leaf=_is_compact)
        changed, mu, nu = (jax.tree.unflatten(structure, networks) for networks in zip(*stepped, strict=True))
        return changed, (moments._replace(count=count, mu=mu, nu=nu), *rest)

    def _by_kernels(self, shares: jax.Array, divides: bool, gradient: Compact, *changed: Compact) -> list[Compact]:
        numbers = *_DECAYS, *(1.0 - decay for decay in _DECAYS), _EPSILON, -self.learning_rate
        adam = call("rlottery_adam", *[(gradient.layout.size,)] * 3, in_place={2: 0, 3: 1, 4: 2})
        vectors = (network.vector for network in changed)
        found = adam(gradient.vector, shares, *vectors, numbers=np.array(numbers, np.float32), divides=divides)
        return [Compact(vector, gradient.layout) for vector in found]

    @property
    def _in_optax(self) -> optax.GradientTransformation:
        return optax.adam(self.learning_rate, *_DECAYS, _EPSILON)


def map_moments(
    change: Callable[[str, Any], Any], optimizer: Mapping[str, optax.OptState], groups: Iterable[str]
) -> dict[str, optax.OptState]:
    """States of `optax.adam` by name, with both moments of these groups replaced by ``change(group, moment)``."""
    changed = {}
    for group in groups:
        adam, *rest = optimizer[group]
        changed[group] = (adam._replace(mu=change(group, adam.mu), nu=change(group, adam.nu)), *rest)
    return {**optimizer, **changed}


def _networks(tree: Any) -> list[Any]:
    return jax.tree.leaves(tree, is_leaf=_is_compact)


def _is_compact(value: Any) -> bool:
    return isinstance(value, Compact)
