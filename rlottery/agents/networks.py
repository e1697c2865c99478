"""Multilayer perceptrons as nested dicts: ``{"layer_0": {"kernel": (in, out), "bias": (out,)}, ...}``.

During training a network may also be `Compact`: a single vector, for the kernels of `rlottery.agents.kernels`.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.activations import Activation, activated
from rlottery.agents.description import Description, Network, Spec
from rlottery.agents.kernels.native import Compact, compact_mlp

Tree = dict[str, Any]
"""Nested dicts of arrays."""

_IN_JAX: dict[Activation, Callable[[jax.Array], jax.Array]] = {"relu": jax.nn.relu, "tanh": jnp.tanh}


def fresh_weights(description: Description) -> Callable[..., Tree]:
    """(key, spec, settings) -> fresh weights of the networks that `description` has: `Algorithm.init_params`."""

    def init_params(key: jax.Array, spec: Spec, settings: Any) -> Tree:
        return init_networks(key, description.networks(spec, settings))

    return init_params


def init_networks(key: jax.Array, networks: Sequence[Network]) -> Tree:
    """Fresh weights of all networks, nested by their paths: ``{"actor": mlp, "critic": {"q1": mlp, "q2": mlp}}``."""
    params: Tree = {}
    for network, own_key in zip(networks, jax.random.split(key, len(networks)), strict=True):
        *parents, name = network.path.split(".")
        node = params
        for parent in parents:
            node = node.setdefault(parent, {})
        node[name] = init_mlp(own_key, network.sizes)
    return params


def init_orthogonal(key: jax.Array, networks: Sequence[Network], gains: Mapping[str, float]) -> Tree:
    """Fresh weights of networks whose paths are their groups, as is usual in on-policy learning.

    Kernels are orthogonal (Saxe et al. 2013, arXiv:1312.6120) and biases zero.

    Args:
        gains: path -> gain of the output layer. Hidden layers have the square root of 2.
    """
    orthogonal, params = jax.nn.initializers.orthogonal, {}
    for network, own_key in zip(networks, jax.random.split(key, len(networks)), strict=True):
        shapes = list(pairwise(network.sizes))
        of_layers = [2.0**0.5] * (len(shapes) - 1) + [gains[network.path]]
        keys = jax.random.split(own_key, len(shapes))
        params[network.path] = {
            f"layer_{index}": {"kernel": orthogonal(gain)(layer_key, shape), "bias": jnp.zeros(shape[1])}
            for index, (gain, layer_key, shape) in enumerate(zip(of_layers, keys, shapes, strict=True))
        }
    return params


def init_mlp(key: jax.Array, sizes: Iterable[int]) -> Tree:
    """Weights and biases drawn uniformly within 1 / sqrt(fan-in), as in PyTorch's linear layers.

    Stable-Baselines3 and CleanRL initialise SAC the same way.
    """
    shapes = list(pairwise(sizes))
    # One draw for all layers: each shape drawn separately would be another program to compile.
    draws = jax.random.uniform(key, (sum((fan_in + 1) * fan_out for fan_in, fan_out in shapes),), minval=-1.0)
    params, start = {}, 0
    for index, (fan_in, fan_out) in enumerate(shapes):
        layer = draws[start : start + (fan_in + 1) * fan_out].reshape(fan_in + 1, fan_out) * fan_in**-0.5
        params[f"layer_{index}"] = {"kernel": layer[:-1], "bias": layer[-1]}
        start += (fan_in + 1) * fan_out
    return params


def mlp(params: Tree | Compact, *inputs: jax.Array, activation: Activation, pattern: Any = None) -> jax.Array:
    """Hidden layers with this activation function and a linear output: (..., in) -> (..., out).

    Args:
        inputs: one array, or two that are concatenated, (..., a) and (..., b) with a + b = in.
        pattern: the sparsity pattern of a `Compact` network, whose inputs must have exactly one leading axis.
    """
    if isinstance(params, Compact):
        first, *rest = inputs
        second = rest[0] if rest else jnp.zeros((first.shape[0], 0), first.dtype)
        outputs: jax.Array = compact_mlp(params.layout, activation, params.vector, pattern, first, second)
        return outputs
    *hidden_layers, output = layer_names(params)
    hidden = inputs[0] if len(inputs) == 1 else jnp.concatenate(inputs, axis=-1)
    for name in hidden_layers:
        hidden = _IN_JAX[activation](_affine(params[name], hidden))
    return _affine(params[output], hidden)


def mlp_in_numpy(params: Tree, inputs: np.ndarray, activation: Activation) -> np.ndarray:
    """`mlp` of one observation, (in,) -> (out,), without the cost of calling a compiled program."""
    *hidden_layers, output = layer_names(params)
    hidden = inputs
    for name in hidden_layers:
        layer = params[name]
        hidden = activated(activation, hidden @ np.asarray(layer["kernel"]) + np.asarray(layer["bias"]))
    outputs: np.ndarray = hidden @ np.asarray(params[output]["kernel"]) + np.asarray(params[output]["bias"])
    return outputs


def mlp_layer_inputs(params: Tree, inputs: jax.Array, activation: Activation) -> dict[str, jax.Array]:
    """The input of each layer of `mlp`: ``{"layer_0": (..., in), ...}``. The first is `inputs` itself."""
    found, hidden = {}, inputs
    for name in layer_names(params):
        found[name] = hidden
        hidden = _IN_JAX[activation](_affine(params[name], hidden))
    return found


def layer_names(params: Tree) -> list[str]:
    """Layers from input to output. JAX returns a dict in the order of its keys: `layer_10` before `layer_2`."""
    return [f"layer_{index}" for index in range(len(params))]


def _affine(layer: dict[str, jax.Array], inputs: jax.Array) -> jax.Array:
    kernel, bias = layer["kernel"], layer["bias"]
    if kernel.shape[1] == 1:  # an explicit sum: XLA's CPU dot makes the gradient of one column ten times slower
        return jnp.sum(inputs * kernel[:, 0], axis=-1, keepdims=True) + bias
    return inputs @ kernel + bias
