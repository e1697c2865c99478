"""Gradient saliency from saved replay: the data that `taylor` and `gradient` scores are made of."""

from functools import partial
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from rlottery import replay
from rlottery.agents import Algorithm, Batch, kernels


def mean_abs_gradients(
    algorithm: Algorithm,
    settings: Any,
    state: Any,
    stored: replay.Transitions,
    key: jax.Array,
    generator: np.random.Generator,
    *,
    batches: int,
    batch_size: int,
) -> dict[str, dict[str, np.ndarray]]:
    """Mean absolute gradient of every kernel, streamed over `batches` batches of replay at constant memory.

    E|g|, not |E g|: signs that change from batch to batch don't cancel. The actor is scored by its own loss and the
    critics by their TD loss, at `state`. Every batch has fresh noise.

    Args:
        stored: the replay to draw from, uniformly with replacement; it may be memory-mapped.
        key: the noise's key; batch i uses the i-th key folded from it.
        generator: draws the batches.

    Returns:
        ``{"actor": {path: (inputs, outputs) float32}, "critic": ...}``.
    """

    @partial(jax.jit, donate_argnums=0)
    def accumulate(total: Any, state: Any, batch: Batch, index: jax.Array) -> Any:
        gradient = algorithm.gradients(state, batch, jax.random.fold_in(key, index), settings)
        found = {group: kernels(tree) for group, tree in gradient.items()}
        return jax.tree.map(lambda t, g: t + jnp.abs(g) / batches, total, found)

    total = {group: jax.tree.map(jnp.zeros_like, kernels(tree)) for group, tree in state.params.items()}
    for index in range(batches):
        batch = Batch(*cast(Any, replay.sample(stored, generator, batch_size)))
        total = accumulate(total, state, batch, np.int32(index))
    return {group: {path: np.asarray(mean) for path, mean in tree.items()} for group, tree in total.items()}
