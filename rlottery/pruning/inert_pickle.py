"""Reads a pickle of plain values and NumPy bool arrays without running anything that it names.

A pickle is a program: Python's own loader calls what the file tells it to call. Restricting imports isn't enough. It
would still pass hostile arguments to NumPy, and allow structures that grow exponentially when they are hashed or
compared. So this module interprets the few opcodes that a mask needs by itself. A name in the file is only looked up in
a short list, and every array is built from its bytes. Only strings, single bytes, names and dtypes can be used twice,
so the result is a tree no larger than the file.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pickletools import OpcodeInfo, opcodes

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.ranking import BoolArray

MAX_OPCODES = 50_000
"""A mask needs about 30 opcodes per layer and 3 for each value of its metadata."""

MAX_TEXT = 2**20
"""Characters in all strings, each counted as often as it is used. A mask has a few thousand."""


@dataclass(frozen=True)
class _Name:
    """The name of a global in the file. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _BoolDtype:
    """Represents np.dtype(bool)."""


class _EmptyArray:
    """Represents an array whose shape and bytes follow later in the file."""


_NDARRAY = _Name("numpy", "ndarray")
_DTYPE = _Name("numpy", "dtype")
# NumPy 2 renamed numpy.core. Arrays written by Python's own pickle have either name.
_RECONSTRUCT = {_Name(f"numpy.{core}.multiarray", "_reconstruct") for core in ("core", "_core")}
_FROMBUFFER = {_Name(f"numpy.{core}.numeric", "_frombuffer") for core in ("core", "_core")}
_KNOWN_NAMES = {_NDARRAY, _DTYPE} | _RECONSTRUCT | _FROMBUFFER

_BOOL = _BoolDtype()
_BOOL_STATE = (3, "|", None, None, None, -1, -1, 0)


def read_plain_pickle(data: bytes) -> object:
    """The object in `data`: dicts with string keys, lists, tuples, plain scalars and bool arrays.

    Reads pickle protocols 3 to 5 as written by `mask_to_bytes`, or by `pickle.dump` of the same values with NumPy 1
    or 2. Arrays are read-only matrices. A name that the file doesn't use stays in the result as an object of a private
    type. Time and memory are linear in the size of `data`.

    Raises:
        MaskError: `data` contains anything else, which was not executed.
    """
    try:
        return _Reader(data).read()
    # Operands are missing or have impossible values.
    except (IndexError, KeyError, ValueError, OverflowError) as error:
        raise MaskError("it is truncated, damaged or not a pickle") from error


class _Reader:
    """A stack machine for a few opcodes. The pickletools module documents each of them."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BytesIO(data)
        self.stack: list[object] = []
        self.marks: list[int] = []
        self.memo: dict[object, object] = {}
        self.text = 0

    def read(self) -> object:
        for _ in range(MAX_OPCODES):
            opcode, run = _OPCODES[self.stream.read(1)]
            if opcode.name == "STOP":
                break
            run(self, opcode)
        else:
            raise MaskError(f"it contains more than {MAX_OPCODES} pickle instructions, more than any mask")
        if self.stream.read(1):
            raise MaskError("it has data after its end")
        if len(self.stack) != 1:
            raise MaskError("it doesn't contain exactly one object")
        return self.stack[0]

    def argument(self, opcode: OpcodeInfo) -> object:
        assert opcode.arg is not None
        return opcode.arg.reader(self.stream)

    def push_scalar(self, opcode: OpcodeInfo) -> None:
        self.stack.append(self.argument(opcode))

    def push_text(self, opcode: OpcodeInfo) -> None:
        self.stack.append(self._counted(self.argument(opcode)))

    def push_constant(self, opcode: OpcodeInfo) -> None:
        self.stack.append(_CONSTANTS[opcode.name]())

    def mark(self, opcode: OpcodeInfo) -> None:
        self.marks.append(len(self.stack))

    def make_tuple(self, opcode: OpcodeInfo) -> None:
        last = opcode.name[-1]
        self.stack.append(tuple(self._pop(int(last) if last.isdigit() else None)))

    def append(self, opcode: OpcodeInfo) -> None:
        items = self._pop(1 if opcode.name == "APPEND" else None)
        if type(target := self.stack[-1]) is not list:
            raise MaskError("it appends to something that is not a list")
        target.extend(items)

    def set_items(self, opcode: OpcodeInfo) -> None:
        items = self._pop(2 if opcode.name == "SETITEM" else None)
        # String keys only: hashing a nested tuple can take exponential time.
        if (
            type(target := self.stack[-1]) is not dict
            or len(items) % 2
            or any(type(key) is not str for key in items[::2])
        ):
            raise MaskError("it contains a dict whose keys are not strings")
        target.update(zip(items[::2], items[1::2], strict=True))

    def remember(self, opcode: OpcodeInfo) -> None:
        place = len(self.memo) if opcode.name == "MEMOIZE" else self.argument(opcode)
        self.memo[place] = self.stack[-1]

    def recall(self, opcode: OpcodeInfo) -> None:
        value = self.memo[self.argument(opcode)]
        # Repeating any other value could make the result larger than the file.
        if not isinstance(value, str | _Name | _BoolDtype) and not (type(value) is bytes and len(value) <= 1):
            raise MaskError(f"it uses one {type(value).__name__} in several places")
        self.stack.append(self._counted(value))

    def push_name(self, opcode: OpcodeInfo) -> None:
        if opcode.name == "STACK_GLOBAL":
            names: Sequence[object] = self._pop(2)
        else:  # Read as Python's loader does. pickletools would decode escapes in names.
            names = [self.stream.readline().rstrip(b"\n").decode("ascii") for _ in range(2)]
        self.stack.append(_known_name(*names))

    def call(self, opcode: OpcodeInfo) -> None:
        self.stack.append(_call(*self._pop(2)))

    def build(self, opcode: OpcodeInfo) -> None:
        self.stack.append(_set_state(*self._pop(2)))

    def refuse(self, opcode: OpcodeInfo) -> None:
        raise MaskError(f"it contains the pickle instruction {opcode.name}, which was not executed")

    def _counted(self, value: object) -> object:
        if isinstance(value, str):
            self.text += len(value)
            if self.text > MAX_TEXT:
                raise MaskError(f"it contains more than {MAX_TEXT} characters of text, more than any mask")
        return value

    def _pop(self, count: int | None = None) -> list[object]:
        """The `count` topmost objects, or those above the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if start < 0:
            raise MaskError("it takes from an empty stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items


_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_Run = Callable[[_Reader, OpcodeInfo], object]
_KNOWN_OPCODES: dict[str, _Run] = {
    **dict.fromkeys(("PROTO", "FRAME"), _Reader.argument),
    "MARK": _Reader.mark,
    **dict.fromkeys(_CONSTANTS, _Reader.push_constant),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), _Reader.push_scalar),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8"), _Reader.push_scalar),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE"), _Reader.push_text),
    **dict.fromkeys(("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"), _Reader.make_tuple),
    **dict.fromkeys(("APPEND", "APPENDS"), _Reader.append),
    **dict.fromkeys(("SETITEM", "SETITEMS"), _Reader.set_items),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), _Reader.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), _Reader.recall),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), _Reader.push_name),
    "REDUCE": _Reader.call,
    "BUILD": _Reader.build,
}
_OPCODES: dict[bytes, tuple[OpcodeInfo, _Run]] = {
    info.code.encode("latin-1"): (info, _KNOWN_OPCODES.get(info.name, _Reader.refuse)) for info in opcodes
}
"""Every opcode of pickle, by its byte. Those that no mask needs are refused."""


def _known_name(module: object, name: object) -> _Name:
    if type(module) is not str or type(name) is not str:
        raise MaskError("it names a global by something that is not text")
    found = _Name(module, name)
    if found not in _KNOWN_NAMES:
        # !r escapes control characters, which a terminal would obey.
        raise MaskError(f"it names {str(found)[:100]!r}, which no mask needs and which was not executed")
    return found


def _call(function: object, arguments: object) -> object:
    """What the known callables would return for a bool array. They are never called."""
    # Before any lookup: hashing a deeply nested operand would overflow the C stack.
    if not isinstance(function, _Name):
        raise MaskError("it calls something that is not a function")
    match arguments:
        case (("b1" | "bool"),) | (("b1" | "bool"), False, True) if function == _DTYPE:
            return _BOOL
        case (tuple(), "b1") if function == _NDARRAY:
            return _EmptyArray()
        case (_Name() as kind, (0,), b"b") if function in _RECONSTRUCT and kind == _NDARRAY:
            return _EmptyArray()
        case (content, _BoolDtype(), shape, "C") if function in _FROMBUFFER:
            return _bool_array(shape, content)
    raise MaskError(f"it calls {function} for something other than a C-ordered bool array")


def _set_state(target: object, state: object) -> object:
    match target, state:
        case _BoolDtype(), tuple() if state == _BOOL_STATE:
            return target
        case _EmptyArray(), (1, shape, _BoolDtype(), False, content):
            return _bool_array(shape, content)
    raise MaskError("it sets the state of something other than a C-ordered bool array")


def _bool_array(shape: object, content: object) -> BoolArray:
    if type(content) is not bytes and type(content) is not bytearray:
        raise MaskError("it contains an array whose content is not bytes")
    # Exactly two lengths, because the product of many long integers takes quadratic time.
    if type(shape) is not tuple or len(shape) != 2 or any(type(n) is not int or n < 1 for n in shape):
        raise MaskError("it contains an array that is not a matrix with at least one weight")
    if shape[0] * shape[1] != len(content):
        raise MaskError(f"it contains an array of {len(content)} bytes whose shape needs another number")
    array = np.frombuffer(bytes(content), dtype=np.uint8)
    if array.max(initial=0) > 1:
        raise MaskError("it contains a bool array with values other than 0 and 1")
    return array.view(np.bool_).reshape(shape)
