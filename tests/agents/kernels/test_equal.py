"""Training on the nonzeros is training under a mask: the same numbers but for rounding."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import jax
import numpy as np
import pytest

from rlottery.agents.kernels.library import find
from rlottery.agents.sac import SACState
from tests.agents.kernels.agents import (
    SPEC,
    arrays,
    copied,
    fresh,
    learned_from,
    learner,
    rollout,
    ticket,
    transitions,
)
from tests.cases import CASES, DQN, PPO, SAC, TD3, Case

pytestmark = pytest.mark.skipif(not find().usable, reason=f"the kernels are {find()}")

UPDATES = 200
PERTURBED = 3
STATES = {
    "dense": partial(fresh),
    "20 %": partial(ticket, 0.2),
    "45 %": partial(ticket, 0.45),
    "80 %": partial(ticket, 0.8),
    "90 %, ERK": partial(ticket, 0.9, "erk"),
    "95 %": partial(ticket, 0.95),
    "97 %": partial(ticket, 0.97, seed=1),
}
MADE = [pytest.param(SAC, make, id=name) for name, make in STATES.items()]
MADE += [
    pytest.param(case, partial(make, seed=5, case=case), id=f"{case}, {name}")
    for case in CASES
    if case is not SAC
    for name, make in STATES.items()
    if name in ("dense", "90 %, ERK", "97 %")
]
TANH = [replace(case, activation="tanh") for case in (SAC, TD3, DQN, PPO)]
MADE += [pytest.param(case, partial(ticket, 0.9, "erk", seed=5, case=case), id=f"{case}, 90 %, ERK") for case in TANH]
MADE += [pytest.param(TANH[0], partial(STATES[of], case=TANH[0]), id=f"{TANH[0]}, {of}") for of in ("dense", "97 %")]


@pytest.mark.parametrize(("case", "make"), MADE)
def test_an_update_is_equal_to_rounding_in_everything(case: Case, make: Callable[[], Any]) -> None:
    """Three updates: every second one of TD3 changes its actor and its targets."""
    compact, masked = (learner(make(), kernels=kernels, case=case) for kernels in (True, False))
    for number, rows in enumerate(learned_from(case)):
        found, expected = compact.update(rows), masked.update(rows)
        assert found.finite
        assert expected.finite
        assert found.metrics == pytest.approx(expected.metrics, rel=2e-5, abs=1e-6)
        # Each from the same start: what came before is tested by itself.
        one, other = arrays(compact.state), arrays(masked.state)
        assert one.keys() == other.keys()
        for name, array in one.items():
            # Moments are of gradients, or of their squares: sums over a batch, whose terms cancel.
            scale = float(np.abs(other[name]).max()) if ".mu." in name or ".nu." in name else 1.0
            np.testing.assert_allclose(array, other[name], rtol=2e-5, atol=2e-6 * scale, err_msg=f"{number} {name}")
        assert compact.algorithm.masks_hold(compact.state)
        masked.state = copied(compact.state)


def test_a_rollout_is_prepared_as_under_a_mask() -> None:
    start = ticket(0.9, "erk", case=PPO)
    compact, masked = (learner(start, kernels=kernels, case=PPO) for kernels in (True, False))
    found, expected = (agent.prepare(rollout(PPO)) for agent in (compact, masked))
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=2e-5)
    assert arrays(compact.state)["observations.count"] > 100
    observations = transitions(1, PPO)[0][:5, : SPEC.observation_size]
    seen = [agent.outputs_together(observations) for agent in (compact, masked)]
    np.testing.assert_allclose(*seen, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("sparsity", [0.45, 0.95])
def test_updates_drift_no_further_than_one_ulp_at_the_start_does(sparsity: float) -> None:
    start = ticket(sparsity)

    def trained(state: SACState, *, kernels: bool = False) -> np.ndarray:
        agent = learner(state, kernels=kernels)
        for rows in transitions(UPDATES):
            agent.update(rows)
        return np.concatenate([a.ravel() for name, a in arrays(agent.state).items() if name.startswith("params")])

    masked = trained(start)
    drift = np.linalg.norm(trained(start, kernels=True) - masked)
    by_an_ulp = [np.linalg.norm(trained(perturbed(start, seed)) - masked) for seed in range(PERTURBED)]
    assert 0 < drift <= max(by_an_ulp)


def perturbed(state: SACState, seed: int) -> SACState:
    """The state with every surviving weight and bias moved to one of the two adjacent floats."""
    generator = np.random.default_rng(seed)

    def moved(array: Any) -> np.ndarray:
        towards = np.where(generator.random(array.shape) < 0.5, np.inf, -np.inf).astype(np.float32)
        return np.where(np.asarray(array) == 0, 0, np.nextafter(np.asarray(array), towards)).astype(np.float32)

    return state._replace(params=jax.tree.map(moved, state.params))


def test_units_without_a_way_to_the_output_stand_still() -> None:
    """They are left out, which changes nothing: under a mask their gradients are zero."""
    start = ticket(0.97, seed=1)
    compact, masked = (learner(start, kernels=kernels) for kernels in (True, False))
    for rows in transitions(5):
        compact.update(rows)
        masked.update(rows)
    kernel = np.asarray(start.masks["actor"]["layer_2"]["kernel"])
    dead = ~kernel.any(axis=1)
    assert 0 < dead.sum() < len(dead)
    before, one, other = (arrays(state) for state in (start, compact.state, masked.state))
    for name in ("params.actor.layer_1.kernel", "params.actor.layer_1.bias"):
        assert np.array_equal(one[name][..., dead], before[name][..., dead])
        assert np.array_equal(other[name][..., dead], before[name][..., dead])
        assert not np.array_equal(one[name][..., ~dead], before[name][..., ~dead])


def test_units_without_input_learn_their_bias() -> None:
    start = ticket(0.97, seed=1)
    inputs = np.asarray(start.masks["actor"]["layer_0"]["kernel"]).any(axis=0)
    bias = np.asarray(start.params["actor"]["layer_0"]["bias"])
    compact, masked = (learner(start, kernels=kernels) for kernels in (True, False))
    for rows in transitions(5):
        compact.update(rows)
        masked.update(rows)
    learnt, expected = (arrays(agent.state)["params.actor.layer_0.bias"] for agent in (compact, masked))
    assert (learnt != bias)[~inputs].any()
    assert np.array_equal(learnt != bias, expected != bias)
