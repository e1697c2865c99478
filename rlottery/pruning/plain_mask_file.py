"""Mask files that any tool can write: an .npz or a .safetensors file with a matrix for every layer.

    actor.layer_0    (inputs, outputs): true or 1 if the weight survives
    critic.q1.layer_0
    ...

The first part of a name is the group; the rest is the path of the layer. Metadata are optional (docs/mask-files.md).
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import MaskError, typed_text
from rlottery.pruning.mask_file import MAX_MASK_BYTES, mask_from_bytes, read_mask_bytes
from rlottery.pruning.masks import Mask, digest, in_layer_order, make_mask
from rlottery.safety.file_kind import file_kind, is_safetensors
from rlottery.safety.npz import BEGINNINGS, read_npz

PLAIN = (".npz", ".safetensors")
"""How these files end."""
LONE_GROUP = "(network)"
"""The group of all layers, if the name of one of them has no dot. No network is called so."""

_PICKLE = b"\x80"
_METADATA = "metadata"
"""The entry of an .npz file, and the key of a .safetensors file, with metadata as JSON."""
_KERNEL = ".kernel"
_MAX_METADATA_BYTES = 2**20


def read_any_mask(path: Path) -> Mask:
    """Reads a mask file of any format, whatever it is called. Nothing in it is executed.

    Raises:
        MaskError: it is missing, unreadable, too large, or no mask.
    """
    data = read_mask_bytes(path)
    is_zip = data.startswith(BEGINNINGS)
    if (data.startswith(_PICKLE) and not is_safetensors(data)) or (path.suffix == ".pkl" and not is_zip):
        return mask_from_bytes(data, str(path))
    try:
        if not data:
            raise MaskError("it is empty")
        arrays, text = _from_npz(data) if is_zip else _from_safetensors(data)
        return _as_mask(arrays, _metadata(text))
    except MaskError as error:
        raise MaskError(
            f"{path} can't be used as a mask: {str(error)[:500].removesuffix('.')}. A mask file is a pickle as "
            "`mask_to_bytes` writes it, or an .npz or .safetensors file with a matrix for each layer "
            "(docs/mask-files.md)."
        ) from None


def plain_mask_bytes(mask: Mask, suffix: str) -> bytes:
    """The content of a plain mask file.

    Args:
        suffix: one of `PLAIN`.
    """
    about = {key: mask.metadata[key] for key in ("task", "seed", "criterion", "estimator")}
    about |= {"digest": digest(mask)} | dict(mask.metadata["fingerprint"])
    text, arrays = json.dumps(about), mask.all_layers
    if suffix == ".npz":
        stream = io.BytesIO()
        np.savez(stream, **arrays, **{_METADATA: np.array(text.encode())})  # type: ignore[arg-type]
        return stream.getvalue()
    import safetensors.numpy

    data: bytes = safetensors.numpy.save(arrays, {_METADATA: text})
    return data


def _as_mask(arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> Mask:
    groups: dict[str, dict[str, np.ndarray]] = {}
    layers: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        layer = name.removesuffix(_KERNEL)
        if layer in layers:
            raise MaskError(
                f"it has two matrices for the layer {layer[:100]!r}: one is called {layer[:100] + _KERNEL!r}"
            )
        layers[layer] = array
    named = all("." in layer for layer in layers)
    for layer, array in in_layer_order(layers).items():
        group, _, path = layer.partition(".") if named else (LONE_GROUP, "", layer)
        groups.setdefault(group, {})[path] = array
    if not groups:
        raise MaskError("it has no matrices")
    mask = make_mask(
        groups,
        task=about.get("task", ""),
        seed=about.get("seed", 0),
        criterion=about.get("criterion", "by hand"),
        estimator=about.get("estimator"),
        fingerprint={"parameters": about["parameters"]} if "parameters" in about else {},
    )
    if about.get("digest", digest(mask)) != digest(mask):
        raise MaskError("it is corrupt, or was edited: its matrices do not match the digest in its metadata")
    return mask


def _metadata(text: str | None) -> dict[str, Any]:
    try:
        about = {} if text is None else json.loads(text)
    except (ValueError, RecursionError):
        raise MaskError("its metadata are not JSON") from None
    if type(about) is not dict:
        raise MaskError("its metadata are not a JSON object")
    kinds: dict[str, Any] = {
        "task": str,
        "seed": int,
        "criterion": str,
        "estimator": (str, type(None)),
        "parameters": dict,
        "digest": str,
    }
    for key, kind in kinds.items():
        if key in about and (not isinstance(about[key], kind) or isinstance(about[key], bool)):
            raise MaskError(f"{key} in its metadata is of type {type(about[key]).__name__}")
    return about


def _from_npz(data: bytes) -> tuple[dict[str, np.ndarray], str | None]:
    """The arrays, and the metadata's text."""
    try:
        arrays = read_npz(data, MAX_MASK_BYTES)
    except ValueError as error:
        raise MaskError(str(error)) from None
    about = arrays.get(_METADATA)
    if about is None or about.dtype.kind not in "SU":
        return arrays, None
    return {name: array for name, array in arrays.items() if name != _METADATA}, _text(about)


def _text(array: np.ndarray) -> str:
    if array.nbytes > _MAX_METADATA_BYTES or array.ndim:
        raise MaskError("its metadata are too long, or more than one text")
    try:
        value = array.item()
        return value.decode() if isinstance(value, bytes) else str(value)
    except ValueError:
        raise MaskError("its metadata are not UTF-8 text") from None


def _from_safetensors(data: bytes) -> tuple[dict[str, np.ndarray], str | None]:
    import safetensors
    import safetensors.numpy

    try:
        arrays = safetensors.numpy.load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    except Exception as error:  # SafetensorError, and KeyError for types that NumPy doesn't have
        kind = file_kind(data)
        why = typed_text(error)[:200] if kind in (None, "a file of safetensors") else kind
        raise MaskError(f"it is none of the formats of masks ({why})") from None
    text = header.get("__metadata__", {}).get(_METADATA)
    if text is not None and len(text) > _MAX_METADATA_BYTES:
        raise MaskError("its metadata are too long")
    return dict(sorted(arrays.items())), text  # the format has no order
