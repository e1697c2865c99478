from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from scipy import stats

from rlottery.activations import ACTIVATIONS, Activation
from rlottery.agents.networks import init_mlp, mlp
from tests.agents.small import doubled, fresh, numpy_mlp

SIZES = (40, 100, 30, 1)


@pytest.fixture(scope="module")
def network() -> Any:
    return drawn(0)


@partial(jax.jit, static_argnums=1)
def _init(key: jax.Array, sizes: tuple[int, ...]) -> Any:
    return init_mlp(key, sizes)


def drawn(seed: int, sizes: tuple[int, ...] = SIZES) -> Any:
    return jax.tree.map(np.asarray, _init(jax.random.key(seed), sizes))


def test_shapes_are_inputs_by_outputs(network: Any) -> None:
    shapes = {name: (layer["kernel"].shape, layer["bias"].shape) for name, layer in network.items()}
    assert shapes == {
        "layer_0": ((40, 100), (100,)),
        "layer_1": ((100, 30), (30,)),
        "layer_2": ((30, 1), (1,)),
    }


def test_weights_and_biases_spread_uniformly_within_one_over_the_root_of_the_fan_in(network: Any) -> None:
    for layer, fan_in in zip(network.values(), SIZES[:-1], strict=True):
        for weights in layer.values():
            scaled = weights.ravel() * np.sqrt(fan_in)
            assert np.abs(scaled).max() <= 1 + 1e-6
            assert stats.kstest(scaled, stats.uniform(-1, 2).cdf).pvalue > 1e-3
    # Biases are not the zeros that some initialisations start from.
    assert all(np.all(layer["bias"] != 0) for layer in network.values())


def test_the_same_key_gives_the_same_weights_and_another_key_others(network: Any) -> None:
    again, other = drawn(0), drawn(1)
    for name, layer in network.items():
        for part, weights in layer.items():
            assert weights.tobytes() == again[name][part].tobytes()
            assert (weights == other[name][part]).mean() < 0.01


def test_layers_of_one_shape_differ() -> None:
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(drawn(0, (4, 4, 4, 4)))])
    assert len(np.unique(weights)) == weights.size


def test_twins_and_actor_differ() -> None:
    params = fresh().params
    q1, q2 = params["critic"]["q1"], params["critic"]["q2"]
    assert jax.tree.map(np.shape, q1) == jax.tree.map(np.shape, q2)
    weights = np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(params)])
    assert len(np.unique(weights)) == weights.size


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("outputs", [1, 4])
def test_output_and_gradient_are_those_of_numpy(outputs: int, activation: Activation) -> None:
    rng = np.random.default_rng(0)
    shapes = {"layer_0": (5, 6), "layer_1": (6, outputs)}
    params = {
        name: {
            "kernel": rng.normal(size=shape).astype(np.float32),
            "bias": rng.normal(size=shape[1]).astype(np.float32),
        }
        for name, shape in shapes.items()
    }
    inputs = rng.normal(size=(2, 7, 5)).astype(np.float32)

    network = partial(mlp, activation=activation)

    @jax.jit
    def outputs_and_gradient(params: Any) -> Any:
        return network(params, inputs), jax.grad(lambda p: network(p, inputs).sum())(params)

    found, gradient = outputs_and_gradient(params)
    np.testing.assert_allclose(found, numpy_mlp(doubled(params), inputs, activation), rtol=1e-5, atol=1e-5)
    # By hand, of the sum of a two-layer network's outputs.
    exact, rows = doubled(params), inputs.reshape(-1, 5).astype(np.float64)
    before = rows @ exact["layer_0"]["kernel"] + exact["layer_0"]["bias"]
    hidden, slope = np.maximum(before, 0), before > 0
    if activation == "tanh":
        hidden, slope = np.tanh(before), 1 / np.cosh(before) ** 2
    back = (exact["layer_1"]["kernel"].sum(1) * slope).T
    np.testing.assert_allclose(
        gradient["layer_1"]["kernel"], np.repeat(hidden.sum(0)[:, None], outputs, 1), rtol=1e-4, atol=1e-5
    )
    np.testing.assert_allclose(gradient["layer_0"]["kernel"], rows.T @ back.T, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(gradient["layer_1"]["bias"], np.full(outputs, len(rows)), rtol=1e-6)
