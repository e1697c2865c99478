"""What an agent's weights, gradients and values are like, computed from its state alone.

It is computed at evaluations, outside of the compiled updates: updates that returned more would be compiled in another
way, and round differently. No random number is drawn for it.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rlottery.activations import Activation, activated
from rlottery.agents.base import Algorithm, to_arrays
from rlottery.agents.description import Network
from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.transitions import Transitions

TRANSITIONS = 256
"""The most stored transitions that values are computed on, evenly spaced."""
_DECAY = 0.999
"""Of Adam's second moments, in all algorithms."""


def agent_row(
    algorithm: Algorithm,
    networks: Sequence[Network],
    state: object,
    stored: Transitions,
    env_steps: int,
    updates: int,
) -> MetricsRow:
    """The row of an agent at an environment step, after so many updates.

    - ``{group}_norm``: L2 norm of all weights of the group, with biases.
    - ``{group}_gradient_norm``: root mean square of the gradient's norm over about the last 1,000 updates, as Adam's
      second moments have it. Missing before the first update.
    - ``{group}_sparsity``: pruned share of the kernel weights.
    - ``q_value``, or ``value`` of a critic that reads observations alone: mean on stored transitions. Of twin critics
      the smaller one's; of a Q-network that of the best action.
    - ``replay_ratio``: updates per environment step until now.

    A number that isn't finite is left out.

    Args:
        networks: those of the agent (`Description.networks`).
        stored: the transitions in the replay buffer.
    """
    arrays = to_arrays(state)
    row: MetricsRow = {"kind": "agent", "env_steps": env_steps}
    for group in algorithm.description.groups:
        row[f"{group}_norm"] = _norm(_below(arrays, f"params.{group}."))
        moments = {name: array for name, array in _below(arrays, f"optimizer.{group}.").items() if ".nu." in name}
        counts = [int(array) for name, array in _below(arrays, f"optimizer.{group}.").items() if name.endswith("count")]
        if moments and counts and counts[0]:
            mean_square = sum(float(np.sum(array, dtype=np.float64)) for array in moments.values())
            row[f"{group}_gradient_norm"] = (mean_square / (1.0 - _DECAY ** counts[0])) ** 0.5
        masks = _below(arrays, f"masks.{group}.").values()
        kept, all_of_them = sum(int(mask.sum()) for mask in masks), sum(mask.size for mask in masks)
        row[f"{group}_sparsity"] = 1.0 - kept / all_of_them if all_of_them else 0.0
    with np.errstate(all="ignore"):
        values = _values(algorithm, networks, state, arrays, stored)
    row |= {name: value for name, value in values.items() if math.isfinite(value)}
    return row | {"replay_ratio": updates / env_steps}


def _values(
    algorithm: Algorithm,
    networks: Sequence[Network],
    state: object,
    arrays: Mapping[str, np.ndarray],
    stored: Transitions,
) -> dict[str, float]:
    """The mean value of some of the stored transitions, by its name; nothing if no network has values."""
    activations = {network.path: network.activation for network in networks}
    layers_of = {path: _layers(arrays, path) for path in _value_networks(arrays)}
    if not layers_of or not len(stored.rewards):
        return {}
    chosen = np.unique(np.linspace(0, len(stored.rewards) - 1, TRANSITIONS).astype(np.int64))
    acting = {name: np.asarray(array) for name, array in algorithm.acting_arrays(state).items()}
    observations = np.asarray(algorithm.see(stored.observations[chosen], acting), np.float32)
    pairs = np.concatenate([observations, stored.actions[chosen]], axis=1)
    read_actions = [layers[0][0].shape[0] == pairs.shape[1] for layers in layers_of.values()]
    outputs = [
        _outputs(layers, activations[path], pairs if reads else observations)
        for (path, layers), reads in zip(layers_of.items(), read_actions, strict=True)
    ]
    best = np.min([output.max(axis=1) for output in outputs], axis=0)
    name = "q_value" if all(read_actions) or outputs[0].shape[1] > 1 else "value"
    return {name: float(np.mean(best, dtype=np.float64))}


def _value_networks(arrays: Mapping[str, np.ndarray]) -> list[str]:
    """The paths of the networks whose outputs are values: ``critic.q1``, ``critic.q2``; ``critic``; ``q``."""
    ends = ".layer_0.kernel"
    paths = (name.removeprefix("params.").removesuffix(ends) for name in arrays if name.endswith(ends))
    return [path for path in dict.fromkeys(paths) if path.partition(".")[0] in ("critic", "q")]


def _layers(arrays: Mapping[str, np.ndarray], network: str) -> list[tuple[np.ndarray, np.ndarray]]:
    found = _below(arrays, f"params.{network}.")
    count = sum(name.endswith(".kernel") for name in found)
    return [(found[f"layer_{index}.kernel"], found[f"layer_{index}.bias"]) for index in range(count)]


def _outputs(layers: list[tuple[np.ndarray, np.ndarray]], activation: Activation, inputs: np.ndarray) -> np.ndarray:
    for kernel, bias in layers[:-1]:
        inputs = activated(activation, inputs @ kernel + bias)
    kernel, bias = layers[-1]
    outputs: np.ndarray = inputs @ kernel + bias
    return outputs


def _below(arrays: Mapping[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _norm(arrays: Mapping[str, np.ndarray]) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(array, dtype=np.float64))) for array in arrays.values())))
