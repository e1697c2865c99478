"""Random networks with random masks, and the same mathematics in NumPy at double precision."""

from collections.abc import Sequence

import numpy as np

Layer = dict[str, np.ndarray]
Masks = list[np.ndarray | None]


def random_network(
    generator: np.random.Generator, widths: Sequence[int], densities: Sequence[float | None]
) -> tuple[list[Layer], Masks]:
    """Kernels (inputs, outputs), zero where pruned, and biases; a density of None is a layer without a mask."""
    layers, masks = [], Masks()
    for inputs, outputs, density in zip(widths, widths[1:], densities, strict=False):
        scale = inputs**-0.5
        kernel = generator.uniform(-1.7, 1.7, (inputs, outputs)) * scale
        mask = None
        if density is not None:
            flat = np.zeros(kernel.size, np.bool_)
            flat[generator.permutation(kernel.size)[: round(density * kernel.size)]] = True
            mask = flat.reshape(kernel.shape)
            kernel = np.where(mask, kernel, 0.0)
        bias = generator.uniform(-1, 1, outputs) * scale
        layers.append({"kernel": kernel.astype(np.float32), "bias": bias.astype(np.float32)})
        masks.append(mask)
    return layers, masks


def forward(layers: Sequence[Layer], inputs: np.ndarray, activation: str = "relu") -> list[np.ndarray]:
    """What enters each layer, and the outputs."""
    entering = [inputs.astype(np.float64)]
    for index, layer in enumerate(layers):
        outputs = entering[-1] @ layer["kernel"].astype(np.float64) + layer["bias"]
        hidden = np.maximum(outputs, 0.0) if activation == "relu" else np.tanh(outputs)
        entering.append(hidden if index + 1 < len(layers) else outputs)
    return entering


def gradients(
    layers: Sequence[Layer],
    masks: Masks,
    entering: Sequence[np.ndarray],
    gradient: np.ndarray,
    activation: str = "relu",
) -> tuple[list[Layer], np.ndarray]:
    """From the outputs' gradient those of the layers, zero where pruned, and that of the inputs."""
    found: list[Layer] = []
    for layer, mask, inputs, outputs in list(zip(layers, masks, entering, entering[1:], strict=False))[::-1]:
        if found:
            gradient = gradient * (outputs > 0 if activation == "relu" else 1.0 - outputs**2)
        of_kernel = inputs.T @ gradient
        found.append({"kernel": of_kernel if mask is None else of_kernel * mask, "bias": gradient.sum(0)})
        gradient = gradient @ layer["kernel"].astype(np.float64).T
    return found[::-1], gradient
