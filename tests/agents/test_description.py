import jax
import pytest

from rlottery.agents import algorithms
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import kernels
from rlottery.agents.description import Spec, kernel_shapes
from rlottery.agents.sac import init_params
from rlottery.config import NetworkSettings, SACSettings


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
