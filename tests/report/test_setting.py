"""The line about the setting that a study's answers hold for."""

from typing import Any

import pytest

from rlottery.config import Config
from rlottery.report.setting import setting_line

RANKED = "one ranking over each network (global)"
TICKET = {"criterion": "magnitude", "sparsity": 0.9}


def line(**keys: Any) -> str:
    network = {"actor": [128, 128], "critic": [128, 128]}
    keys = {"tasks": ["Reacher-v5"], "seeds": [0], "network": network, "training": {"env_steps": 15000}} | keys
    return setting_line(Config.model_validate(keys))


def test_the_built_in_methods() -> None:
    assert line() == f"SAC with 2 x 128 units, 15,000 steps, {RANKED}"
    assert line(pruning={"allocation": "erk"}).endswith("15,000 steps, ERK")


def test_tasks_with_steps_of_their_own() -> None:
    tasks = ["Reacher-v5", {"id": "Hopper-v5", "training": {"env_steps": 45000}}]
    assert "units, 15,000 to 45,000 steps, " in line(tasks=tasks)


@pytest.mark.parametrize(
    ("network", "told"),
    [
        ({"actor": [64, 64], "critic": [128, 32]}, "2 x 64 units in the actor and 128, 32 in each critic"),
        ({"actor": [64], "critic": [64]}, "1 x 64 units"),
        ({"actor": [64], "critic": [64], "activation": "tanh"}, "1 x 64 tanh units"),
        (
            {"actor": [64], "critic": [9], "activation": "tanh"},
            "1 x 64 tanh units in the actor and 1 x 9 in each critic",
        ),
    ],
)
def test_networks(network: dict[str, Any], told: str) -> None:
    assert f"SAC with {told}, " in line(network=network)


@pytest.mark.parametrize(("algorithm", "critics"), [("td3", "each critic"), ("ppo", "the critic")])
def test_one_critic_or_two(algorithm: str, critics: str) -> None:
    found = line(algorithm=algorithm, network={"actor": [64], "critic": [32]})
    assert f"1 x 64 units in the actor and 1 x 32 in {critics}, " in found


@pytest.mark.parametrize(
    ("arms", "told"),
    [
        ([TICKET | {"allocation": "uniform"}, TICKET, TICKET | {"allocation": "erk"}], f", {RANKED}, ERK and uniform"),
        ([{"schedule": "rigl", "sparsity": 0.9}], ", ERK"),  # its own default
        ([{"criterion": "magnitude", "sparsity": 0.5, "structure": "units"}], " steps"),
    ],
)
def test_allocations_of_listed_arms(arms: list[Any], told: str) -> None:
    assert line(arms=arms).endswith(told)


def test_sparsities_given_by_layer() -> None:
    layers = {"actor": [0.5, 0.9, 0.5], "critic": [0.5, 0.9, 0.5]}
    assert line(arms=[{"criterion": "magnitude", "allocation": layers}]).endswith(", sparsities given by layer")
