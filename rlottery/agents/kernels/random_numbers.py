"""JAX's random numbers, drawn by the kernels.

In a program for the CPU, JAX draws random bits in a loop of small programs, and what makes normal numbers of them is
computed again by each operation that reads them. For the noise of SAC's two losses, that takes a quarter of a very
sparse ticket's update. A key of `KERNELS` gives the same numbers as JAX's own key with the same words.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_prng_impl

_BITS = 32
"""The width of a word."""


def standard_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Independent standard normal numbers, float32: `jax.random.normal`, by the kernels for keys of `KERNELS`."""
    if jax.random.key_impl(key) != KERNELS or not _counts_in_order():
        return jax.random.normal(key, shape, jnp.float32)
    return _call("rlottery_normals", (math.prod(shape),), np.float32)(jax.random.key_data(key)).reshape(shape)


def _words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The two words of each counter from 0: (2, *shape), uint32."""
    return _call("rlottery_random_words", (2, math.prod(shape)), np.uint32)(key).reshape(2, *shape)


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    if bit_width != _BITS or not _counts_in_order():
        bits: jax.Array = threefry_prng_impl.random_bits(key, bit_width, shape)
        return bits
    return jnp.bitwise_xor(*_words(key, shape))


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if not _counts_in_order():
        keys: jax.Array = threefry_prng_impl.split(key, shape)
        return keys
    return jnp.stack(tuple(_words(key, shape)), axis=-1)


def _counts_in_order() -> bool:
    """Whether JAX counts from 0 in the order of an array's entries, as it does unless its older order is asked for."""
    settings: Any = jax.config
    return bool(settings.jax_threefry_partitionable)


def _call(name: str, shape: tuple[int, ...], dtype: Any) -> Callable[[jax.Array], jax.Array]:
    result: Any = jax.ShapeDtypeStruct(shape, dtype)  # type: ignore[no-untyped-call]
    return jax.ffi.ffi_call(name, result, vmap_method="sequential")


KERNELS = define_prng_impl(
    key_shape=threefry_prng_impl.key_shape,
    seed=threefry_prng_impl.seed,
    split=_split,
    random_bits=_random_bits,
    fold_in=threefry_prng_impl.fold_in,
    name="rlottery",
    tag="rl",
)
"""What `jax.random.wrap_key_data` takes as `impl`. The kernels must be registered where such a key is used."""
