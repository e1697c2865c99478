"""The algorithms, and the groups of networks of each."""

from collections.abc import Mapping
from typing import Any, Literal, get_args

from rlottery.config.numbers import fault
from rlottery.config.yaml_lines import show_keys

AlgorithmName = Literal["sac", "td3", "dqn", "ppo"]
"""The algorithms. Each has a section of its name, with its hyperparameters."""
ALGORITHMS: tuple[AlgorithmName, ...] = get_args(AlgorithmName)
ON_POLICY: tuple[AlgorithmName, ...] = ("ppo",)
"""Those that learn from rollouts of the current policy, not from replay."""
DEFAULT_ALGORITHM: AlgorithmName = "sac"
"""The algorithm of configs that choose none. Records don't name it, as those of versions that knew no other."""
NETWORKS: dict[AlgorithmName, dict[str, int]] = {
    "sac": {"actor": 1, "critic": 2},
    "td3": {"actor": 1, "critic": 2},
    "dqn": {"q": 1},
    "ppo": {"actor": 1, "critic": 1},
}
"""The groups of networks of each algorithm, and how many networks are in each."""
GROUPS: dict[AlgorithmName, tuple[str, ...]] = {name: tuple(groups) for name, groups in NETWORKS.items()}
"""The groups of each algorithm: keys of `network`, and those of sparsities and allocations by group."""
ALL_GROUPS: tuple[str, ...] = tuple(dict.fromkeys(group for groups in GROUPS.values() for group in groups))
"""The groups of any algorithm."""


def groups_named(value: Mapping[str, Any]) -> tuple[str, ...]:
    """The groups of the algorithms whose groups a mapping names; () if it names none."""
    named = [groups for groups in dict.fromkeys(GROUPS.values()) if not value.keys().isdisjoint(groups)]
    if len(named) > 1:
        sets = " or ".join(" and ".join(groups) for groups in named)
        raise fault(f"must name the networks of one algorithm, {sets}, not {show_keys(value)}")
    return named[0] if named else ()
