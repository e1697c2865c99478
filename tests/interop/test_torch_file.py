"""Files of `torch.save`, written here byte by byte: odd and hostile ones are refused, and nothing is executed."""

import contextlib
import io
import os
import pickle
import pickletools
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.errors import ForeignFileError
from rlottery.interop.inert_objects import InertReader, named_values
from rlottery.interop.torch_file import read_torch

FLOATS = np.arange(6, dtype="<f4")


def text(value: str) -> bytes:
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def number(value: int) -> bytes:
    return b"J" + value.to_bytes(4, "little", signed=True)


def tuple_of(*values: bytes) -> bytes:
    return b"(" + b"".join(values) + b"t"


def tensor(sizes: Any = (2, 3), strides: Any = (3, 1), offset: int = 0, numel: int = 6, kind: str = "FloatStorage",
           key: str = "0") -> bytes:  # fmt: skip
    storage = tuple_of(text("storage"), f"ctorch\n{kind}\n".encode(), text(key), text("cpu"), number(numel)) + b"Q"
    shape, steps = (tuple_of(*map(number, of)) for of in (sizes, strides))
    hooks = b"ccollections\nOrderedDict\n)R"
    return (
        b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_of(storage, number(offset), shape, steps, b"\x89", hooks) + b"R"
    )


def torch_file(instructions: bytes, **files: bytes) -> bytes:
    """An archive as `torch.save` writes it, whose data.pkl are these instructions."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("archive/data.pkl", b"\x80\x02" + instructions + b".")
        for name, data in {"data/0": FLOATS.tobytes(), **files}.items():
            archive.writestr(f"archive/{name}", data)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (tensor(), FLOATS.reshape(2, 3)),
        (tensor((3, 2), (1, 3)), FLOATS.reshape(2, 3).T),
        (tensor((2,), (1,), offset=4), FLOATS[4:]),
        (tensor((), ()), FLOATS[0]),
        (tensor((0, 3), (3, 1)), np.empty((0, 3), np.float32)),
    ],
)
def test_a_tensor_is_a_view_of_its_storage(given: bytes, expected: np.ndarray) -> None:
    found = read_torch(torch_file(b"}" + text("w") + given + b"s"))
    np.testing.assert_array_equal(found["w"], expected)
    assert found["w"].dtype == np.float32 and not found["w"].flags.writeable


def test_other_types_are_read() -> None:
    halves = read_torch(torch_file(tensor((2,), (1,), numel=2, kind="HalfStorage"), **{"data/0": b"\0\x3c\0\xc0"}))
    brain = read_torch(torch_file(tensor((2,), (1,), numel=2, kind="BFloat16Storage"), **{"data/0": b"\x80\x3f\0\xc0"}))
    longs = read_torch(torch_file(tensor((1,), (1,), numel=1, kind="LongStorage"), **{"data/0": bytes([5] + [0] * 7)}))
    big = read_torch(torch_file(tensor(), byteorder=b"big", **{"data/0": FLOATS.astype(">f4").tobytes()}))
    assert halves.tolist() == brain.tolist() == [1, -2] and longs.tolist() == [5]
    np.testing.assert_array_equal(big, FLOATS.reshape(2, 3))


NESTED = b"X\1\0\0\0x" + b"\x85" * 40_000
PAIRS = b"N" + b"".join(b"q%ch%c\x86" % (number, number) for number in range(60))
"""Tuples that can't be hashed: in each other, and pairs of one pair twice, 2**60 in all."""


@pytest.mark.parametrize(
    ("instructions", "why"),
    [
        (b"cposix\nsystem\n" + tuple_of(text("true")) + b"R", r"names 'posix\.system', .* not executed"),
        (b"cbuiltins\neval\n" + tuple_of(text("1")) + b"R", r"names 'builtins\.eval', .* not executed"),
        (b"ctorch.hub\nload\n)R", r"names 'torch\.hub\.load', .* not executed"),
        (b"c__main__\nAgent\n)\x81", r"names '__main__\.Agent', .* save the weights alone"),
        (tensor(numel=7), "content has another size"),
        (tensor(numel=-1), "content has another size"),
        (tensor(key="9"), "lacks the content of a tensor"),
        (tensor(key="../0"), "not a tensor's storage"),
        (tensor((2, 4), (3, 1)), "exceeds its storage"),
        (tensor((2, 3), (4, 1)), "exceeds its storage"),
        (tensor((1000, 1000), (0, 0)), "exceeds its storage"),
        (tensor((2, 3), (3, 1), offset=-1), "exceeds its storage"),
        (tensor((2, 3), (3, 1), offset=1), "exceeds its storage"),
        (tensor((-2, 3), (3, 1)), "without a shape"),
        (tensor((1,) * 9, (1,) * 9), "without a shape"),
        (tensor((2, 3), (3,)), "exceeds its storage"),
        (text("x") + b"Q", "not a tensor's storage"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n" + tuple_of(b"N", b"N", b"N", b"N") + b"R", "without a storage"),
        (tensor(kind="Size"), "not a tensor's storage"),
        (b"])R", "calls something that is not a function"),
        (NESTED + b")R", "calls something that is not a function"),
        (PAIRS + b")R", "calls something that is not a function"),
        (b"Pid\n", "PERSID, which was not executed"),
        (b"\x82\x01", "EXT1, which was not executed"),
        (b"N" * 3, "exactly one object"),
        (b"](" + b"N" * 1_000_000 + b"e", "more than 1000000 pickle instructions"),
    ],
)
def test_odd_and_hostile_tensors_are_refused(instructions: bytes, why: str) -> None:
    with pytest.raises(ForeignFileError, match=why) as caught:
        read_torch(torch_file(instructions))
    assert str(caught.value).isprintable()


def test_archives_that_are_none_of_torch_are_refused() -> None:
    whole = torch_file(tensor())
    for data in (b"", b"PK", whole[:-1], whole[30:], whole[:40], b"\x80\x02N."):
        with pytest.raises(ForeignFileError, match="not a file of torch.save, or it is damaged"):
            read_torch(data)
    with pytest.raises(ForeignFileError, match="TorchScript"):
        read_torch(torch_file(tensor(), **{"constants.pkl": b""}))


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda opcode: opcode.name)
def test_every_instruction_on_an_odd_stack_is_refused_or_inert(opcode: pickletools.OpcodeInfo) -> None:
    for operands in (b"", b"N", b"(", b"()", b"]](", b"}}(NN", b"cnumpy\nndarray\n)", b"ctorch\nSize\n)", b"(K\x00"):
        for rest in (b".", b"\x00\x00\x00\x00\x00\x00\x00\x00.", b"\x01aN.", b"a\nb\n.", b"0\n."):
            with contextlib.suppress(ForeignFileError):
                stream = io.BytesIO(operands + opcode.code.encode("latin-1") + rest)
                InertReader(stream, "agent", ("torch", "posix", "a")).read()
            with contextlib.suppress(ForeignFileError):
                read_torch(torch_file(operands + opcode.code.encode("latin-1") + rest))


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (b"]" + b"".join(b"q%c0](" % number + b"h%c" % number * 50 + b"e" for number in range(7)), "10,000 values"),
        (b"}" + text("x" * 1_001) + b"Ns", "name of more than 1,000 letters"),
    ],
)
def test_what_is_in_lists_many_times_over_is_refused(found: bytes, why: str) -> None:
    with pytest.raises(ForeignFileError, match=why):
        list(named_values(read_torch(torch_file(found))))


def test_what_is_in_lists_keeps_its_order() -> None:
    found = {"b": [1, (2, {"c": 3})], "a": 4, "empty": []}
    assert list(named_values(found)) == [("b.0", 1), ("b.1.0", 2), ("b.1.1.c", 3), ("a", 4)]


class Calls:
    def __init__(self, function: Any, *arguments: Any) -> None:
        self.parts = (function, arguments)

    def __reduce__(self) -> Any:
        return self.parts


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_call_becomes_a_record(protocol: int, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    data = pickle.dumps([Calls(os.system, f"touch {sentinel}"), np.arange(3), np.float64(2)], protocol)
    found: Any = InertReader(io.BytesIO(data), "thing", ("posix", "nt")).read()
    assert found[0].name.endswith(".system") and found[1].tolist() == [0, 1, 2] and found[2] == 2
    assert not sentinel.exists()
    with pytest.raises(ForeignFileError, match="which no thing needs and which was not executed"):
        InertReader(io.BytesIO(data), "thing").read()
