"""Saliency statistics: what criteria read, computed from an agent and its replay in one pass."""

from collections.abc import Collection, Mapping
from functools import partial, reduce
from operator import getitem
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm, kernels
from rlottery.agents.description import Spec
from rlottery.agents.networks import Tree
from rlottery.pruning.criteria import ESTIMATES, INITIAL
from rlottery.pruning.synaptic_flow import synaptic_flow
from rlottery.storage.transitions import Transitions
from rlottery.training import replay_buffer as replay

Statistics: TypeAlias = dict[str, dict[str, dict[str, np.ndarray]]]
"""``{group: {name of the statistic: {layer path: array}}}``; shapes and units as in `rlottery.pruning.criteria`."""

_GRADIENTS = {"mean_abs_gradient", "mean_gradient"}


def gather_statistics(
    algorithm: Algorithm,
    settings: Any,
    state: Any,
    names: Collection[str],
    *,
    stored: Transitions | None = None,
    key: jax.Array | None = None,
    generator: np.random.Generator | None = None,
    uniform: np.random.Generator | None = None,
    batches: int = 0,
    batch_size: int = 0,
) -> Statistics:
    """The statistics called `names` (without the prefix ``initial_``) at the weights of `state`.

    Statistics that need data are accumulated in one pass over `batches` batches of replay, at constant memory. Every
    batch has fresh noise. Each group's gradients are those of its own loss (`Algorithm.losses`).

    Args:
        stored: the replay to sample from, uniformly with replacement; it may be memory-mapped. For an on-policy
            algorithm, transitions of rollouts, in order of time; they are prepared with `state` first.
        key: the key of the noise; batch i uses the i-th key folded from it.
        generator: samples the batches.
        uniform: draws `random`, group by group in the order of ``state.params``.

    Returns:
        float32 arrays; `synaptic_flow` and `random` are float64.

    Raises:
        ValueError: a statistic needs data, but `stored`, `key`, `generator` or the number of batches is missing; or
            `random` is asked for without `uniform`.
    """
    weights = {group: _as_numpy(kernels(tree)) for group, tree in state.params.items()}
    found: Statistics = {group: {"weights": layers} for group, layers in weights.items()}
    if from_data := tuple(sorted(ESTIMATES.keys() & set(names))):
        if stored is None or key is None or generator is None or batches < 1 or batch_size < 1:
            raise ValueError(f"{', '.join(from_data)} need replay, a key, a generator and batches.")
        total = _zeros(state, from_data)
        data = _learned_from(algorithm, settings, state, stored)
        for index in range(batches):
            batch = replay.sample(data, generator, batch_size)
            total = _accumulate(total, state, batch, key, np.int32(index), algorithm, settings, batches)
        for group, means in total.items():
            found[group] |= {name: _as_numpy(layers) for name, layers in means.items()}
            if "input_norm" in means:
                found[group]["input_norm"] = jax.tree.map(np.sqrt, found[group]["input_norm"])
    for group, layers in weights.items():
        if "synaptic_flow" in names:
            found[group]["synaptic_flow"] = synaptic_flow(layers)
        if "random" in names:
            if uniform is None:
                raise ValueError("random needs a generator.")
            found[group]["random"] = {path: uniform.random(kernel.shape) for path, kernel in layers.items()}
    return {group: {name: statistics[name] for name in names} for group, statistics in found.items()}


def _learned_from(algorithm: Algorithm, settings: Any, state: Any, stored: Transitions) -> Any:
    """What updates would learn from these transitions."""
    if algorithm.prepare is None:
        return stored
    rollout = Transitions(*map(np.asarray, stored))
    rows = jax.jit(algorithm.prepare, static_argnums=2)(state, rollout, settings, state)
    return algorithm.batch(np.asarray(rows), Spec(stored.observations.shape[1], stored.actions.shape[1]))


def as_initial(found: Statistics) -> Statistics:
    """Statistics at the initial weights, renamed to what criteria call them; `random` keeps its name."""
    return {
        group: {name if name == "random" else f"{INITIAL}{name}": layers for name, layers in statistics.items()}
        for group, statistics in found.items()
    }


@partial(jax.jit, donate_argnames="total", static_argnames=("algorithm", "settings", "batches"))
def _accumulate(
    total: dict[str, Any],
    state: Any,
    batch: Transitions,
    key: jax.Array,
    index: jax.Array,
    algorithm: Algorithm,
    settings: Any,
    batches: int,
) -> dict[str, Any]:
    """`total` with this batch's contribution added to each mean."""
    losses = algorithm.losses(state, batch, jax.random.fold_in(key, index), settings)
    inputs = algorithm.layer_inputs(state, batch, settings)
    found: dict[str, Any] = {}
    for group, means in total.items():
        weights, gradient, seen = state.params[group], jax.grad(losses[group]), {}
        if _GRADIENTS.intersection(means):
            seen["mean_gradient"] = kernels(gradient(weights))
            seen["mean_abs_gradient"] = jax.tree.map(jnp.abs, seen["mean_gradient"])
        if "hessian_gradient" in means:
            seen["hessian_gradient"] = kernels(_hessian_gradient(gradient, weights))
        if "mean_squared_gradient" in means:
            seen["mean_squared_gradient"] = _mean_squared_gradient(gradient, weights, inputs[group])
        if "input_norm" in means:
            seen["input_norm"] = {path: jnp.mean(jnp.square(x), axis=0) for path, x in inputs[group].items()}
        found[group] = {name: seen[name] for name in means}
    sums: dict[str, Any] = jax.tree.map(lambda mean, of_batch: mean + of_batch / batches, total, found)
    return sums


def _hessian_gradient(gradient: Any, weights: Tree) -> Tree:
    """H g, where g is the gradient of the kernels only: biases aren't pruned and stay fixed, as in GraSP's own code."""
    direction = jax.tree_util.tree_map_with_path(
        lambda path, slope: slope if path[-1].key == "kernel" else jnp.zeros_like(slope), gradient(weights)
    )
    along: Tree = jax.jvp(gradient, (weights,), (direction,))[1]
    return along


def _mean_squared_gradient(gradient: Any, weights: Tree, inputs: Mapping[str, jax.Array]) -> dict[str, jax.Array]:
    """Mean over a batch's transitions of the squared gradient of each transition's loss, at the cost of one gradient.

    A layer's gradient for one transition is the outer product of its input x and delta, the gradient with respect to
    the layer's output. Giving every transition its own copy of the biases makes their gradients the deltas, so the mean
    of the squares is (x^2)^T delta^2 / n. The loss is a mean, so each delta is divided by n.
    """
    size = len(next(iter(inputs.values())))
    own_biases = jax.tree_util.tree_map_with_path(
        lambda path, leaf: jnp.broadcast_to(leaf, (size, *leaf.shape)) if path[-1].key == "bias" else leaf, weights
    )
    by_output = gradient(own_biases)
    deltas = {path: size * reduce(getitem, path.split("."), by_output)["bias"] for path in inputs}
    return {path: jnp.square(x).T @ jnp.square(deltas[path]) / size for path, x in inputs.items()}


def _zeros(state: Any, names: Collection[str]) -> dict[str, Any]:
    def zeros(layers: dict[str, Any], name: str) -> dict[str, jax.Array]:
        return {path: jnp.zeros_like(w[:, 0] if name == "input_norm" else w) for path, w in layers.items()}

    return {group: {name: zeros(kernels(tree), name) for name in names} for group, tree in state.params.items()}


def _as_numpy(layers: Mapping[str, Any]) -> dict[str, np.ndarray]:
    return {path: np.asarray(layer) for path, layer in layers.items()}
