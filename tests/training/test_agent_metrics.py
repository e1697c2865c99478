"""The rows about an agent, computed by hand and by the algorithms' own functions."""

import math

import jax
import numpy as np
import optax
import pytest

from rlottery.activations import ACTIVATIONS, Activation
from rlottery.agents.actor_critic import smaller_q
from rlottery.agents.base import nest_masks, to_arrays
from rlottery.training.agent_metrics import agent_row
from tests.cases import CASES, Case


def row_of(case: Case, state: object, size: int = 40, activation: Activation = "relu") -> dict[str, float]:
    networks = case.description.networks(case.spec, case.settings(8, 6, activation=activation))
    row = agent_row(case.algorithm, networks, state, case.transitions(size=size), 200, 50)
    assert (row.pop("kind"), row.pop("env_steps"), row.pop("replay_ratio")) == ("agent", 200, 0.25)
    return row


@pytest.mark.parametrize("case", CASES, ids=str)
def test_norms_and_sparsities_of_every_algorithm(case: Case) -> None:
    state = case.fresh(case.settings(8, 6))
    row = row_of(case, state)
    for group in case.groups:
        assert row[f"{group}_norm"] == pytest.approx(float(optax.tree.norm(state.params[group])), rel=1e-5)
        assert row[f"{group}_sparsity"] == 0.0 and f"{group}_gradient_norm" not in row
    kernels = {
        group: [n for n in to_arrays(state) if n.startswith(f"params.{group}.") and n.endswith("kernel")]
        for group in case.groups
    }
    shapes = {name: to_arrays(state)[name].shape for names in kernels.values() for name in names}
    masks = {
        group: {
            name.removeprefix(f"params.{group}.").removesuffix(".kernel"): np.indices(shapes[name]).sum(0) % 4 == 0
            for name in names
        }
        for group, names in kernels.items()
    }
    sparse = case.algorithm.with_masks(state, nest_masks(masks))
    for group, layers in masks.items():
        pruned = np.concatenate([~mask.ravel() for mask in layers.values()]).mean()
        assert row_of(case, sparse)[f"{group}_sparsity"] == pytest.approx(pruned)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_values_are_those_of_the_algorithm(case: Case, activation: Activation) -> None:
    state, batch = case.fresh(case.settings(8, 6)), case.transitions(size=40)
    params, observations = state.params, np.asarray(batch.observations)
    if case.name in ("sac", "td3"):
        expected = {"q_value": smaller_q(params["critic"], {}, activation, observations, np.asarray(batch.actions))}
    else:
        network, kinds = ("q", "q_value") if case.name == "dqn" else ("critic", "value")
        hidden = observations
        for name, layer in sorted(params[network].items()):
            hidden = hidden @ layer["kernel"] + layer["bias"]
            if name != "layer_2":
                hidden = np.tanh(hidden) if activation == "tanh" else np.maximum(hidden, 0)
        expected = {kinds: hidden.max(axis=1)}
    row = row_of(case, state, activation=activation)
    assert {name: row[name] for name in row if name.endswith("value")} == {
        name: pytest.approx(float(np.mean(values)), rel=1e-4) for name, values in expected.items()
    }


def test_gradient_norm_is_the_root_mean_square_of_those_of_the_updates() -> None:
    """Adam with other gradients at each update; its second moments forget with 0.999 each."""
    (case,) = [case for case in CASES if case.name == "td3"]
    state, norms = case.fresh(case.settings(8, 6)), []
    adam, moments = optax.adam(1e-3), state.optimizer["critic"]
    for number in range(5):
        gradient = jax.tree.map(lambda leaf, scale=number + 1.0: scale * np.ones_like(leaf), state.params["critic"])
        norms.append(float(optax.tree.norm(gradient)))
        moments = adam.update(gradient, moments)[1]
    row = row_of(case, state._replace(optimizer={**state.optimizer, "critic": moments}))
    weights = [0.999**age for age in reversed(range(5))]
    mean = sum(weight * norm**2 for weight, norm in zip(weights, norms, strict=True)) / sum(weights)
    assert row["critic_gradient_norm"] == pytest.approx(math.sqrt(mean), rel=1e-4)
    assert "actor_gradient_norm" not in row


def test_what_is_not_finite_is_left_out() -> None:
    (case,) = [case for case in CASES if case.name == "dqn"]
    state = case.fresh(case.settings(8, 6))
    huge = jax.tree.map(lambda leaf: 1e30 * np.ones_like(leaf), state.params)
    row = row_of(case, state._replace(params=huge))
    assert "q_value" not in row and math.isfinite(row["q_norm"])
