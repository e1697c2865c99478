"""Reading .npz files of strangers: nothing is unpickled, and what a file declares is checked before memory is used."""

import io
import math
import zipfile

import numpy as np

_MAX_DIRECTORY_BYTES = 2**20
_END_OF_ZIP = 22
BEGINNINGS = (b"PK\3\4", b"PK\5\6")
"""How the content of an .npz file begins, and that of an empty one."""


def read_npz(data: bytes, limit: int) -> dict[str, np.ndarray]:
    """The arrays of numbers and texts in the content of an .npz file, in its order.

    Raises:
        ValueError: it is damaged, has other arrays, or its arrays have more than `limit` bytes. The message begins with
            a small letter.
    """
    end = data[-_END_OF_ZIP:]
    if not end.startswith(b"PK\5\6") or int.from_bytes(end[12:16], "little") > _MAX_DIRECTORY_BYTES:
        raise ValueError("it is a damaged .npz file, or has too many entries")
    arrays: dict[str, np.ndarray] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
            if sum(entry.file_size for entry in entries) > limit:
                raise ValueError(f"it has more than {limit} bytes")
            for entry in entries:
                name = entry.filename.removesuffix(".npy")
                if name in arrays:
                    raise ValueError(f"it has two entries {name[:100]!r}")
                arrays[name] = _array(archive.read(entry), name)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, KeyError, RuntimeError, NotImplementedError) as error:
        raise ValueError(f"it is not an .npz file of arrays ({str(error)[:200]})") from None
    except ValueError:
        raise
    except Exception:  # zlib and others raise anything for damaged files
        raise ValueError("it is not an .npz file of arrays") from None
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
