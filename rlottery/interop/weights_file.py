"""Reads agents whose file has nothing but weights: CleanRL's models, PyTorch's state_dicts, safetensors.

Such a file doesn't say what the weights are for. Those of CleanRL's scripts are known by the names of their layers; for
others a mapping says it (`rlottery.interop.mapping`).
"""

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent, Layer, Layers, Naming, Weights, network_arrays
from rlottery.interop.inert_objects import named_values
from rlottery.interop.mapping import Mapping as MappingFile
from rlottery.interop.sb3 import LOG_PROB_EPSILON
from rlottery.interop.torch_file import read_torch
from rlottery.storage.disk import arrays_in

NETWORKS = {
    "sac": ("actor", "critic.q1", "critic.q2"),
    "td3": ("actor", "critic.q1", "critic.q2"),
    "dqn": ("q",),
    "ppo": ("actor", "critic"),
}
"""The networks that an agent of each algorithm has."""
TARGETS = {
    "sac": {"critic.q1": "target_critic.q1", "critic.q2": "target_critic.q2"},
    "td3": {path: f"targets.{path}" for path in ("actor", "critic.q1", "critic.q2")},
    "dqn": {"q": "target"},
    "ppo": {},
}
"""Where an agent of each algorithm has the target of a network."""
_OWN_NAMES = ("action_scale", "action_bias")
"""What CleanRL's actors hold besides what they have learned."""


def read_weights(path: Path, data: bytes, mapping: MappingFile | None) -> ForeignAgent:
    """The agent in a file of weights.

    Args:
        data: the file's content.
        mapping: which tensors are which layers; None: those of CleanRL.

    Raises ForeignFileError: it can't be read, or it isn't known what its weights are for.
    """
    tensors = _safetensors(data) if path.suffix == ".safetensors" else _tensors(read_torch(data))
    if not tensors:
        raise ForeignFileError("it has no tensors")
    return _of_cleanrl(tensors) if mapping is None else _mapped(tensors, mapping)


def _tensors(found: object) -> Mapping[str, np.ndarray]:
    return {name: value for name, value in named_values(found) if isinstance(value, np.ndarray)}


def _safetensors(data: bytes) -> Mapping[str, np.ndarray]:
    try:
        return arrays_in(io.BytesIO(data), len(data))
    except ValueError as error:
        raise ForeignFileError(str(error)) from None


def _mapped(tensors: Mapping[str, np.ndarray], mapping: MappingFile) -> ForeignAgent:
    algorithm = mapping.algorithm
    naming = Naming(f".{mapping.weight}", f".{mapping.bias}", mapping.axes == "out_in")
    if wrong := set(mapping.networks) ^ set(NETWORKS[algorithm]):
        raise ForeignFileError(
            f"the mapping must name the networks of {algorithm}, {', '.join(NETWORKS[algorithm])}; "
            f"{sorted(wrong)[0][:100]!r} is {'missing' if sorted(wrong)[0] in NETWORKS[algorithm] else 'none of them'}"
        )
    if unknown := [name for name in mapping.targets if name not in TARGETS[algorithm]]:
        raise ForeignFileError(f"agents of {algorithm} have no target of {unknown[0][:100]!r}, which the mapping names")
    places = {f"params.{name}": modules for name, modules in mapping.networks.items()}
    places |= {TARGETS[algorithm][name]: modules for name, modules in mapping.targets.items()}
    weights = Weights(tensors)
    arrays = network_arrays(weights, {place: _layers(modules) for place, modules in places.items()}, naming)
    for name, tensor in mapping.arrays.items():
        arrays[name] = weights.take(tensor).reshape(() if name == "log_temperature" else (-1,))
    return _agent(algorithm, "another library", arrays, notes=(_ASSUMED_RELU,))


_ASSUMED_RELU = "That its hidden layers have ReLU is what the mapping says; the file doesn't."


def _layers(modules: list[str | list[str]]) -> list[Layer]:
    return [module if isinstance(module, str) else tuple(module) for module in modules]


def _of_cleanrl(tensors: Mapping[str, np.ndarray]) -> ForeignAgent:
    """An agent of one of CleanRL's scripts, which is known by the names of its layers."""
    names = {name.removesuffix(".weight") for name in tensors if name.endswith(".weight")}
    weights = Weights(tensors, [name for name in tensors if name.rpartition(".")[2] in _OWN_NAMES])
    three = {f"{part}.{layer}" for part in "12" for layer in ("fc1", "fc2", "fc3")}
    if names == three | {"0.fc1", "0.fc2", "0.fc_mu"}:
        return _actor_critic(weights, tensors, "td3", "0.fc_mu")
    if names == three | {"0.fc1", "0.fc2", "0.fc_mean", "0.fc_logstd"}:
        return _actor_critic(weights, tensors, "sac", ("0.fc_mean", "0.fc_logstd"))
    if names == {"network.0", "network.2", "network.4"}:
        arrays = network_arrays(weights, {"params.q": weights.sequence("network.")})
        return _checked(_agent("dqn", "CleanRL", arrays), weights)
    if {"critic.0", "critic.2", "critic.4"} <= names and any(name.startswith("actor") for name in names):
        raise ForeignFileError(
            "it has the layers of CleanRL's PPO, whose hidden layers have tanh, and those of agents here ReLU. If "
            "yours have ReLU, give a mapping: --mapping FILE (docs/import.md)"
        )
    shown = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
    raise ForeignFileError(
        f"it isn't known what its layers are for: {shown}. Give a mapping: --mapping FILE (docs/import.md)"
    )


def _actor_critic(weights: Weights, tensors: Mapping[str, Any], algorithm: str, last: Layer) -> ForeignAgent:
    """An actor and two critics, saved one after the other."""
    layers: dict[str, list[Layer]] = {"params.actor": ["0.fc1", "0.fc2", last]}
    layers |= {f"params.critic.q{part}": [f"{part}.fc{layer}" for layer in (1, 2, 3)] for part in (1, 2)}
    notes = []
    if algorithm == "sac":
        notes.append(
            "Its exploration is not the same: CleanRL bounds the logarithm of the standard deviation by a tanh to -5 "
            "to 2, and here it is clipped to -20 to 2. Deterministic actions are the same."
        )
        notes.append("Its temperature isn't in the file: it begins with sac.initial_temperature.")
    found: Layers = layers
    agent = _agent(algorithm, "CleanRL", network_arrays(weights, found), notes=tuple(notes))
    scale, bias = (tensors.get(f"0.{name}") for name in _OWN_NAMES)
    more: dict[str, Any] = {"settings": {"sac": {"log_prob_epsilon": LOG_PROB_EPSILON}}} if algorithm == "sac" else {}
    if scale is not None and bias is not None and scale.size == bias.size == agent.action_size:
        middle, half = (np.asarray(array, np.float32).reshape(-1) for array in (bias, scale))
        more |= {"action_low": middle - half, "action_high": middle + half}
    return _checked(_agent(algorithm, "CleanRL", agent.arrays, notes=agent.notes, **more), weights)


def _checked(agent: ForeignAgent, weights: Weights) -> ForeignAgent:
    weights.check_all_used(f"an agent of {agent.algorithm.upper()} here")
    return agent


def _agent(
    algorithm: str, library: str, arrays: Mapping[str, np.ndarray], notes: tuple[str, ...] = (), **more: Any
) -> ForeignAgent:
    """The agent with these arrays, and more of what is known of it. Its sizes are those of its networks."""
    acting = "q" if algorithm == "dqn" else "actor"
    layers = [array for name, array in arrays.items() if name.startswith(f"params.{acting}.") and array.ndim == 2]
    observations, outputs = layers[0].shape[0], layers[-1].shape[1]
    actions = outputs // 2 if algorithm == "sac" else outputs
    sizes = {"actor": (observations, outputs), "q": (observations, outputs), "critic": (observations, 1)}
    sizes |= {f"critic.q{number}": (observations + actions, 1) for number in (1, 2)}
    agent = ForeignAgent(
        algorithm,
        library,
        arrays,
        observations,
        actions,
        discrete={"dqn": True, "ppo": "log_std" not in arrays}.get(algorithm, False),
        notes=notes,
        **more,
    )
    for network, shapes in agent.networks.items():
        if (shapes[0][0], shapes[-1][1]) != sizes[network]:
            raise ForeignFileError(
                f"its network {network} has {shapes[0][0]} inputs and {shapes[-1][1]} outputs; with this actor it must "
                f"have {sizes[network][0]} and {sizes[network][1]}"
            )
    if algorithm == "sac" and outputs % 2:
        raise ForeignFileError(
            f"its actor has {outputs} outputs; one of SAC has a mean and a standard deviation for each action"
        )
    return agent
