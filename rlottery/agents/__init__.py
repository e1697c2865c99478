"""Learning algorithms, each one file of pure functions behind `Algorithm`."""

from rlottery.agents.base import (
    Algorithm,
    Batch,
    Spec,
    Tree,
    apply_masks,
    from_arrays,
    jax_key,
    kernels,
    nest_kernels,
    nest_masks,
    to_arrays,
    zeros_hold,
)

__all__ = [
    "Algorithm",
    "Batch",
    "Spec",
    "Tree",
    "apply_masks",
    "from_arrays",
    "jax_key",
    "kernels",
    "nest_kernels",
    "nest_masks",
    "to_arrays",
    "zeros_hold",
]
