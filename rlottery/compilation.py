"""How updates are compiled: with options of XLA's CPU compiler that were seen to pay on an AVX-512 machine."""

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax

from rlottery.agents import Algorithm

_MEASURED = {
    # Its matrix products are slower than Eigen's at these sizes, on one thread.
    "xla_cpu_experimental_ynn_fusion_type": "",
    # One thread gains nothing from operations ordered so that they could run at once.
    "xla_cpu_scheduler_type": "CPU_SCHEDULER_TYPE_MEMORY_OPTIMIZED",
}


def compile_update(algorithm: Algorithm, settings: Any) -> Callable[..., tuple[Any, dict[str, jax.Array]]]:
    """``(state, batch) -> (state, metrics)``, compiled; the state given is used up."""
    update: Callable[..., tuple[Any, dict[str, jax.Array]]] = jax.jit(
        partial(algorithm.update, settings=settings), donate_argnums=0, compiler_options=compiler_options()
    )
    return update


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
