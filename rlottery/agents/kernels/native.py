"""Compact networks in JAX: the kernels as a function that `jax.grad` can differentiate."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.activations import ACTIVATIONS, Activation
from rlottery.agents.kernels.layout import Layout

BLOCK = 64
"""Columns of a batch that the kernels process together (`kBlock` in csrc/mlp.h)."""
MAX_LAYERS = 64
"""The most layers that a network may have (`kMaxLayers` in csrc/mlp.h)."""


@partial(jax.tree_util.register_dataclass, data_fields=["vector"], meta_fields=["layout"])
@dataclass(frozen=True)
class Compact:
    """A multilayer perceptron as one vector. `rlottery.agents.kernels.layout` describes its content."""

    vector: Any
    layout: Layout


def number_of(activation: Activation) -> int:
    """The kernels' number for an activation function (`Activation` in csrc/mlp.h)."""
    return ACTIVATIONS.index(activation)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def compact_mlp(
    layout: Layout,
    activation: Activation,
    parameters: jax.Array,
    pattern: jax.Array,
    first: jax.Array,
    second: jax.Array,
) -> jax.Array:
    """Hidden layers with this activation function and a linear output, computed with the surviving weights only.

    Args:
        parameters: (layout.size,), from `layout.to_vector`.
        pattern: int32, from `layout.pattern_of`. It has the number of survivors of each layer.
        first, second: inputs to concatenate, (batch, a) and (batch, b) with a + b = layout.widths[0]; b may be 0.

    Returns:
        (batch, layout.widths[-1]).
    """
    return _forward(layout, activation, parameters, pattern, first, second, keep=False)[0]


def _forward(
    layout: Layout,
    activation: Activation,
    parameters: jax.Array,
    pattern: jax.Array,
    first: jax.Array,
    second: jax.Array,
    *,
    keep: bool,
) -> tuple[jax.Array, jax.Array]:
    """The outputs, and with `keep` the activations that the backward pass needs."""
    batch = first.shape[0]
    kept = -(-batch // BLOCK) * BLOCK * layout.features + sum(layout.widths) if keep else 0
    forward = call("rlottery_forward", (batch, layout.widths[-1]), (kept,))
    which = np.int64(number_of(activation))
    outputs, activations = forward(parameters, pattern, first, second, network=layout.numbers, activation=which)
    return outputs, activations


@dataclass(frozen=True)
class _Wanted:
    """Which gradients are needed: of the parameters, of the first inputs, of the second inputs."""

    parameters: bool
    first: bool
    second: bool
    first_columns: int


jax.tree_util.register_static(_Wanted)


def _forward_and_keep(
    layout: Layout, activation: Activation, parameters: Any, pattern: Any, first: Any, second: Any
) -> tuple[jax.Array, Any]:
    outputs, kept = _forward(layout, activation, parameters.value, pattern.value, first.value, second.value, keep=True)
    wanted = _Wanted(parameters.perturbed, first.perturbed, second.perturbed, first.value.shape[1])
    return outputs, (parameters.value, pattern.value, kept, wanted)


def _backward(layout: Layout, activation: Activation, residuals: Any, gradient: Any) -> tuple[Any, ...]:
    parameters, pattern, kept, wanted = residuals
    if isinstance(gradient, jax.custom_derivatives.SymbolicZero):
        gradient = jnp.zeros(gradient.shape, gradient.dtype)
    batch, columns = gradient.shape[0], wanted.first_columns
    backward = call(
        "rlottery_backward",
        (layout.size if wanted.parameters else 0,),
        (batch if wanted.first else 0, columns),
        (batch if wanted.second else 0, layout.widths[0] - columns),
    )
    attributes = {"activation": np.int64(number_of(activation)), "first_columns": np.int64(columns)}
    found = backward(parameters, pattern, kept, gradient, network=layout.numbers, **attributes)
    of_parameters, of_first, of_second = (
        array if asked else None
        for array, asked in zip(found, (wanted.parameters, wanted.first, wanted.second), strict=True)
    )
    return of_parameters, None, of_first, of_second


compact_mlp.defvjp(_forward_and_keep, _backward, symbolic_zeros=True)


def call(
    name: str, *shapes: tuple[int, ...], dtype: Any = np.float32, in_place: Mapping[int, int] | None = None
) -> Callable[..., Sequence[jax.Array]]:
    """A function of the library in JAX, whose results are arrays of these shapes. Under `vmap`, one call for each.

    Args:
        in_place: number of an argument -> that of the result that is written to its memory.
    """
    results: list[Any] = [jax.ShapeDtypeStruct(shape, dtype) for shape in shapes]  # type: ignore[no-untyped-call]
    return jax.ffi.ffi_call(name, results, vmap_method="sequential", input_output_aliases=dict(in_place or {}))
