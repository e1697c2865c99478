"""The shapes of an agent's kernels, known from the config and the task before anything is built. No JAX here."""

from itertools import pairwise

from rlottery.config import Network


def kernel_shapes(network: Network, observation_size: int, action_size: int) -> dict[str, dict[str, tuple[int, int]]]:
    """Group -> layer path -> (inputs, outputs), layers from input to output: the kernels that SAC's agents have."""

    def layers(prefix: str, *widths: int) -> dict[str, tuple[int, int]]:
        return {f"{prefix}layer_{index}": shape for index, shape in enumerate(pairwise(widths))}

    actor = layers("", observation_size, *network.actor, 2 * action_size)
    twins = (layers(twin, observation_size + action_size, *network.critic, 1) for twin in ("q1.", "q2."))
    return {"actor": actor, "critic": {path: shape for layers in twins for path, shape in layers.items()}}
