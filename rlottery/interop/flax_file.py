"""Reads what `flax.serialization.to_bytes` wrote, without Flax: nested dicts of arrays and plain values.

The format is MessagePack, where an array is an extension type with its shape, the name of its dtype, and its bytes
(https://flax.readthedocs.io/en/latest/api_reference/flax.serialization.html). Nothing in it can be executed.
"""

from typing import Any

import numpy as np

from rlottery.errors import ForeignFileError, install_extra
from rlottery.interop.inert_objects import array_of

_ARRAY, _SCALAR = 1, 3
"""Flax's extension types. The other one is a complex number."""
_MOST_ENTRIES = 10_000
"""Of one dict or list. A declared length takes memory before its entries are read."""
_DTYPES = {f"float{bits}": f"f{bits // 8}" for bits in (16, 32, 64)}
_DTYPES |= {f"{kind}int{bits}": f"{kind or 'i'}{bits // 8}" for kind in ("", "u") for bits in (8, 16, 32, 64)}
_DTYPES |= {"bool": "b1", "bfloat16": "u2"}


def is_flax(data: bytes) -> bool:
    """Whether a file begins as a dict in MessagePack does, and no pickle or archive."""
    return bool(data) and (0x81 <= data[0] <= 0x8F or data[0] in (0xDE, 0xDF))


def read_flax(data: bytes) -> Any:
    """The dict in a file, with read-only NumPy arrays. Raises ForeignFileError if it is damaged or too deep."""
    try:
        import msgpack
    except ImportError as error:
        raise ForeignFileError(f"files of Flax need msgpack ({error}): {install_extra('flax')}") from None
    limits = {"max_array_len": _MOST_ENTRIES, "max_map_len": _MOST_ENTRIES}

    def extension(kind: int, content: bytes) -> Any:
        if kind not in (_ARRAY, _SCALAR):
            raise ForeignFileError("it has a value that is neither an array nor a plain one")
        match msgpack.unpackb(content, **limits):
            case [list() as shape, str() as name, bytes() as inner] if name in _DTYPES:
                array = array_of(inner, np.dtype(f"<{_DTYPES[name]}"), tuple(shape), "C")
                return (array.astype(np.uint32) << 16).view(np.float32) if name == "bfloat16" else array
        raise ForeignFileError("it has an array of something other than numbers")

    try:
        return msgpack.unpackb(data, ext_hook=extension, **limits)
    except (ValueError, RecursionError, MemoryError, msgpack.UnpackException) as error:
        why = str(error)[:200] or type(error).__name__
        raise ForeignFileError(f"it is no file of flax.serialization.to_bytes, or it is damaged: {why}") from None
