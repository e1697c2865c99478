"""Mask files: a pickle of plain dicts and bool arrays that needs only NumPy to load, and a safe way to read it.

    {group: {path: bool (inputs, outputs)}, ..., "metadata": {...}}

You can open one with `pickle.load`. rlottery itself never does, because files may come from strangers.
"""

import hashlib
import io
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.inert_pickle import read_plain_pickle
from rlottery.pruning.masks import MASK_FORMAT, Mask, check_group_mask, digest, in_layer_order, layer_counts
from rlottery.safety.regular_files import NotRegularError, read_bytes

MAX_MASK_BYTES = 256 * 2**20
"""Largest mask file that is read: with one byte per weight, 268 million weights."""

PROTOCOL = 4
"""Pickle protocol, which every Python since 3.4 reads."""

_METADATA_TYPES: dict[str, tuple[type, ...]] = {
    "format_version": (int,),
    "task": (str,),
    "seed": (int,),
    "method": (str,),
    "criterion": (str,),
    "estimator": (str, type(None)),
    "sparsity_asked": (dict,),
    "sparsity_reached": (dict,),
    "layers": (dict,),
    "fingerprint": (dict,),
    "digest": (str,),
}
_PICKLES = (b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files of each protocol that is read begin."""
_LARGEST_SEED = 2**63 - 1
_CHECKSUM = "checksum"
_MAX_DEPTH = 16
_REMEDY = "Make the mask again: create_ticket=True, or `rlottery run --stages mask`, or see docs/mask-files.md."


class _PortablePickler(pickle.Pickler):
    """Writes arrays by public names only.

    By default, NumPy 2 writes `numpy._core`, which NumPy before 1.26 doesn't have, and NumPy 1 writes `numpy.core`,
    which may be removed. `numpy.ndarray` and `numpy.dtype` are in both.
    """

    def reducer_override(self, obj: object) -> Any:
        if type(obj) is np.ndarray:
            # Not an empty shape: a constant tuple would be written once and then referenced.
            return np.ndarray, (obj.shape, "b1"), (1, obj.shape, np.dtype(np.bool_), False, obj.tobytes())
        if isinstance(obj, np.dtype):
            return np.dtype, ("b1",)
        return NotImplemented


def mask_to_bytes(mask: Mask) -> bytes:
    """The content of a mask file. Its metadata get a `checksum` of all other metadata.

    Raises:
        MaskError: the file couldn't be read again, because metadata are not plain values, the digest isn't that of this
            mask, a layer is not a bool matrix, or the file has more than MAX_MASK_BYTES.
    """
    metadata = _plain_copy(mask.metadata, "metadata")
    groups = {
        # Copies, because an array that occurs twice would be written as a reference.
        group: {path: np.array(layer, order="C") for path, layer in check_group_mask(layers, group).items()}
        for group, layers in mask.groups.items()
    }
    stream = io.BytesIO()
    content = groups | {"metadata": metadata | {_CHECKSUM: _checksum(metadata)}}
    _PortablePickler(stream, protocol=PROTOCOL).dump(content)
    data = stream.getvalue()
    mask_from_bytes(data, "the mask to be written")
    return data


def mask_from_bytes(data: bytes, where: str) -> Mask:
    """The mask in the content of a file. Nothing that the content names is executed.

    Args:
        data: at most MAX_MASK_BYTES.
        where: the file, for messages.

    Returns:
        The mask that was passed to `mask_to_bytes`; its arrays are read-only.

    Raises:
        MaskError: the file isn't a mask file of this version, or is damaged, edited or hostile.
    """
    try:
        if len(data) > MAX_MASK_BYTES:
            raise MaskError(f"it has more than {MAX_MASK_BYTES} bytes")
        if not data:
            raise MaskError("it is empty")
        if data[:2] not in _PICKLES:
            raise MaskError("it is not a pickle of protocol 3, 4 or 5")
        return _checked_mask(read_plain_pickle(data))
    except MaskError as error:
        raise MaskError(f"{where} can't be used as a mask: {str(error)[:500]}. {_REMEDY}") from error


def read_mask(path: Path) -> Mask:
    """Reads a mask file.

    Raises:
        MaskError: the file is missing, unreadable, not a regular file, larger than MAX_MASK_BYTES, or refused by
            `mask_from_bytes`.
    """
    return mask_from_bytes(read_mask_bytes(path), str(path))


def read_mask_bytes(path: Path) -> bytes:
    """The content of a file for `mask_from_bytes`.

    Raises:
        MaskError: the file is missing, unreadable, larger than MAX_MASK_BYTES or not a regular file.
    """
    try:
        return read_bytes(path, MAX_MASK_BYTES)
    except FileNotFoundError as error:
        raise MaskError(f"There is no mask at {path}. {_REMEDY}") from error
    except NotRegularError as error:
        raise MaskError(f"{path} can't be used as a mask: it is not a regular file. {_REMEDY}") from error
    # ValueError: too large, or a null character in the path.
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise MaskError(f"The mask {path} can't be read: {why}. {_REMEDY}") from error


def _checked_mask(content: object) -> Mask:
    if type(content) is not dict:
        raise MaskError(f"it contains a {type(content).__name__}, not a dict")
    if "metadata" not in content:
        raise MaskError("it has no key 'metadata'")
    metadata = _plain_copy(content["metadata"], "metadata")
    checksum = _check_metadata(metadata)
    names = list(metadata["layers"])
    if missing := [group for group in names if group not in content]:
        raise MaskError(f"it has no key {_shown(missing[:1])}")
    if other := [key for key in content if key not in (*names, "metadata")]:
        raise MaskError(f"it has other keys than metadata and its groups: {_shown(other)}")
    if not names:
        raise MaskError("it has no masks")
    groups = {group: in_layer_order(check_group_mask(content[group], group[:200])) for group in names}
    mask = Mask(groups, metadata)
    if metadata["digest"] != digest(mask):
        raise MaskError("it is corrupt: its weights do not match metadata['digest']")
    if checksum != _checksum(metadata):
        raise MaskError("it is corrupt or was edited: its metadata do not match metadata['checksum']")
    counts = {group: layer_counts(layers) for group, layers in mask.groups.items()}
    if any(type(layers) is not dict for layers in metadata["layers"].values()):
        raise MaskError("its metadata['layers'] is not a dict of dicts")
    metadata["layers"] = {group: in_layer_order(layers) for group, layers in metadata["layers"].items()}
    # Compared as text, because the order of the layers matters: it says how they are connected.
    if repr(metadata["layers"]) != repr(counts):
        raise MaskError("it is corrupt: its layers do not match metadata['layers']")
    for key in ("sparsity_asked", "sparsity_reached"):
        shares = metadata[key]
        valid = all(type(share) is float and 0 <= share <= 1 for share in shares.values())
        if shares.keys() != counts.keys() or not valid:
            raise MaskError(f"its metadata[{key!r}] doesn't have a float from 0 to 1 for each group")
    return mask


def _check_metadata(metadata: Any) -> object:
    """Removes the checksum from `metadata` and returns it."""
    if type(metadata) is not dict:
        raise MaskError(f"its key 'metadata' contains a {type(metadata).__name__}, not a dict")
    for key in (*_METADATA_TYPES, _CHECKSUM):
        if key not in metadata:
            raise MaskError(f"it has no metadata[{key!r}]")
    if metadata["format_version"] != MASK_FORMAT:
        raise MaskError(f"it has format_version {metadata['format_version']!r}, not {MASK_FORMAT}")
    for key, types in _METADATA_TYPES.items():
        if type(metadata[key]) not in types:
            raise MaskError(f"metadata[{key!r}] is of type {type(metadata[key]).__name__}")
    if abs(metadata["seed"]) > _LARGEST_SEED:
        raise MaskError(f"metadata['seed'] has {metadata['seed'].bit_length()} bits, more than 63")
    checksum: object = metadata.pop(_CHECKSUM)
    return checksum


def _checksum(metadata: dict[str, Any]) -> str:
    # ascii() of plain values is exact and distinguishes 1 from 1.0 and a list from a tuple. Unlike repr(), it doesn't
    # depend on the characters that this version of Python considers printable.
    return hashlib.sha256(ascii(metadata).encode()).hexdigest()


def _plain_copy(value: object, where: str, depth: int = 0) -> Any:
    """A deep copy in which no container occurs twice.

    Raises:
        MaskError: a value is not plain, or nested too deeply.
    """
    where = where[:200]
    if depth > _MAX_DEPTH:
        raise MaskError(f"{where} is nested more than {_MAX_DEPTH} deep")
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is list or type(value) is tuple:
        return type(value)(_plain_copy(item, f"{where}[{i}]", depth + 1) for i, item in enumerate(value))
    if type(value) is dict:
        if wrong := [key for key in value if type(key) is not str]:
            raise MaskError(f"{where} has a key of type {type(wrong[0]).__name__}, not str")
        return {key: _plain_copy(item, f"{where}[{key!r}]", depth + 1) for key, item in value.items()}
    raise MaskError(f"{where} is of type {type(value).__name__}, not a plain value")


def _shown(keys: Sequence[object]) -> str:
    # repr() escapes control characters, which a terminal would obey.
    return ", ".join(map(repr, keys))[:200]
