"""How updates are compiled: with options of XLA's CPU compiler that were seen to pay on an AVX-512 machine."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp

from rlottery.agents import Algorithm, Batch

_MEASURED = {
    # Its matrix products are slower than Eigen's at these sizes, on one thread.
    "xla_cpu_experimental_ynn_fusion_type": "",
    # One thread gains nothing from operations ordered so that they could run at once.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


@cache
def compile_update(algorithm: Algorithm, settings: Any) -> Callable[..., tuple[Any, dict[str, jax.Array], jax.Array]]:
    """``(state, batch) -> (state, metrics, finite)``, compiled; the state given is used up.

    `finite` says whether every metric and every weight still is. Compiled once a process, whoever asks.
    """

    @partial(jax.jit, donate_argnums=0, compiler_options=compiler_options())
    def update(state: Any, batch: Batch) -> tuple[Any, dict[str, jax.Array], jax.Array]:
        state, metrics = algorithm.update(state, batch, settings)
        leaves = jax.tree.leaves((state.params, metrics))
        return state, metrics, jnp.all(jnp.array([jnp.all(jnp.isfinite(leaf)) for leaf in leaves]))

    return update


@cache
def compile_act(algorithm: Algorithm) -> Callable[..., jax.Array]:
    """``(actor params, observation, words of a key, step) -> action``: each step has noise of its own."""

    @jax.jit
    def act(actor: Any, observation: Any, words: jax.Array, step: int) -> jax.Array:
        return algorithm.act(actor, observation, jax.random.fold_in(jax.random.wrap_key_data(words), step))

    return act


@cache
def compile_act_deterministic(algorithm: Algorithm) -> Callable[..., jax.Array]:
    """``(actor params, observation) -> action``, as it is evaluated."""
    act: Callable[..., jax.Array] = jax.jit(algorithm.act_deterministic)
    return act


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
