"""Tests a library of kernels in this process, which may crash."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.activations import ACTIVATIONS, Activation, activated
from rlottery.agents.kernels.layout import FULL, SPARSE, layout_of, pattern_of, to_vector
from rlottery.agents.kernels.library import load
from rlottery.agents.kernels.native import call, compact_mlp
from rlottery.agents.kernels.random_numbers import KERNELS, standard_normal
from rlottery.errors import RlotteryError

BATCH = 70
"""More than one block of the kernels, and not a multiple of it."""


def result_for(path: str) -> tuple[str, str]:
    """The instruction set that this library uses, and what is wrong with it ("" if nothing is)."""
    instruction_set, fault = "", ""
    try:
        library = load(Path(path))
        instruction_set = library.rl_isa().decode()
        faults = (*map(wrong_numbers, ACTIVATIONS), wrong_noise(), wrong_step())
        fault = next(filter(None, faults), "")
    except RlotteryError as error:
        fault = str(error)
    except (OSError, AttributeError) as error:
        fault = f"{path} can't be loaded: {error}"
    except RuntimeError as error:  # includes errors of JAX
        fault = f"JAX can't use them: {str(error).splitlines()[0]}"
    return instruction_set, fault


def wrong_numbers(activation: Activation) -> str:
    """How a small network with every kind of layer, and its gradients, differ from NumPy; "" if they don't."""
    rng = np.random.default_rng(0)
    most, few = np.ones((7, 6), np.bool_), np.indices((6, 3)).sum(axis=0) % 3 == 0
    most[2, 3] = False
    masks = [None, most, few]
    layout = layout_of((5, 7, 6, 3), masks)
    assert layout.kinds == (FULL, SPARSE, SPARSE)
    layers = [
        {"kernel": rng.normal(size=(inputs, outputs)), "bias": rng.normal(size=outputs)}
        for inputs, outputs in zip(layout.widths, layout.widths[1:], strict=False)
    ]
    for layer, mask in zip(layers, masks, strict=True):
        layer["kernel"] *= 1 if mask is None else mask
    inputs, of_outputs = rng.normal(size=(BATCH, 5)), rng.normal(size=(BATCH, 3))

    @jax.jit
    def computed(*arguments: jax.Array) -> tuple[jax.Array, ...]:
        pattern = jnp.asarray(pattern_of(layout, masks))
        outputs, back = jax.vjp(lambda v, x, y: compact_mlp(layout, activation, v, pattern, x, y), *arguments)
        return outputs, *back(jnp.asarray(of_outputs, jnp.float32))

    outputs, of_layers, of_inputs = by_numpy(layers, activation, inputs, of_outputs)
    expected = (outputs, to_vector(layout, of_layers, masks), of_inputs[:, :3], of_inputs[:, 3:])
    columns = inputs.astype(np.float32)
    found = computed(to_vector(layout, layers, masks), columns[:, :3], columns[:, 3:])
    names = ("outputs", "gradient of the parameters", "gradient of the first inputs", "gradient of the second inputs")
    for name, ours, theirs in zip(names, found, expected, strict=True):
        if not np.allclose(ours, theirs, rtol=1e-4, atol=1e-4):
            most = np.abs(ours - theirs).max()
            return f"their results differ from NumPy's: {name} with {activation}, by up to {most:.3g}"
    return ""


def wrong_noise() -> str:
    """How random numbers differ from JAX's; "" if they don't."""

    @jax.jit
    def computed(words: jax.Array) -> list[jax.Array]:
        impls = ("threefry2x32", KERNELS)
        keys = [jax.random.split(jax.random.wrap_key_data(words, impl=impl))[0] for impl in impls]
        return [standard_normal(key, (BATCH,)) for key in keys]

    expected, found = computed(jnp.array([7, 8], jnp.uint32))
    return "" if np.allclose(found, expected, rtol=1e-5, atol=1e-6) else "their random numbers differ from JAX's"


def wrong_step() -> str:
    """How a step of Adam differs from NumPy's; "" if it doesn't."""
    rng = np.random.default_rng(0)
    gradient, weights, mean = rng.normal(size=(3, BATCH)).astype(np.float32)
    square, shares = rng.random(BATCH, np.float32), np.array([0.19, 0.002], np.float32)
    numbers = np.array([0.9, 0.999, 0.1, 0.001, 1e-8, -0.1], np.float32)
    adam = call("rlottery_adam", *[(BATCH,)] * 3)
    mean_then, square_then = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
    weights_then = weights - 0.1 * (mean_then / shares[0]) / (np.sqrt(square_then / shares[1]) + 1e-8)
    expected = weights_then, mean_then, square_then
    for divides in (False, True):
        found = adam(gradient, shares, weights, mean, square, numbers=numbers, divides=divides)
        if not np.allclose(found, expected, rtol=1e-5, atol=1e-6):
            return "their step of Adam differs from NumPy's"
    return ""


def by_numpy(
    layers: Sequence[Mapping[str, np.ndarray]], activation: Activation, inputs: np.ndarray, of_outputs: np.ndarray
) -> tuple[np.ndarray, list[dict[str, np.ndarray]], np.ndarray]:
    """Outputs of hidden layers and a linear layer, and the gradients of each layer and of the inputs."""
    received, outputs = [], inputs
    for index, layer in enumerate(layers):
        received.append(activated(activation, outputs) if index else outputs)
        outputs = received[-1] @ layer["kernel"] + layer["bias"]
    gradients, delta = [], of_outputs
    for index in reversed(range(len(layers))):
        gradients.append({"kernel": received[index].T @ delta, "bias": delta.sum(axis=0)})
        delta = delta @ layers[index]["kernel"].T
        if index:
            delta = delta * (received[index] > 0 if activation == "relu" else 1 - received[index] ** 2)
    return outputs, gradients[::-1], delta
