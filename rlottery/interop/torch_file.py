"""Reads what `torch.save` wrote, without PyTorch: dicts, lists and tuples of tensors and plain values.

The file is a ZIP archive with a pickle, which describes the tensors, and a file of plain bytes for each storage
(https://docs.pytorch.org/docs/stable/notes/serialization.html). The pickle is interpreted and never executed.
"""

import io
import math
import zipfile
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.interop.inert_objects import MOST_AXES, NUMPY_NAMES, InertReader, Record
from rlottery.safety.pickle_machine import Name
from rlottery.safety.zip_files import checked_zip, read_entry

MOST_BYTES = 2**32
"""The most bytes of a file's tensors."""

_STORAGES = {
    "FloatStorage": "f4",
    "DoubleStorage": "f8",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "b1",
}
_TENSOR = {Name("torch._utils", "_rebuild_tensor_v2"), Name("torch._utils", "_rebuild_tensor")}
_PARAMETER = Name("torch._utils", "_rebuild_parameter")
_PLAIN = {Name("torch", "Size"), Name("torch", "device"), Name("torch.serialization", "_get_layout")}
_KNOWN = NUMPY_NAMES | _TENSOR | _PLAIN | {_PARAMETER} | {Name("torch", kind) for kind in _STORAGES}


class UnknownFileError(ForeignFileError):
    """A file that doesn't even begin as one of a known format."""


class _Storage(NamedTuple):
    """The numbers of a file that tensors are made from."""

    numbers: np.ndarray
    is_bfloat: bool


def read_torch(data: bytes) -> Any:
    """The object in a file of `torch.save`, with NumPy arrays in place of tensors. They are read-only.

    Raises:
        ForeignFileError: it is another file, or it holds something else than tensors and plain values.
    """
    try:
        with checked_zip(io.BytesIO(data), MOST_BYTES) as archive:
            return _read(archive)
    except (ValueError, zipfile.BadZipFile, MemoryError) as error:
        if data.startswith(b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."):
            raise ForeignFileError(
                "it has the format of PyTorch before 1.6. Load it with PyTorch, and save it again: "
                "torch.save(torch.load(FILE), FILE)"
            ) from None
        kind = ForeignFileError if data.startswith(b"PK") else UnknownFileError
        raise kind(f"it is not a file of torch.save, or it is damaged: {str(error)[:200]}") from None


def _read(archive: zipfile.ZipFile) -> Any:
    names = set(archive.namelist())
    pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(pickles) != 1:
        raise ValueError("it has no data.pkl")
    folder = pickles[0].partition("/")[0]
    if f"{folder}/constants.pkl" in names:
        raise ForeignFileError(
            "it is a TorchScript module, which holds code. Save the weights alone: "
            "torch.save(torch.jit.load(FILE).state_dict(), OTHER_FILE)"
        )
    named = f"{folder}/byteorder"
    order = read_entry(archive, archive.getinfo(named)) if named in names else b"little"
    return _TorchReader(archive, folder, pickles[0], ">" if order == b"big" else "<").read()


class _TorchReader(InertReader):
    """Reads data.pkl, whose persistent objects are storages."""

    def __init__(self, archive: zipfile.ZipFile, folder: str, pickle: str, order: str):
        super().__init__(io.BytesIO(read_entry(archive, archive.getinfo(pickle))), "agent's weights")
        self._archive, self._folder, self._order = archive, folder, order
        self._storages: dict[str, _Storage] = {}

    def named(self, module: str, name: str) -> Name:
        found = Name(module, name)
        if found not in _KNOWN:
            shown = repr(str(found)[:100])
            raise ForeignFileError(
                f"it names {shown}, which no weights need and which was not executed. If it holds a whole module, save "
                "the weights alone: torch.save(module.state_dict(), FILE)"
            )
        return found

    def called(self, function: object, arguments: object) -> object:
        # Before any lookup: hashing a deeply nested operand would overflow the C stack.
        if not isinstance(function, Name) or type(arguments) is not tuple:
            return super().called(function, arguments)
        if function in _TENSOR and len(arguments) >= 4:
            return _tensor(*arguments[:4])
        if function == _PARAMETER and arguments and isinstance(arguments[0], np.ndarray):
            return arguments[0]
        return super().called(function, arguments)

    def persistent(self, identity: object) -> object:
        match identity:
            case ("storage", Name(module="torch", name=kind), str() as key, _, int() as numel) if (
                kind in _STORAGES and key.isalnum()
            ):
                if key not in self._storages:
                    self._storages[key] = self._storage(kind, key, numel)
                return self._storages[key]
        raise ForeignFileError("it refers to something that is not a tensor's storage")

    def _storage(self, kind: str, key: str, numel: int) -> _Storage:
        order: Any = self._order
        dtype = np.dtype(_STORAGES[kind]).newbyteorder(order)
        try:
            entry = self._archive.getinfo(f"{self._folder}/data/{key}")
        except KeyError:
            raise ForeignFileError("it lacks the content of a tensor") from None
        content = read_entry(self._archive, entry)
        if len(content) != numel * dtype.itemsize:
            raise ForeignFileError("it has a tensor whose content has another size")
        return _Storage(np.frombuffer(content, dtype), kind == "BFloat16Storage")


def _tensor(storage: object, offset: object, sizes: object, strides: object) -> np.ndarray:
    """A view of a part of a storage."""
    if not isinstance(storage, _Storage) or type(offset) is not int:
        raise ForeignFileError("it has a tensor without a storage")
    if isinstance(sizes, Record):
        sizes = sizes.arguments[0] if type(sizes.arguments) is tuple and sizes.arguments else ()  # torch.Size
    for of in (sizes, strides):
        if type(of) is not tuple or len(of) > MOST_AXES or any(type(n) is not int or not 0 <= n < 2**40 for n in of):
            raise ForeignFileError("it has a tensor without a shape")
    assert isinstance(sizes, tuple) and isinstance(strides, tuple)
    numbers = storage.numbers
    last = offset + sum((size - 1) * stride for size, stride in zip(sizes, strides, strict=False))
    # Not more entries than numbers: a stride of 0 would make a large tensor of a single one.
    fits = len(sizes) == len(strides) and math.prod(sizes) <= len(numbers) and offset >= 0
    if not fits or (math.prod(sizes) and last >= len(numbers)):
        raise ForeignFileError("it has a tensor that exceeds its storage")
    width = numbers.itemsize
    view = np.lib.stride_tricks.as_strided(
        numbers[min(offset, len(numbers)) :], sizes, [stride * width for stride in strides], writeable=False
    )
    return (view.astype(np.uint32) << 16).view(np.float32) if storage.is_bfloat else view


def tensors_in(found: object) -> Mapping[str, np.ndarray]:
    """The tensors of a state_dict by name. Raises ForeignFileError if it is none."""
    if not isinstance(found, dict) or not found or any(type(name) is not str for name in found):
        raise ForeignFileError("it holds no state_dict: a dict of tensors by name")
    if wrong := [name for name, tensor in found.items() if not isinstance(tensor, np.ndarray)]:
        raise ForeignFileError(f"it holds no state_dict: {wrong[0][:100]!r} is not a tensor")
    return found
