"""The kernels under JAX against NumPy at double precision."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rlottery.activations import ACTIVATIONS, Activation
from rlottery.agents.kernels.layout import from_vector, layout_of, pattern_of, to_vector
from rlottery.agents.kernels.library import INSTRUCTION_SETS, find, register
from rlottery.agents.kernels.native import Compact, compact_mlp
from rlottery.agents.networks import mlp, mlp_in_numpy
from tests.agents.kernels.agents import call_with
from tests.agents.kernels.networks import forward, gradients, random_network

pytestmark = pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")


@pytest.fixture(scope="module", autouse=True)
def _registered() -> Iterator[None]:
    register()
    yield


Case = tuple[list[int], list[float | None], int, int, int, Activation]
"""Widths, densities, batch size, columns of the first inputs, a seed, an activation function."""


@st.composite
def cases(draw: st.DrawFn) -> Case:
    widths = draw(st.lists(st.integers(1, 40), min_size=2, max_size=4))
    densities = [draw(st.sampled_from([None, 0.0, 0.03, 0.2, 0.45, 0.55, 1.0])) for _ in widths[1:]]
    sizes = draw(st.integers(1, 140)), draw(st.integers(0, widths[0]))
    return widths, densities, *sizes, draw(st.integers(0, 2**31)), draw(st.sampled_from(ACTIVATIONS))


def check(case: Case, *, padded: bool = False) -> None:
    widths, densities, batch, first, seed, activation = case
    generator = np.random.default_rng(seed)
    layers, masks = random_network(generator, widths, densities)
    inputs = generator.normal(size=(batch, widths[0])).astype(np.float32)
    given_gradient = generator.normal(size=(batch, widths[-1])).astype(np.float32)
    layout = layout_of(widths, masks, padded=padded)
    vector, pattern = to_vector(layout, layers, masks), pattern_of(layout, masks)
    entering = forward(layers, inputs, activation)
    expected, of_inputs = gradients(layers, masks, entering, given_gradient, activation)

    def network(vector: Any, one: Any, two: Any) -> jax.Array:
        return compact_mlp(layout, activation, vector, pattern, one, two)

    parts = (vector, inputs[:, :first], inputs[:, first:])
    np.testing.assert_allclose(network(*parts), entering[-1], rtol=1e-5, atol=1e-5)
    outputs, back = jax.vjp(network, *parts)
    np.testing.assert_allclose(outputs, entering[-1], rtol=1e-5, atol=1e-5)
    of_vector, of_one, of_two = back(given_gradient)
    np.testing.assert_allclose(np.concatenate([of_one, of_two], 1), of_inputs, rtol=1e-5, atol=2e-5)
    assert not np.any(of_vector[layout_of(widths, masks).size :])
    for found, wanted in zip(from_vector(layout, np.asarray(of_vector), masks), expected, strict=True):
        np.testing.assert_allclose(found["kernel"], wanted["kernel"], rtol=2e-5, atol=2e-4)
        np.testing.assert_allclose(found["bias"], wanted["bias"], rtol=2e-5, atol=2e-4)


@given(cases(), st.booleans())
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_values_and_gradients_of_random_networks(case: Case, padded: bool) -> None:
    check(case, padded=padded)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("sparsity", [0, 0.3, 0.5, 0.8, 0.9, 0.95, 0.98, 1])
def test_values_and_gradients_at_the_size_of_an_agent(sparsity: float, activation: Activation) -> None:
    check(([43, 256, 256, 1], [1 - sparsity] * 3, 256, 39, 1, activation))


@pytest.mark.parametrize("widths", [[5, 40, 3], [43, 70, 33, 1]])
def test_of_the_gradients_of_a_large_batch_no_part_is_lost_or_added_twice(widths: list[int]) -> None:
    """The kernels take 256 transitions at a time. Those with a gradient of zero change no bit of the others' sums."""
    generator, batch, part = np.random.default_rng(0), 1_300, 256
    layers, masks = random_network(generator, widths, [None] * (len(widths) - 1))
    layout = layout_of(widths, masks)
    vector, pattern = to_vector(layout, layers, masks), pattern_of(layout, masks)
    inputs = generator.normal(size=(batch, widths[0])).astype(np.float32)
    given_gradient = generator.normal(size=(batch, widths[-1])).astype(np.float32)

    def gradient_of(rows: slice, of: np.ndarray) -> np.ndarray:
        def network(vector: Any) -> jax.Array:
            return compact_mlp(layout, "relu", vector, pattern, inputs[rows], inputs[rows, :0])

        return np.asarray(jax.vjp(network, vector)[1](of[rows])[0])

    for start in range(0, batch, part):
        rows = slice(start, start + part)
        only = np.zeros_like(given_gradient)
        only[rows] = given_gradient[rows]
        assert np.array_equal(gradient_of(slice(None), only), gradient_of(rows, given_gradient))
    assert not np.any(gradient_of(slice(0, 0), given_gradient))
    expected, _ = gradients(layers, masks, forward(layers, inputs), given_gradient)
    found = from_vector(layout, gradient_of(slice(None), given_gradient), masks)
    for one, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(one["kernel"], wanted["kernel"], rtol=2e-5, atol=2e-4)


def check_tanh() -> None:
    """Every 1,009th float, and those where tanh becomes 1, through a hidden unit that passes on its input.

    Subnormal numbers are left out: XLA lets the processor take them for zeros.

    Raises AssertionError unless the outputs are within 3 units in the last place of tanh at double precision.
    """
    unit = {"kernel": np.ones((1, 1), np.float32), "bias": np.zeros(1, np.float32)}
    layout = layout_of([1, 1, 1], [None, None])
    network = jax.jit(partial(compact_mlp, layout, "tanh"))
    arrays = to_vector(layout, [unit, unit], [None, None]), pattern_of(layout, [None, None])
    sampled = np.arange(0, 2**32, 1009, dtype=np.uint32).view(np.float32)
    sampled = sampled[~(np.abs(sampled) < np.finfo(np.float32).tiny)]
    ends = np.array([0.0, np.inf, -np.inf, np.nan], np.float32)
    given = np.concatenate([sampled, np.linspace(8.9, 9.2, 4096, dtype=np.float32), ends])[:, None]
    found = np.asarray(network(*arrays, given, np.zeros((len(given), 0), np.float32)))
    with np.errstate(invalid="ignore"):  # of signalling NaNs
        exact = np.tanh(given.astype(np.float64))
    assert np.array_equal(np.isnan(found), np.isnan(exact))
    of_numbers = ~np.isnan(exact)
    found, exact = found[of_numbers], exact[of_numbers]
    assert np.all(np.abs(found - exact) <= 3 * np.spacing(np.abs(exact).astype(np.float32)))
    assert np.array_equal(np.signbit(found[exact != 0]), exact[exact != 0] < 0) and np.all(np.abs(found) <= 1)


def test_tanh_is_accurate_to_three_units_in_the_last_place() -> None:
    check_tanh()


def check_small_networks() -> None:
    networks: list[tuple[Any, ...]] = [
        ([43, 64, 64, 1], [0.1] * 3, 100, 39, 1),
        ([9, 33, 7], [None, 0.6], 65, 9, 2),
        ([5, 70, 21, 3], [0.3, None, 0.2], 1, 0, 3),
    ]
    for network in networks:
        for activation in ("relu", "tanh"):
            check((*network, activation))
    check_tanh()


@pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
def test_every_instruction_set_agrees(instruction_set: str) -> None:
    call_with(instruction_set, f"{__name__}:check_small_networks")


def test_only_what_is_asked_for_is_computed() -> None:
    """By what the compiled program calls: gradients that nobody wants have no size."""
    layers, masks = random_network(np.random.default_rng(0), [6, 8, 1], [0.3, 0.3])
    layout = layout_of([6, 8, 1], masks)
    pattern = pattern_of(layout, masks)
    one, two = np.ones((5, 4), np.float32), np.ones((5, 2), np.float32)

    def loss(vector: Any, one: Any, two: Any) -> jax.Array:
        return compact_mlp(layout, "relu", vector, pattern, one, two).sum()

    def sizes(argument: int) -> list[tuple[int, ...]]:
        program = jax.make_jaxpr(jax.grad(loss, argument))(to_vector(layout, layers, masks), one, two)
        (call,) = (e for e in program.eqns if e.params.get("target_name") == "rlottery_backward")
        return [out.aval.shape for out in call.outvars]

    assert sizes(0) == [(layout.size,), (0, 4), (0, 2)]
    assert sizes(1) == [(0,), (5, 4), (0, 2)]
    assert sizes(2) == [(0,), (0, 4), (5, 2)]


def test_agents_at_once_are_as_one_by_one() -> None:
    generator = np.random.default_rng(0)
    layers, masks = random_network(generator, [6, 8, 2], [0.3, None])
    layout = layout_of([6, 8, 2], masks)
    pattern, vector = pattern_of(layout, masks), to_vector(layout, layers, masks)
    inputs = generator.normal(size=(3, 5, 6)).astype(np.float32)
    vectors = np.stack([vector, 2 * vector, -vector])
    network = partial(compact_mlp, layout, "tanh")
    none = np.zeros((5, 0), np.float32)
    together = jax.vmap(network, (0, None, 0, None))(vectors, pattern, inputs, none)
    alone = [network(vectors[i], pattern, inputs[i], none) for i in range(3)]
    assert np.array_equal(together, np.stack(alone))


def test_a_network_of_another_size_is_refused_in_words() -> None:
    layers, masks = random_network(np.random.default_rng(0), [6, 8, 2], [0.3, 0.3])
    layout = layout_of([6, 8, 2], masks)
    vector, pattern = to_vector(layout, layers, masks), pattern_of(layout, masks)
    inputs, none = np.ones((5, 6), np.float32), np.ones((5, 0), np.float32)

    def changed(at: int, number: int) -> np.ndarray:
        return np.concatenate([pattern[:at], np.array([number], np.int32), pattern[at + 1 :]])

    for arguments, why in (
        ((vector[:-1], pattern, inputs, none), "parameters of another network"),
        ((np.append(vector, np.float32(0)), pattern, inputs, none), "a pattern of another network"),
        ((vector, pattern[:-1], inputs, none), "a pattern that is too short"),
        ((vector, np.append(pattern, np.int32(0)), inputs, none), "a pattern of another network"),
        ((vector, changed(0, 9), inputs, none), "a pattern with a wrong number of units"),
        ((vector, changed(10, -1), inputs, none), "a pattern with a wrong number of survivors"),
        ((vector, changed(10, 13), inputs, none), "a pattern with lists of wrong lengths"),
        ((vector, changed(10, 48), inputs, none), "a pattern that is too short"),
        ((vector, pattern, inputs[:, :-1], none), "inputs or outputs of wrong sizes"),
    ):
        with pytest.raises(jax.errors.JaxRuntimeError, match=f"rlottery's kernels got {why}"):
            compact_mlp(layout, "relu", *arguments)


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_networks_may_be_compact_or_not(activation: Activation) -> None:
    layers, masks = random_network(np.random.default_rng(0), [6, 8, 2], [0.3, None])
    layout = layout_of([6, 8, 2], masks)
    params = {f"layer_{index}": layer for index, layer in enumerate(layers)}
    compact = Compact(to_vector(layout, layers, masks), layout)
    inputs = np.random.default_rng(1).normal(size=(9, 6)).astype(np.float32)
    dense = partial(mlp, params, activation=activation)
    found = mlp(compact, inputs, activation=activation, pattern=pattern_of(layout, masks))
    np.testing.assert_allclose(found, dense(inputs), atol=1e-6)
    np.testing.assert_allclose(dense(inputs[:, :2], inputs[:, 2:]), dense(inputs), atol=1e-6)
    np.testing.assert_allclose(mlp_in_numpy(params, inputs[0], activation), found[0], atol=1e-6)
