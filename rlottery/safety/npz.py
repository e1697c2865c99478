"""Reading .npz files of strangers: nothing is unpickled, and what a file declares is checked before memory is used."""

import io
import math
import zipfile

import numpy as np

from rlottery.safety.zip_files import checked_zip, read_entry

BEGINNINGS = (b"PK\3\4", b"PK\5\6")
"""How the content of an .npz file begins, and that of an empty one."""


def read_npz(data: bytes, limit: int) -> dict[str, np.ndarray]:
    """The arrays of numbers and texts in the content of an .npz file, in its order.

    Raises:
        ValueError: it is damaged, has other arrays, or its arrays have more than `limit` bytes. The message begins with
            a small letter.
    """
    arrays: dict[str, np.ndarray] = {}
    try:
        with checked_zip(io.BytesIO(data), limit) as archive:
            for entry in archive.infolist():
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"it has two entries {name[:100]!r}")
                arrays[name] = _array(read_entry(archive, entry), name)
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is not an .npz file of arrays ({str(error)[:200]})") from None
    return arrays


def _array(content: bytes, name: str) -> np.ndarray:
    """The array in the content of an .npy file, which has as many bytes as it declares."""
    stream = io.BytesIO(content)
    try:
        version = np.lib.format.read_magic(stream)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}[version]
        shape, by_column, dtype = read(stream)
    except Exception:
        raise ValueError(f"it is not an .npz file of arrays: {name[:100]!r}") from None
    rest = content[stream.tell() :]
    if dtype.kind not in "biufSU" or math.prod(shape) * dtype.itemsize != len(rest):
        raise ValueError(f"its entry {name[:100]!r} is no array of numbers, or is cut off")
    return np.frombuffer(rest, dtype).reshape(shape, order="F" if by_column else "C")
