import contextlib
import os
import pickle
import pickletools
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rlottery.errors import MaskError
from rlottery.pruning.inert_pickle import MAX_OPCODES, MAX_TEXT, read_plain_pickle

plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=9),
    lambda inner: st.lists(inner) | st.lists(inner).map(tuple) | st.dictionaries(st.text(max_size=9), inner),
    max_leaves=12,
)


@given(value=plain, protocol=st.integers(3, pickle.HIGHEST_PROTOCOL))
def test_plain_values_are_read_as_python_reads_them(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert repr(read_plain_pickle(data)) == repr(pickle.loads(data))


@given(
    array=hnp.arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9))),
    protocol=st.integers(3, pickle.HIGHEST_PROTOCOL),
)
def test_arrays_are_read_as_numpy_wrote_them(array: np.ndarray, protocol: int) -> None:
    read = read_plain_pickle(pickle.dumps({"a": array, "b": ~array}, protocol))
    assert isinstance(read, dict)
    for key, expected in {"a": array, "b": ~array}.items():
        assert read[key].dtype == np.bool_
        assert read[key].flags.c_contiguous
        np.testing.assert_array_equal(read[key], expected)


def test_arrays_of_numpy_1_are_read() -> None:
    data = pickle.dumps(np.ones((2, 3), dtype=np.bool_), 3).replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    np.testing.assert_array_equal(read_plain_pickle(data), np.ones((2, 3), dtype=np.bool_))


class Calls:
    """Pickles as a call of any function with any arguments."""

    def __init__(self, function: Any, *arguments: Any, state: Any = None) -> None:
        self.parts = (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


class OddState:
    def __setstate__(self, state: object) -> None:
        raise AssertionError("ran")

    def __getstate__(self) -> object:
        return {"a": 1}


def hostile(sentinel: Path) -> dict[str, tuple[object, str]]:
    """Name -> (object to pickle, part of the message that refuses it)."""
    command = f"touch {sentinel}"
    np_load = Calls(np.load, str(sentinel))
    array = np.ones((2, 2), dtype=np.bool_)
    bool_dtype = np.dtype(np.bool_)
    return {
        "os.system": (Calls(os.system, command), r"names '(posix|nt)\.system', .* not executed"),
        "eval": (Calls(eval, f"open({str(sentinel)!r}, 'w')"), r"names 'builtins\.eval', .* not executed"),
        "exec below a dict": ({"actor": [Calls(exec, "1")]}, r"names 'builtins\.exec"),
        "getattr": (Calls(getattr, "x", "upper"), r"names 'builtins\.getattr"),
        "open": (Calls(open, str(sentinel), "w"), r"names '(_io|io)\.open"),
        "numpy.load": (np_load, r"names 'numpy\.load"),
        "a class with state": (OddState(), r"names '.*\.OddState"),
        "object array": (np.array([[object]], dtype=object), "something other than a C-ordered bool"),
        "float array": (np.ones((2, 2)), "something other than a C-ordered bool"),
        "structured dtype": (np.zeros((2, 2), dtype=[("a", "?")]), "something other than a C-ordered bool"),
        "array subclass": (np.ma.masked_array(array), r"names 'numpy\.ma"),
        "NumPy scalar": ({"seed": np.int64(3)}, r"names 'numpy.*scalar"),
        "Fortran order": (np.asfortranarray(np.ones((2, 3), dtype=np.bool_)), "C-ordered"),
        "vector": (np.ones(3, dtype=np.bool_), "not a matrix"),
        "empty matrix": (np.ones((0, 3), dtype=np.bool_), "not a matrix"),
        "giant zeros": (Calls(np.ndarray, (2**40, 2**20), "b1"), "holds a stand-in"),
        "array without state": ([Calls(np.ndarray, (0,), "b1")], "holds a stand-in"),
        "dtype twice": (Calls(np.dtype, np.dtype), "something other than a C-ordered bool"),
        "odd state of a dtype": (
            Calls(np.dtype, "b1", state=(3, "|", None, ("x",), {}, 1, 1, 0)),
            "sets the state",
        ),
        "shape too large": (_array_state((2**40, 2**20), bool_dtype, b"\1"), "needs another number"),
        "shape too small": (_array_state((1, 1), bool_dtype, b"\1\1"), "needs another number"),
        "negative shape": (_array_state((-1, -4), bool_dtype, b"\1" * 4), "not a matrix"),
        "bool as a length": (_array_state((True, 4), bool_dtype, b"\1" * 4), "not a matrix"),
        "float as a length": (_array_state((1.0, 4), bool_dtype, b"\1" * 4), "not a matrix"),
        "many giant lengths": (_array_state((2**2000,) * 1000, bool_dtype, b""), "not a matrix"),
        "text as content": (_array_state((1, 1), bool_dtype, "x"), "content is not bytes"),
        "objects as content": (_array_state((1, 1), bool_dtype, [object]), r"names 'builtins\.object"),
        "bytes other than 0 and 1": (_array_state((1, 2), bool_dtype, b"\1\2"), "values other than 0 and 1"),
        "keys that are tuples": ({(1, 2): 3}, "whose keys are not strings"),
        "set": ({1, 2}, "EMPTY_SET|builtins.set"),
        "long text": ("x" * (MAX_TEXT + 1), "more than 1048576 characters of text"),
        "text used often": (["x" * 30_000] * 40, "more than 1048576 characters of text"),
        "one list in two places": (_shared_list(), "uses one list in several places"),
    }


def _array_state(shape: object, dtype: object, content: object) -> object:
    return Calls(np.ndarray, (2, 2), "b1", state=(1, shape, dtype, False, content))


def _shared_list() -> object:
    shared: list[object] = [1]
    return [shared, shared]


@pytest.mark.parametrize("protocol", [3, 4, 5])
@pytest.mark.parametrize("name", hostile(Path("sentinel")))
def test_hostile_objects_are_refused_and_not_executed(name: str, protocol: int, tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    value, message = hostile(sentinel)[name]
    with pytest.raises(MaskError, match=message):
        _must_be_plain(read_plain_pickle(pickle.dumps(value, protocol)))
    assert not sentinel.exists()


def _must_be_plain(value: object) -> None:
    """An array that never got its content is left in the result as a private stand-in."""
    if "_EmptyArray" in repr(value):
        raise MaskError("holds a stand-in")


def test_the_hostile_commands_do_run_in_an_ordinary_loader(tmp_path: Path) -> None:
    sentinel = tmp_path / "sentinel"
    value, _ = hostile(sentinel)["os.system"]
    pickle.loads(pickle.dumps(value))
    assert sentinel.exists()


SYSTEM = b"cposix\nsystem\n"
NESTED = b"".join([b"\x80\x04", b"\x8c\x01x", b"\x85" * 40_000])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "truncated"),
        (b"\x80\x04", "truncated"),
        (b"\x80\x04.", "contain exactly one object"),
        (b"NN.", "contain exactly one object"),
        (b"N.N", "data after its end"),
        (b"\xff\xff\xff", "truncated, damaged or not a pickle"),
        (b"version https://git-lfs", "truncated|not executed"),
        (b"PK\x03\x04", "PERSID, which was not executed"),
        (b"Pid\n.", "PERSID, which was not executed"),
        (b"X\x01\x00\x00\x00aQ.", "BINPERSID, which was not executed"),
        (b"\x82\x01.", "EXT1, which was not executed"),
        (b"\x83\x01\x00.", "EXT2, which was not executed"),
        (b"\x84\x01\x00\x00\x00.", "EXT4, which was not executed"),
        (b"(S'touch x'\niposix\nsystem\n.", "STRING, which was not executed"),
        (b"(iposix\nsystem\n.", "INST, which was not executed"),
        (b"(" + SYSTEM + b"o.", r"'posix\.system', .* not executed"),
        (b"\x80\x02" + SYSTEM + b")\x81.", r"'posix\.system', .* not executed"),
        (b"\x80\x04" + b"cnumpy\nndarray\n)\x81.", "NEWOBJ, which was not executed"),
        (b"\x80\x04" + b"cnumpy\nndarray\n)}\x92.", "NEWOBJ_EX, which was not executed"),
        (b"\x80\x04\x8c\x05posix\x8c\x06system\x93.", r"'posix\.system', .* not executed"),
        (b"\x80\x04K\x01K\x02\x93.", "not text"),
        (b"cnumpy.core\nmultiarray._reconstruct\n.", "not executed"),
        (b"cnumpy\nndarray.tofile\n.", r"'numpy\.ndarray\.tofile', .* not executed"),
        (b"cos\x1b[2J\nsystem\n.", r"'os\\x1b\[2J\.system', .* not executed"),
        (b"\x8c\x03\xed\xa0\x80\x8c\x02\n\x1b\x93.", r"'\\ud800\.\\n\\x1b', .* not executed"),
        (b"c" + b"x" * 10_000 + b"\nsystem\n.", "xxx', which no mask needs"),
        (b"cnumpy\nndarray\n)R.", r"calls numpy\.ndarray for something other"),
        (b"cnumpy\nndarray\nNR.", r"calls numpy\.ndarray for something other"),
        (b"K\x01)R.", "calls something that is not a function"),
        (b"](e)R.", "calls something that is not a function"),
        (b"}}b.", "sets the state"),
        (b"R.", "empty stack"),
        (b"b.", "empty stack"),
        (b"e.", "truncated"),
        (b"(e.", "truncated"),
        (b"N(Ne.", "appends to something that is not a list"),
        (b"N(Xu.", "truncated"),
        (b"}(NNu.", "whose keys are not strings"),
        (b"}(X\x01\x00\x00\x00au.", "whose keys are not strings"),
        (b"h\x07.", "truncated"),
        (b"j\xff\xff\xff\xff.", "truncated"),
        (b"\x94.", "truncated"),
        (b"\x8b\xff\xff\xff\x7f" + b"\x01" * 9, "LONG4, which was not executed"),
        (b"B\xff\xff\xff\x7f" + b"\x01" * 9, "truncated"),
        (b"\x96" + b"\xff" * 8 + b"\x01", "truncated"),
        (b"\x96" + struct.pack("<Q", 2**62) + b"\x01", "truncated"),
        (b"\x8d" + struct.pack("<Q", 2**62) + b"x", "BINUNICODE8, which was not executed"),
        (b"I01\n.", "INT, which was not executed"),
        (b"S'\\q'\n.", "STRING, which was not executed"),
        (b"\x97.", "NEXT_BUFFER, which was not executed"),
        (b"](" + b"N" * MAX_OPCODES + b"e.", "more than 50000 pickle instructions"),
        (NESTED + b")R.", "calls something that is not a function"),
        (NESTED + b"NR.", "calls something that is not a function"),
        (b"}" + NESTED + b"Ns.", "whose keys are not strings"),
        (b"cnumpy\ndtype\n" + NESTED + b"R.", "something other than a C-ordered bool"),
        (b"cnumpy\ndtype\n" + b"X\x02\x00\x00\x00b1\x85R" + NESTED + b"b.", "sets the state"),
        # A list that holds itself, and pairs of pairs of pairs: 2**60 leaves in 300 bytes.
        (b"]q\x00h\x00a.", "uses one list in several places"),
        (b"N\x85\x94" + b"".join(b"h%c\x86\x94" % i for i in range(60)) + b".", "uses one tuple in several"),
        (b"C\x02\x01\x01\x94h\x00.", "uses one bytes in several places"),
    ],
)  # fmt: skip
def test_hostile_instructions_are_refused(data: bytes, message: str) -> None:
    started = time.process_time()
    with pytest.raises(MaskError, match=message) as caught:
        read_plain_pickle(data)
    assert str(caught.value).isprintable()
    assert time.process_time() - started < 10


@pytest.mark.parametrize("opcode", pickletools.opcodes, ids=lambda opcode: opcode.name)
def test_every_instruction_on_an_odd_stack_is_refused_or_inert(opcode: pickletools.OpcodeInfo) -> None:
    for operands in (
        b"",
        b"N",
        b"(",
        b"()",
        b"]](",
        b"}}(NN",
        b"cnumpy\nndarray\n)",
        b"cnumpy\ndtype\n(K\x00",
    ):
        for rest in (b".", b"\x00\x00\x00\x00\x00\x00\x00\x00.", b"\x01aN.", b"a\nb\n.", b"0\n."):
            with contextlib.suppress(MaskError):
                read_plain_pickle(operands + opcode.code.encode("latin-1") + rest)
