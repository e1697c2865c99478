"""Synaptic flow: how much of what goes through a whole network goes through one weight."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from rlottery.pruning.masks import by_network


def synaptic_flow(kernels: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """dR/d|w| of every kernel, with R = 1^T |W_1| ... |W_n| 1 of each network (SynFlow, Tanaka et al. 2020).

    Biases are not part of R. The flows of all networks of a group stay on one scale, so that their
    scores can be ranked together. Double precision makes normalisation unnecessary.

    Args:
        kernels: path -> (inputs, outputs), pruned weights zero, layers of a network in order.

    Returns:
        path -> (inputs, outputs) float64.
    """
    sizes = {path: np.abs(np.asarray(kernel, np.float64)) for path, kernel in kernels.items()}
    flow: dict[str, np.ndarray] = {}
    for layers in by_network(sizes).values():
        into, out_of = {}, {}
        reached = np.ones(next(iter(layers.values())).shape[0])
        for path, layer in layers.items():
            into[path], reached = reached, reached @ layer
        onward = np.ones_like(reached)
        for path, layer in reversed(layers.items()):
            out_of[path], onward = onward, layer @ onward
        flow |= {path: np.outer(into[path], out_of[path]) for path in layers}
    return flow
