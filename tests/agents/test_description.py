from collections import Counter

import jax
import pytest

from rlottery.agents import algorithms
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import kernels
from rlottery.agents.description import Spec, kernel_shapes
from rlottery.agents.sac import init_params
from rlottery.config import NetworkSettings, SACSettings
from rlottery.config.groups import NETWORKS
from rlottery.config.sections import ALGORITHMS
from tests.cases import CASES, EACH, Case, places


@pytest.mark.parametrize(
    ("network", "observation", "action"),
    [
        (NetworkSettings(), 39, 4),
        (NetworkSettings(actor=(16,), critic=(8, 4, 2)), 3, 1),
        (NetworkSettings(actor=(5,) * 12, critic=(7,) * 11), 17, 6),
    ],
)
def test_shapes_are_those_of_fresh_agents(network: NetworkSettings, observation: int, action: int) -> None:
    spec, settings = Spec(observation, action), SACSetup(SACSettings(), network)
    params = jax.eval_shape(lambda: init_params(jax.random.key(0), spec, settings))
    fresh = {group: {path: kernel.shape for path, kernel in kernels(tree).items()} for group, tree in params.items()}
    assert kernel_shapes(algorithms.SAC_DESCRIPTION.networks(spec, settings)) == fresh


def test_every_algorithm_can_be_chosen_and_is_tested() -> None:
    """The config's list and that of the agents are two: the config is read without knowing any algorithm."""
    assert tuple(algorithms.ALGORITHMS) == ALGORITHMS
    assert {case.name for case in CASES} == set(ALGORITHMS)


@EACH
def test_a_description_describes_its_functions(case: Case) -> None:
    description, settings = case.description, case.settings(5, 4)
    assert (description.name, case.algorithm.description) == (case.name, description)
    networks = description.networks(case.spec, settings)
    assert tuple(dict.fromkeys(network.group for network in networks)) == description.groups
    assert Counter(network.group for network in networks) == NETWORKS[case.name]
    assert description.copies.keys() == description.operations(settings).keys() == set(description.groups)
    state = case.fresh(settings)
    fresh = {
        group: {path: kernel.shape for path, kernel in kernels(state.params[group]).items()} for group in state.params
    }
    assert kernel_shapes(networks) == fresh
    for group, layers in fresh.items():
        for path in layers:
            assert len(places(case, state, group, path)) == description.copies[group]
    batch = case.batch()
    assert case.algorithm.losses(state, batch, jax.random.key(0), settings).keys() == set(description.groups)
    inputs = case.algorithm.layer_inputs(state, batch, settings)
    assert {
        group: {path: (of.shape[1], fresh[group][path][1]) for path, of in layers.items()}
        for group, layers in inputs.items()
    } == fresh


def test_layers_go_from_input_to_output_also_beyond_ten() -> None:
    settings = SACSetup(SACSettings(), NetworkSettings(actor=(5,) * 11, critic=(7,)))
    shapes = kernel_shapes(algorithms.SAC_DESCRIPTION.networks(Spec(3, 1), settings))
    assert list(shapes["actor"]) == [f"layer_{index}" for index in range(12)]
    assert shapes["critic"] == {
        "q1.layer_0": (4, 7),
        "q1.layer_1": (7, 1),
        "q2.layer_0": (4, 7),
        "q2.layer_1": (7, 1),
    }
