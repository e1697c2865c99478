"""The shapes of an agent's kernels, known from the config and the task before anything is built. No JAX here."""

from collections.abc import Mapping
from itertools import pairwise

from rlottery.config import NetworkSettings
from rlottery.errors import naming
from rlottery.pruning.controls import small_widths


def kernel_shapes(
    network: NetworkSettings, observation_size: int, action_size: int
) -> dict[str, dict[str, tuple[int, int]]]:
    """Group -> layer path -> (inputs, outputs), layers from input to output: the kernels that SAC's agents have."""

    def layers(prefix: str, *widths: int) -> dict[str, tuple[int, int]]:
        return {f"{prefix}layer_{index}": shape for index, shape in enumerate(pairwise(widths))}

    actor = layers("", observation_size, *network.actor, 2 * action_size)
    twins = (layers(twin, observation_size + action_size, *network.critic, 1) for twin in ("q1.", "q2."))
    return {"actor": actor, "critic": {path: shape for layers in twins for path, shape in layers.items()}}


def count(layers: Mapping[str, tuple[int, int]]) -> int:
    """Weights of a group."""
    return sum(inputs * outputs for inputs, outputs in layers.values())


def small_network(
    network: NetworkSettings, observation_size: int, action_size: int, kept: Mapping[str, int]
) -> NetworkSettings:
    """The widths of a dense agent with no more weights than a ticket keeps, each of the twins half of the critic's.

    Args:
        kept: group -> weights.

    Raises:
        MaskError: names the group that no dense network is small enough for.
    """
    ends = {"actor": (observation_size, 2 * action_size, 1), "critic": (observation_size + action_size, 1, 2)}
    widths = {}
    for group, (inputs, outputs, networks) in ends.items():
        with naming(group):
            widths[group] = small_widths(getattr(network, group), inputs, outputs, kept[group] // networks)
    return NetworkSettings(**widths)
