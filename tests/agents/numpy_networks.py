"""Gradients of multilayer perceptrons in NumPy, by hand."""

import numpy as np

from rlottery.agents.networks import Tree


def backward(params: Tree, inputs: np.ndarray, by_output: np.ndarray) -> tuple[Tree, np.ndarray]:
    """The gradient with respect to the weights of an MLP and to its inputs, from that with respect to its outputs."""
    entering = [inputs]
    for index in range(len(params) - 1):
        layer = params[f"layer_{index}"]
        entering.append(np.maximum(entering[-1] @ layer["kernel"] + layer["bias"], 0))
    gradient: Tree = {}
    for index in reversed(range(len(params))):
        gradient[f"layer_{index}"] = {"kernel": entering[index].T @ by_output, "bias": by_output.sum(0)}
        by_output = by_output @ params[f"layer_{index}"]["kernel"].T * (entering[index] > 0 if index else 1)
    return gradient, by_output
