"""Multilayer perceptrons as nested dicts: ``{"layer_0": {"kernel": (in, out), "bias": (out,)}, ...}``."""

from collections.abc import Sequence
from itertools import pairwise

import jax
import jax.numpy as jnp

from rlottery.agents.base import Tree


def init_mlp(key: jax.Array, sizes: Sequence[int]) -> Tree:
    """Weights and biases drawn uniformly within 1 / sqrt(fan-in), as PyTorch's linear layers are.

    Stable-Baselines3 and CleanRL start SAC from the same distribution.
    """
    shapes = list(pairwise(sizes))
    # One draw for all layers: every draw of another shape is another program to compile.
    draws = jax.random.uniform(key, (sum((fan_in + 1) * fan_out for fan_in, fan_out in shapes),), minval=-1.0)
    params, start = {}, 0
    for index, (fan_in, fan_out) in enumerate(shapes):
        layer = draws[start : start + (fan_in + 1) * fan_out].reshape(fan_in + 1, fan_out) * fan_in**-0.5
        params[f"layer_{index}"] = {"kernel": layer[:-1], "bias": layer[-1]}
        start += (fan_in + 1) * fan_out
    return params


def mlp(params: Tree, inputs: jax.Array) -> jax.Array:
    """Rectified hidden layers and a linear output: (..., in) -> (..., out)."""
    hidden = inputs
    for index in range(len(params)):
        layer = params[f"layer_{index}"]
        hidden = _matmul(hidden, layer["kernel"]) + layer["bias"]
        if index < len(params) - 1:
            hidden = jax.nn.relu(hidden)
    return hidden


def _matmul(inputs: jax.Array, kernel: jax.Array) -> jax.Array:
    """``inputs @ kernel``. A single column is summed by hand: XLA's CPU dot is ten times slower on its gradient."""
    if kernel.shape[1] == 1:
        return jnp.sum(inputs * kernel[:, 0], axis=-1, keepdims=True)
    return inputs @ kernel
