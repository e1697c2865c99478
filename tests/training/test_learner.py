from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from rlottery.agents.base import nest_masks, to_arrays
from rlottery.agents.compact import Packing
from rlottery.agents.kernels.layout import layout_of
from rlottery.agents.kernels.library import find
from rlottery.agents.kernels.native import Compact
from rlottery.agents.networks import mlp
from rlottery.agents.sac import SAC
from rlottery.training.compilation import compile_update, compiler_options
from rlottery.training.learner import NOISE_STEPS, CpuLearner, Noise, _CompactOutputs
from tests.agents.kernels.agents import (
    NOISE,
    SETTINGS,
    SPEC,
    arrays,
    copied,
    fresh,
    learner,
    random_masks,
    ticket,
    transitions,
)
from tests.cases import EACH, Case
from tests.compiler_options import AS_USERS_HAVE_IT

FORMS = [False, pytest.param(True, marks=pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}"))]


def observation(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=SPEC.observation_size).astype(np.float32)


def outputs(state: Any, given: np.ndarray) -> np.ndarray:
    return np.asarray(mlp(state.params["actor"], given, activation="relu"))


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("sparsity", [None, 0.2, 0.9])
def test_actions_are_the_policys(sparsity: float | None, kernels: bool) -> None:
    state = fresh() if sparsity is None else ticket(sparsity)
    agent = learner(state, kernels=kernels)
    for step in (1, NOISE_STEPS - 1, NOISE_STEPS, 5):
        given = observation(step)
        noise = jax.random.normal(jax.random.fold_in(jax.random.wrap_key_data(NOISE), step), (SPEC.action_size,))
        expected = outputs(state, given)
        np.testing.assert_allclose(agent.act_deterministic(given), SAC.exploit(expected), atol=2e-6)
        np.testing.assert_allclose(
            agent.act(given, step), SAC.explore(expected, np.asarray(noise), step, SETTINGS), atol=2e-6
        )
        assert agent.act(given, step).dtype == np.float32


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("shape", [(), (0,), (1,), (SPEC.observation_size - 1,), (SPEC.observation_size + 1,)])
def test_nothing_is_read_beyond_an_observation(shape: tuple[int, ...], kernels: bool) -> None:
    agent = learner(ticket(0.9), kernels=kernels)
    with pytest.raises(ValueError, match=r"observations have the shape \(11,\)|matmul"):
        agent.act_deterministic(np.zeros(shape, np.float32))


@pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")
def test_the_kernels_get_no_pointer_to_another_array() -> None:
    agent, given = learner(ticket(0.9), kernels=True), observation()
    expected = agent.outputs(given)
    strided = np.repeat(given, 2)[::2]
    assert not strided.flags.c_contiguous
    for same in (strided, given.astype(np.float64), given.tolist()):
        assert np.array_equal(agent.outputs(same), expected)
    compact, network = agent._compact, agent.algorithm.acting(agent.held.params)
    for wrong in (network.vector[:-1], network.vector.astype(np.float16), network.vector[None]):
        with pytest.raises(ValueError, match="float32 parameters, not"):
            compact(wrong, given[None])
    pattern = np.asarray(agent.algorithm.acting(agent.held.patterns))
    for wrong in (pattern.astype(np.int64), np.repeat(pattern, 2)[::2], pattern[None]):
        with pytest.raises(ValueError, match="the kernels read vectors of int32, not"):
            _CompactOutputs(agent._library, network.layout, "relu", wrong)
    with pytest.raises(AssertionError, match="doesn't fit its layout"):
        _CompactOutputs(agent._library, network.layout, "relu", pattern[:-1])(network.vector, given[None])


@EACH
@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize("sparsity", [None, 0.2, 0.9])
def test_several_observations_have_the_actions_of_each_alone_to_the_bit(
    sparsity: float | None, kernels: bool, case: Case
) -> None:
    state = fresh(case=case) if sparsity is None else ticket(sparsity, case=case)
    agent = learner(state, kernels=kernels, case=case)
    observations = np.stack([observation(seed) for seed in range(37)])
    observations[::3] = 0.0
    for number in (1, 2, 8, 16, 37):
        given = observations[:number]
        together, alone = agent.act_together(given, 5), [agent.act(one, 5 + i) for i, one in enumerate(given)]
        assert together.tobytes() == np.stack(alone).tobytes()
        together = agent.act_deterministic_together(given)
        assert together.tobytes() == np.stack([agent.act_deterministic(one) for one in given]).tobytes()


@pytest.mark.parametrize("kernels", FORMS)
def test_outputs_that_were_given_stay_what_they_were(kernels: bool) -> None:
    agent, observations = learner(ticket(0.9), kernels=kernels), np.stack([observation(seed) for seed in range(3)])
    given = [agent.outputs_together(observations[:number]) for number in (1, 3, 1)]
    kept = [outputs.copy() for outputs in given]
    for number in (1, 3):
        agent.outputs_together(1.0 + observations[:number])
    assert all(map(np.array_equal, given, kept))
    assert np.array_equal(given[0], given[2])


@pytest.mark.parametrize("kernels", FORMS)
def test_actions_follow_the_updates(kernels: bool) -> None:
    agent, given = learner(fresh(), kernels=kernels), observation()
    before = agent.act_deterministic(given)
    kept = before.copy()
    for rows in transitions(3):
        agent.update(rows)
    assert np.array_equal(before, kept)  # an action that was given stays what it was
    after = agent.act_deterministic(given)
    assert not np.array_equal(after, before)
    np.testing.assert_allclose(after, SAC.exploit(outputs(agent.state, given)), atol=2e-6)


@pytest.mark.parametrize("kernels", FORMS)
@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state._replace(masks=jax.tree.map(jnp.zeros_like, state.masks), patterns={}),
        lambda state: state._replace(patterns={"more": jnp.zeros(3)}),
        lambda state: state._replace(optimizer={f"{name}_": of for name, of in state.optimizer.items()}),
        lambda state: state._replace(key=jax.random.key_data(state.key)),
    ],
)
def test_an_update_of_another_structure_is_refused(spoil: Callable[[Any], Any], kernels: bool) -> None:
    def update(state: Any, batch: Any, settings: Any) -> Any:
        after, metrics = SAC.update(state, batch, settings)
        return spoil(after), metrics

    agent = CpuLearner(replace(SAC, update=update), SETTINGS, ticket(0.9), SPEC, NOISE, kernels=kernels)
    with pytest.raises(TypeError, match="The update of sac must return a state of the structure that it was given"):
        agent.update(transitions(1)[0])


@pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")
def test_padding_stays_zero() -> None:
    agent, padding = learner(ticket(0.9), kernels=True), []
    for rows in transitions(3):
        agent.update(rows)

    def look(packing: Packing, network: Compact) -> None:
        padding.append(np.asarray(network.vector[layout_of(packing.layout.widths, packing.sparse).size :]))

    SAC.map_weights(lambda group, tree: jax.tree.map(look, agent._packings[group], tree), agent.held)
    assert len(padding) == 3 * 3 + 2  # weights and both moments of three networks, and two targets
    for entries in padding:
        assert len(entries) > 0
        assert not entries.any()


@pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")
def test_padding_changes_no_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where programs are compiled as users have it. Other code for fused operations rounds some lengths otherwise."""
    options = compiler_options() | AS_USERS_HAVE_IT
    monkeypatch.setattr("rlottery.training.compilation.compiler_options", lambda: options)
    # Programs of other options are neither used here nor left behind.
    monkeypatch.setattr("rlottery.training.learner.compile_update", compile_update.__wrapped__)
    exact = CpuLearner(replace(SAC, elementwise=False), SETTINGS, ticket(0.9), SPEC, NOISE, kernels=True)
    padded = learner(ticket(0.9), kernels=True)
    for rows in transitions(5):
        assert exact.update(rows) == padded.update(rows)
    found, expected = to_arrays(padded.state), to_arrays(exact.state)
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert np.array_equal(found[name], array), name


def test_noise_of_a_step_is_what_it_would_be_alone() -> None:
    noise, key = Noise(NOISE, 3), jax.random.wrap_key_data(NOISE)
    for step in (0, 1, 700, NOISE_STEPS, 3 * NOISE_STEPS + 5, 2):
        assert np.array_equal(noise.at(step), jax.random.normal(jax.random.fold_in(key, step), (3,)))


@pytest.mark.parametrize("kernels", FORMS)
def test_a_state_that_is_set_is_the_state(kernels: bool) -> None:
    agent, other = learner(ticket(0.9), kernels=kernels), ticket(0.8, seed=3)
    agent.update(transitions(1)[0])
    agent.state = copied(other)
    assert all(np.array_equal(a, b) for a, b in zip(arrays(agent.state).values(), arrays(other).values(), strict=True))
    agent.update(transitions(1)[0])
    alone = learner(other, kernels=kernels)
    alone.update(transitions(1)[0])
    one, two = arrays(agent.state), arrays(alone.state)
    assert all(np.array_equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("kernels", FORMS)
def test_masks_may_change_between_updates(kernels: bool) -> None:
    """More and more pruned, as in gradual pruning; the two forms agree, and pruned weights stay zero."""
    agent, masked = learner(ticket(0.1), kernels=kernels, masks_change=True), learner(ticket(0.1), kernels=False)
    for sparsity, rows in zip((0.2, 0.5, 0.9), transitions(3), strict=True):
        for one in (agent, masked):
            one.state = SAC.with_masks(copied(one.state), nest_masks(random_masks(sparsity)))
            one.update(rows)
        assert SAC.masks_hold(agent.state)
        found, expected = arrays(agent.state), arrays(masked.state)
        for name in found:
            np.testing.assert_allclose(found[name], expected[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_a_network_with_more_layers_than_the_kernels_take_is_trained_without_them() -> None:
    from rlottery.config import NetworkSettings

    deep = SETTINGS._replace(network=NetworkSettings(actor=(2,) * 70, critic=(4,)))
    state = SAC.init(SAC.init_params(jax.random.key(0), SPEC, deep), jax.random.key(1), deep)
    agent = CpuLearner(SAC, deep, state, SPEC, NOISE)
    assert agent.act_deterministic(observation()).shape == (SPEC.action_size,)
