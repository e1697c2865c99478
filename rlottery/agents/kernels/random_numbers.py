"""JAX's random numbers, drawn by the kernels.

In a program for the CPU, JAX draws random bits in a loop of small programs, and each operation that reads normal
numbers makes them from the bits again. A key of `KERNELS` gives the same numbers as JAX's own key with the same words,
in a fraction of the time. Under `vmap`, each key is a call of its own, so thousands of keys are better left to JAX.
"""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.random import define_prng_impl, threefry_prng_impl

from rlottery.agents.kernels.library import PORTABLE, loaded_instruction_set
from rlottery.agents.kernels.native import call

_BITS = 32
"""The width of a word."""


def standard_normal(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Independent standard normal numbers, float32: what `jax.random.normal` gives, by the kernels for `KERNELS`.

    XLA may use instructions that the portable kernels don't, and then rounds otherwise: with these, JAX draws.
    """
    by_kernels = jax.random.key_impl(key) == KERNELS and loaded_instruction_set() != PORTABLE
    if not by_kernels or not _counts_in_order():
        return jax.random.normal(key, shape, jnp.float32)
    (numbers,) = call("rlottery_normals", (math.prod(shape),))(jax.random.key_data(key))
    return numbers.reshape(shape)


def _words(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """The two words of each counter from 0: (2, *shape), uint32."""
    (words,) = call("rlottery_random_words", (2, math.prod(shape)), dtype=np.uint32)(key)
    return words.reshape(2, *shape)


def _random_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    if bit_width != _BITS or not _counts_in_order():
        bits: jax.Array = threefry_prng_impl.random_bits(key, bit_width, shape)
        return bits
    return jnp.bitwise_xor(*_words(key, shape))


def _split(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    if not _counts_in_order():
        keys: jax.Array = threefry_prng_impl.split(key, shape)
        return keys
    return jnp.moveaxis(_words(key, shape), 0, -1)


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
