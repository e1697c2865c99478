"""Networks without the units that do nothing: a folded ticket is a smaller network that computes the same.

For use, not for training: a unit without an input is a constant only as long as its bias doesn't learn.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Layers = dict[str, dict[str, np.ndarray]]
"""``{"layer_0": {"kernel": (in, out), "bias": (out,)}, ...}``; masks have the kernels alone, as bool."""


class Folded(NamedTuple):
    """A folded network, and what is no longer in it.

    Attributes:
        params: as many layers as there were, with the same inputs and outputs. A hidden layer may have no unit left;
            then none has, and the outputs are the last biases.
        masks: of its kernels, or {} where the network had none.
        dead: for each hidden layer, which of its units had no way to an output; bool (units,).
        constant: and which of the others had no way from an input.
    """

    params: Layers
    masks: Layers
    dead: tuple[np.ndarray, ...]
    constant: tuple[np.ndarray, ...]


def fold(params: dict[str, Any], masks: dict[str, Any]) -> Folded:
    """The network without its dead and its constant units: the same function of its inputs, up to rounding.

    A hidden unit without a way to an output is left out. One without a way from an input is always relu(bias): that
    goes, by its outgoing weights, into the biases of the next layer, whose own constants follow from them.

    Args:
        params: a multilayer perceptron with rectified hidden layers and a linear output, as `Layers`.
        masks: of all of its kernels, or {} if it has none: then every unit stays.
    """
    layers = [params[f"layer_{index}"] for index in range(len(params))]
    kernels = [np.asarray(layer["kernel"]) for layer in layers]
    kept = [
        np.asarray(masks[f"layer_{index}"]["kernel"], np.bool_) if masks else np.ones(kernel.shape, np.bool_)
        for index, kernel in enumerate(kernels)
    ]
    lives, varies = leads_to_an_output(kept), depends_on_an_input(kept)
    stays = [live & varying for live, varying in zip(lives, varies, strict=True)]
    stays[0][:], stays[-1][:] = True, True  # the interface

    folded, left = Layers(), Layers()
    always = np.zeros(len(stays[0]))
    """The value of each unit that enters a layer, where that is a constant; 0 elsewhere."""
    for index, (layer, kernel, mask) in enumerate(zip(layers, kernels, kept, strict=True)):
        bias, masked = np.asarray(layer["bias"]), np.where(mask, kernel, 0)
        total = bias + always @ masked
        always = np.where(varies[index + 1], 0.0, np.maximum(total, 0.0))
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


def leads_to_an_output(kept: Sequence[np.ndarray]) -> list[np.ndarray]:
    """For the inputs, each hidden layer and the outputs: which units have a way to an output; bool (units,) each.

    Args:
        kept: the layers' masks, bool (inputs, outputs), from input to output.
    """
    found: list[np.ndarray] = [np.ones(kept[-1].shape[1], np.bool_)]
    for mask in reversed(kept):
        found.append(mask[:, found[-1]].any(axis=1))
    return found[::-1]


def depends_on_an_input(kept: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same for ways from an input."""
    found: list[np.ndarray] = [np.ones(kept[0].shape[0], np.bool_)]
    for mask in kept:
        found.append(mask[found[-1]].any(axis=0))
    return found
