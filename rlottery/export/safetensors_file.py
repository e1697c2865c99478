"""Exported policies as safetensors, which PyTorch, JAX and NumPy load. docs/export-formats.md describes the arrays."""

import json
from dataclasses import replace

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from rlottery.activations import DEFAULT_ACTIVATION
from rlottery.export.folded_policy import FoldedPolicy
from rlottery.export.formats import Computed

_MEAN, _VARIANCE = "observations.mean", "observations.variance"


def content(policy: FoldedPolicy) -> bytes:
    """The file. `FoldedPolicy.about` is JSON in its metadata: the order of several entries would be random."""
    acts, arrays = policy.policy, dict[str, np.ndarray]()
    for index, (kernel, bias) in enumerate(acts.layers):
        arrays |= {f"layer_{index}.kernel": kernel, f"layer_{index}.bias": bias}
    if acts.statistics is not None:
        arrays |= dict(zip((_MEAN, _VARIANCE), acts.statistics, strict=True))
    if acts.first_action is None:
        arrays |= {"actions.low": acts.action_low, "actions.high": acts.action_high}
    contiguous = {name: np.asarray(array, np.float32, order="C") for name, array in arrays.items()}
    data: bytes = safetensors.numpy.save(contiguous, {"about": json.dumps(policy.about)})
    return data


def actions(data: bytes, policy: FoldedPolicy, observations: NDArray[np.float32]) -> Computed:
    arrays = safetensors.numpy.load(data)
    about = json.loads(json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])["__metadata__"]["about"])
    names = [f"layer_{index}" for index in range(about["layers"])]
    read = replace(
        policy.policy,
        layers=tuple((arrays[f"{name}.kernel"], arrays[f"{name}.bias"]) for name in names),
        statistics=(arrays[_MEAN], arrays[_VARIANCE]) if _MEAN in arrays else None,
        squash=about.get("squash", "tanh"),
        first_action=about.get("first_action"),
        activation=about.get("activation", DEFAULT_ACTIVATION),
    )
    return Computed(read(observations), "NumPy")
