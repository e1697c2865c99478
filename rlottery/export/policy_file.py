"""The file format of an exported policy: an .npz that needs only NumPy. docs/export.md describes its content."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlottery.agents.description import Squash
from rlottery.pruning.fold import Folded

POLICY_FORMAT = 2
"""Raised by hand when the content of the file changes. Policies that format 1 can hold are written in it."""


def policy_bytes(
    policy: Folded,
    about: Mapping[str, Any],
    squash: Squash = "tanh",
    statistics: tuple[np.ndarray, np.ndarray] | None = None,
    first_action: int | None = None,
) -> bytes:
    """The content of a policy's file.

    Args:
        about: plain values that describe the policy; format version and number of layers are added.
        squash, statistics, first_action: as of a `Policy`.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, layer in policy.params.items():
        arrays[f"{name}.bias"] = layer["bias"]
        kept = policy.masks[name]["kernel"] if policy.masks else None
        arrays |= _kernel(name, layer["kernel"], kept)
    more: dict[str, Any] = {}
    if first_action is not None:
        more["first_action"] = first_action
    elif squash != "tanh":
        more["squash"] = squash
    if statistics is not None:
        arrays |= {f"observations.{name}": of for name, of in zip(("mean", "variance"), statistics, strict=True)}
    version = POLICY_FORMAT if more or statistics is not None else 1
    described = {"format_version": version, "layers": len(policy.params), **about, **more}
    return _npz(arrays | {"about": np.array(json.dumps(described).encode())})


def _kernel(name: str, kernel: np.ndarray, kept: np.ndarray | None) -> dict[str, np.ndarray]:
    """A kernel as a matrix, or its survivors by output unit (its transpose in CSR format), whichever is smaller."""
    dense = {f"{name}.kernel": kernel}
    if kept is None:
        return dense
    units, inputs = np.nonzero(kept.T)
    starts = np.concatenate([[0], np.cumsum(np.bincount(units, minlength=kernel.shape[1]))])
    sparse = {
        f"{name}.values": kernel.T[kept.T],
        f"{name}.indices": _smallest(inputs),
        f"{name}.starts": _smallest(starts),
    }
    return min(dense, sparse, key=lambda arrays: len(_npz(arrays)))


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """Nonnegative integers in the smallest unsigned type that can hold them."""
    return numbers.astype(np.min_scalar_type(numbers.max(initial=0)))


def _npz(arrays: dict[str, np.ndarray]) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **arrays)  # type: ignore[arg-type]  # mypy thinks that an array could be called allow_pickle
    return stream.getvalue()
