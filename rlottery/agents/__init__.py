"""Learning algorithms, each one file of pure functions behind `Algorithm`."""

from rlottery.agents.base import (
    Algorithm,
    Batch,
    Spec,
    Tree,
    apply_masks,
    from_arrays,
    kernels,
    nest_kernels,
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
    "kernels",
    "nest_kernels",
    "to_arrays",
    "zeros_hold",
]
