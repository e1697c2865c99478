"""The default format of exported policies: an .npz that needs only NumPy (docs/export-formats.md)."""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rlottery.activations import DEFAULT_ACTIVATION
from rlottery.export.folded_policy import FoldedPolicy
from rlottery.export.formats import Computed
from rlottery.export.policy import POLICY_FORMAT, Policy, read_policy

_ALWAYS = (
    *("layers", "task", "seed", "arm", "sparsity", "observation_size", "action_size"),
    *("unread_observations", "rlottery", "agent_sha256"),
)


def content(policy: FoldedPolicy) -> bytes:
    """The file, in the oldest format that can hold the policy."""
    acts, arrays = policy.policy, dict[str, np.ndarray]()
    for index, ((kernel, bias), kept) in enumerate(zip(acts.layers, policy.kept, strict=True)):
        arrays[f"layer_{index}.bias"] = bias
        arrays |= _kernel(f"layer_{index}", kernel, kept)
    told, more = policy.about, dict[str, Any]()
    if acts.first_action is not None:
        more["first_action"] = acts.first_action
    elif acts.squash != "tanh":
        more["squash"] = acts.squash
    if acts.activation != DEFAULT_ACTIVATION:
        more["activation"] = acts.activation
    if acts.statistics is not None:
        arrays |= {f"observations.{name}": of for name, of in zip(("mean", "variance"), acts.statistics, strict=True)}
    described = {
        "format_version": _format(acts, more),
        **{name: told[name] for name in _ALWAYS},
        "action_low": acts.action_low.tolist(),
        "action_high": acts.action_high.tolist(),
        **more,
    }
    return _npz(arrays | {"about": np.array(json.dumps(described).encode())})


def _format(policy: Policy, more: Mapping[str, Any]) -> int:
    """The oldest format that can hold a policy: earlier versions of rlottery refuse the others."""
    if policy.activation != DEFAULT_ACTIVATION:
        return POLICY_FORMAT
    return 2 if more or policy.statistics is not None else 1


def actions(data: bytes, policy: FoldedPolicy, observations: NDArray[np.float32]) -> Computed:
    return Computed(read_policy(io.BytesIO(data), Path(policy.name))(observations), "NumPy")


def _kernel(name: str, kernel: np.ndarray, kept: np.ndarray) -> dict[str, np.ndarray]:
    """A kernel as a matrix, or its survivors by output unit (its transpose in CSR format), whichever is smaller."""
    dense = {f"{name}.kernel": kernel}
    if kept.all():
        return dense
    units, inputs = np.nonzero(kept.T)
    starts = np.concatenate([[0], np.cumsum(np.bincount(units, minlength=kernel.shape[1]))])
    sparse = {
        f"{name}.values": kernel.T[kept.T],
        f"{name}.indices": smallest(inputs),
        f"{name}.starts": smallest(starts),
    }
    return min(dense, sparse, key=lambda arrays: len(_npz(arrays)))


def smallest(numbers: np.ndarray) -> np.ndarray:
    """Nonnegative integers in the smallest unsigned type that can hold them."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # mypy thinks that an array could be called allow_pickle
    return stream.getvalue()
