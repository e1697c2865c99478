"""Files in Flax's format, made here with msgpack: what a hostile one declares takes no memory."""

import msgpack
import numpy as np
import pytest

from rlottery.errors import ForeignFileError
from rlottery.interop.flax_file import is_flax, read_flax


def array(values: np.ndarray, **changed: object) -> msgpack.ExtType:
    """An array as Flax writes it."""
    parts = {"shape": values.shape, "dtype": values.dtype.name, "content": values.tobytes(), **changed}
    return msgpack.ExtType(1, msgpack.packb(tuple(parts.values())))


def test_arrays_and_plain_values_are_read() -> None:
    kernel = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = read_flax(msgpack.packb({"params": {"kernel": array(kernel), "steps": 3, "name": "x", "no": None}}))
    np.testing.assert_array_equal(found["params"].pop("kernel"), kernel)
    assert found == {"params": {"steps": 3, "name": "x", "no": None}}


def test_bfloat16_is_read() -> None:
    halves = (np.array([1.0, -2.5], np.float32).view(np.uint32) >> 16).astype(np.uint16)
    content = msgpack.ExtType(1, msgpack.packb(((2,), "bfloat16", halves.tobytes())))
    np.testing.assert_array_equal(read_flax(msgpack.packb({"a": content}))["a"], np.array([1.0, -2.5], np.float32))


ONE = np.ones(2, np.float32)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xdf\xff\xff\xff\xff", "exceeds max_map_len"),
        (b"\x81\xa1a\xdd\xff\xff\xff\xff", "exceeds max_array_len"),
        (b"\x81\xa1a" * 100_000, "damaged"),
        (b"\x81\xa1a\xc1", "damaged"),
        (msgpack.packb({"a": 1}) + b"x", "damaged"),
        (msgpack.packb({"a": array(ONE, shape=(3,))}), "whose shape needs another number"),
        (msgpack.packb({"a": array(ONE, shape=(-2,))}), "an array without a shape"),
        (msgpack.packb({"a": array(ONE, shape=(2.0,))}), "an array without a shape"),
        (msgpack.packb({"a": array(ONE, dtype="object")}), "other than numbers"),
        (msgpack.packb({"a": array(ONE, content="text")}), "other than numbers"),
        (msgpack.packb({"a": msgpack.ExtType(1, b"\x92\x01")}), "damaged"),
        (msgpack.packb({"a": msgpack.ExtType(2, b"x")}), "neither an array nor a plain one"),
    ],
)
def test_damaged_files_are_refused(data: bytes, why: str) -> None:
    assert is_flax(data)
    with pytest.raises(ForeignFileError, match=why):
        read_flax(data)


def test_other_files_are_not_taken_for_it() -> None:
    assert not any(is_flax(data) for data in (b"", b"PK\3\4", b"\x80\x02\x8a\x0a", b"\x80\x05\x95", b"{}"))
