"""Activation functions of hidden layers, in NumPy. Other code has them in its own form: JAX, the kernels, exports."""

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np

Activation = Literal["relu", "tanh"]
"""The activation function of a network's hidden layers: max(x, 0), or tanh(x)."""
ACTIVATIONS: tuple[Activation, ...] = get_args(Activation)
DEFAULT_ACTIVATION: Activation = "relu"
"""Of agents whose records don't say it: earlier versions had no other."""


def activated(activation: Activation, sums: "np.ndarray") -> "np.ndarray":
    """The outputs of hidden units for the sums of their inputs and biases, of any shape."""
    import numpy as np  # not above: configs are read without it

    outputs: np.ndarray = np.tanh(sums) if activation == "tanh" else np.maximum(sums, 0.0)
    return outputs
