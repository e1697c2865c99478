"""The file format of an exported policy: an .npz that needs only NumPy. docs/export.md describes its content."""

import io
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from rlottery.pruning.fold import Folded

POLICY_FORMAT = 1
"""Raised by hand when the content of the file changes."""


def policy_bytes(policy: Folded, about: Mapping[str, Any]) -> bytes:
    """The content of a policy's file.

    Args:
        about: plain values that describe the policy; format version and number of layers are added.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, layer in policy.params.items():
        arrays[f"{name}.bias"] = layer["bias"]
        kept = policy.masks[name]["kernel"] if policy.masks else None
        arrays |= _kernel(name, layer["kernel"], kept)
    described = {"format_version": POLICY_FORMAT, "layers": len(policy.params), **about}
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
