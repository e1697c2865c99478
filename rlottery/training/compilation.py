"""How updates are compiled: with options of XLA's CPU compiler that were seen to pay on an AVX-512 machine."""

from collections.abc import Callable
from functools import cache
from math import isfinite
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm, Spec
from rlottery.storage.transitions import columns

_ROW = 256
"""Entries that `_all_finite` looks at together."""


class Updated(NamedTuple):
    """What an update tells: its metrics by name, and whether they and all weights are finite."""

    metrics: dict[str, float]
    finite: bool


_MEASURED = {
    # Its matrix products are slower than Eigen's at these sizes, on one thread.
    "xla_cpu_experimental_ynn_fusion_type": "",
    # One thread gains nothing from operations ordered so that they could run at once.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


@cache
def compile_update(algorithm: Algorithm, settings: Any, spec: Spec) -> Callable[..., tuple[Any, Updated]]:
    """``(state, rows of transitions) -> (state, what it tells)``, compiled; the state given is used up.

    Compiled once a process, whoever asks.
    """
    told_update, read = telling_update(algorithm, settings, spec)
    update = jax.jit(told_update, donate_argnums=0, compiler_options=compiler_options())

    def call(state: Any, rows: np.ndarray) -> tuple[Any, Updated]:
        state, told = update(state, rows)
        return state, read(np.asarray(told))

    return call


def telling_update(
    algorithm: Algorithm, settings: Any, spec: Spec
) -> tuple[Callable[[Any, jax.Array], tuple[Any, jax.Array]], Callable[[np.ndarray], Updated]]:
    """``(state, rows of transitions) -> (state, what it tells)``, to be compiled, and what reads that.

    What it tells is one vector: each array that is handed over costs as much as a small operation.
    """
    names: list[str] = []

    def update(state: Any, rows: jax.Array) -> tuple[Any, jax.Array]:
        state, metrics = algorithm.update(state, columns(rows, *spec), settings)
        names[:] = sorted(metrics)
        sound = jnp.all(jnp.array([_all_finite(leaf) for leaf in jax.tree.leaves(state.params)]))
        return state, jnp.stack([*(metrics[name] for name in names), sound.astype(jnp.float32)])

    def read(told: np.ndarray) -> Updated:
        *metrics, sound = told.tolist()
        return Updated(dict(zip(names, metrics, strict=True)), sound == 1.0 and all(map(isfinite, metrics)))

    return update, read


def _all_finite(array: jax.Array) -> jax.Array:
    """Whether nothing in `array` is NaN or infinite: 0 times it is 0 then, and NaN otherwise.

    As a product with a vector of zeros, for XLA sums those many at a time, and what `jnp.all` looks at one by one.
    """
    flat = array.reshape(-1)
    whole = flat.size // _ROW * _ROW
    rest = jnp.sum(flat[whole:] * 0.0)
    if whole == 0:
        return jnp.isfinite(rest)
    rows = flat[:whole].reshape(-1, _ROW)
    return jnp.isfinite(rest + jnp.sum(rows @ (rows[0] * 0.0)))


@cache
def compile_noise(action_size: int, steps: int) -> Callable[..., jax.Array]:
    """``(words of a key, first step) -> noise (steps, act)``: each step's from the key folded with the step."""

    @jax.jit
    def draw(words: jax.Array, first: int) -> jax.Array:
        key = jax.random.wrap_key_data(words)

        def of_step(step: jax.Array) -> jax.Array:
            return jax.random.normal(jax.random.fold_in(key, step), (action_size,))

        drawn: jax.Array = jax.vmap(of_step)(first + jnp.arange(steps))
        return drawn

    return draw


@cache
def compiler_options() -> dict[str, str]:
    """The measured options, or none where this JAX doesn't know them or there is no CPU backend to give them to."""
    if jax.default_backend() != "cpu":
        return {}
    try:
        jax.jit(lambda x: x + 1, compiler_options=_MEASURED)(0)
    except Exception:  # what an unknown option raises differs between versions of JAX
        return {}
    return _MEASURED
