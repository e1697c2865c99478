"""JAX's random numbers with the bits drawn by the kernels.

JAX draws bits with Threefry in a loop of the compiled program, which takes as long as a tenth of a sparse ticket's
update. A key of `KERNELS` gives the same numbers as JAX's own key with the same words.
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


def _words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The two words of each counter from 0: (2, *shape), uint32."""
    return _threefry(math.prod(shape))(key).reshape(2, *shape)


def _threefry(count: int) -> Callable[[jax.Array], jax.Array]:
    result: Any = jax.ShapeDtypeStruct((2, count), np.uint32)  # type: ignore[no-untyped-call]
    return jax.ffi.ffi_call("rlottery_threefry", result, vmap_method="sequential")


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
