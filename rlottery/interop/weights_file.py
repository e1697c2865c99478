"""Reads agents whose file has nothing but weights: of PyTorch, Flax, or safetensors.

Such a file doesn't say what the weights are for. Those of CleanRL's scripts are known by the names of their layers; for
others a mapping says it (`rlottery.interop.mapping`).
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent, Layer, Naming, Weights, agent_of_arrays, network_arrays
from rlottery.interop.cleanrl import read_cleanrl
from rlottery.interop.flax_file import is_flax, read_flax
from rlottery.interop.inert_objects import named_values
from rlottery.interop.mapping import Mapping as MappingFile
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


def read_weights(path: Path, data: bytes, mapping: MappingFile | None) -> ForeignAgent:
    """The agent in a file of weights.

    Args:
        data: the file's content.
        mapping: which tensors are which layers; None: those of CleanRL.

    Raises ForeignFileError: it can't be read, or it isn't known what its weights are for.
    """
    if path.suffix == ".safetensors":
        tensors = _safetensors(data)
    else:
        found = read_flax(data) if is_flax(data) else read_torch(data)
        tensors = {name: value for name, value in named_values(found) if isinstance(value, np.ndarray)}
    if not tensors:
        raise ForeignFileError("it has no tensors")
    return read_cleanrl(tensors) if mapping is None else _mapped(tensors, mapping)


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
    note = f"That its hidden layers have {mapping.activation} is what the mapping says; the file doesn't."
    return agent_of_arrays(algorithm, "another library", arrays, notes=(note,), activation=mapping.activation)


def _layers(modules: list[str | list[str]]) -> list[Layer]:
    return [module if isinstance(module, str) else tuple(module) for module in modules]
