"""Folding: a ticket without its dead and constant units is a smaller network that computes the same function.

Folded networks are for use, not for training: a unit without inputs is constant only as long as its bias doesn't learn.
"""

from typing import Any, NamedTuple

import numpy as np

from rlottery.activations import Activation, activated
from rlottery.pruning.effective import depends_on_an_input, leads_to_an_output

Layers = dict[str, dict[str, np.ndarray]]
"""``{"layer_0": {"kernel": (in, out), "bias": (out,)}, ...}``; masks have only the kernels, as bool."""


class Folded(NamedTuple):
    """A folded network, and the units that were removed.

    Attributes:
        params: the same number of layers, inputs and outputs as before. If one hidden layer has no units left, none
            has, and the outputs are the last biases.
        masks: of the kernels, or {} if the network had none.
        dead: for each hidden layer, which units had no path to an output; bool (units,).
        constant: for each hidden layer, which of the other units had no path from an input; bool (units,).
    """

    params: Layers
    masks: Layers
    dead: tuple[np.ndarray, ...]
    constant: tuple[np.ndarray, ...]


def fold(params: dict[str, Any], masks: dict[str, Any], activation: Activation) -> Folded:
    """The network without its dead and constant units: the same function of its inputs, up to rounding.

    A hidden unit without a path to an output is removed. A unit without a path from an input always has the value
    relu(bias) or tanh(bias), which its outgoing weights add to the biases of the next layer before it is removed.

    Args:
        params: a multilayer perceptron with a linear output, as `Layers`.
        masks: of all kernels, or {} if there are none; then every unit stays.
        activation: of the hidden layers.
    """
    layers = [params[f"layer_{index}"] for index in range(len(params))]
    kernels = [np.asarray(layer["kernel"]) for layer in layers]
    kept = [
        np.asarray(masks[f"layer_{index}"]["kernel"], np.bool_) if masks else np.ones(kernel.shape, np.bool_)
        for index, kernel in enumerate(kernels)
    ]
    lives, varies = leads_to_an_output(kept), depends_on_an_input(kept)
    stays = [live & varying for live, varying in zip(lives, varies, strict=True)]
    stays[0][:], stays[-1][:] = True, True  # inputs and outputs

    folded, left = Layers(), Layers()
    always = np.zeros(len(stays[0]))
    """The value of each unit that enters a layer if it is constant, else 0."""
    for index, (layer, kernel, mask) in enumerate(zip(layers, kernels, kept, strict=True)):
        bias, masked = np.asarray(layer["bias"]), np.where(mask, kernel, 0)
        total = bias + always @ masked
        always = np.where(varies[index + 1], 0.0, activated(activation, total))
        rest = np.ix_(stays[index], stays[index + 1])
        folded[f"layer_{index}"] = {"kernel": masked[rest], "bias": total[stays[index + 1]].astype(bias.dtype)}
        left[f"layer_{index}"] = {"kernel": mask[rest]}
    hidden = list(zip(lives, varies, strict=True))[1:-1]
    return Folded(
        folded,
        left if masks else {},
        tuple(~live for live, _ in hidden),
        tuple(live & ~varying for live, varying in hidden),
    )
