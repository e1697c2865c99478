"""Reads a pickle of another tool's objects without running anything that it names.

An object of a class becomes a `Record` of its state, and so does what a function would return. NumPy arrays are built
from their bytes. Names are only accepted from a list of modules, which differs between kinds of files; they are never
imported.
"""

import io
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

import numpy as np

from rlottery.errors import ForeignFileError
from rlottery.safety.pickle_machine import (
    DTYPE,
    FROMBUFFER,
    NDARRAY,
    PLAIN,
    RECONSTRUCT,
    Name,
    PickleMachine,
    Run,
    numpy_names,
)


class UnreadableError(ForeignFileError):
    """A pickle that can't be read without executing what it names."""


MOST_AXES = 8
_MOST_DEPTH, _MOST_VALUES, _MOST_LETTERS = 8, 10_000, 1_000
_LARGEST_SIZE = 2**40
_NUMBERS = {
    f"{kind}{size}": np.dtype(f"{kind}{size}")
    for kind, sizes in {"f": (2, 4, 8), "i": (1, 2, 4, 8), "u": (1, 2, 4, 8), "b": (1,)}.items()
    for size in sizes
}
"""The dtypes of arrays that are read, by their names in a pickle."""


@dataclass(eq=False)
class Record:
    """What stands for an object of a class, or for the result of a function. Nothing was called.

    Attributes:
        name: of the class or function, with its module.
        arguments: what it would be called with.
        state: the object's attributes by name; empty if it has none.
    """

    name: str
    arguments: Any = ()
    state: Mapping[str, Any] = field(default_factory=dict)


@dataclass(eq=False)
class _Dtype:
    """Stands for a dtype. Its byte order comes with its state."""

    name: str
    order: str = "|"

    @property
    def own(self) -> "np.dtype[Any]":
        order: Any = self.order
        return _NUMBERS[self.name].newbyteorder(order)


@dataclass(eq=False)
class _EmptyArray:
    """Stands for an array whose shape and bytes follow later in the file."""

    array: np.ndarray | None = None


_SCALAR = numpy_names("multiarray", "scalar")
_ORDERED_DICT = Name("collections", "OrderedDict")
_ENCODE = Name("_codecs", "encode")
NUMPY_NAMES = {NDARRAY, DTYPE, *RECONSTRUCT, *_SCALAR, *FROMBUFFER, _ENCODE, _ORDERED_DICT}
"""What arrays and dicts need."""


class InertReader(PickleMachine):
    """Reads one pickle of objects.

    Args:
        holds: what the file should hold, for messages: "replay buffer".
        modules: the packages whose names are accepted, each with all below it, besides `NUMPY_NAMES`.
    """

    most_opcodes, most_text = 1_000_000, 2**24

    holds = "file"

    def __init__(self, stream: BinaryIO | io.BytesIO, holds: str, modules: Collection[str] = ()):
        super().__init__(stream)
        self._what, self._modules = holds, modules

    def error(self, why: str) -> ForeignFileError:
        return ForeignFileError(why)

    def named(self, module: str, name: str) -> Name:
        found = Name(module, name)
        if found not in NUMPY_NAMES and module.partition(".")[0] not in self._modules:
            shown = repr(str(found)[:100])  # escapes control characters, which a terminal would obey
            raise UnreadableError(f"it names {shown}, which no {self._what} needs and which was not executed")
        return found

    def called(self, function: object, arguments: object) -> object:
        if not isinstance(function, Name) or type(arguments) is not tuple:
            raise UnreadableError("it calls something that is not a function")
        if function not in NUMPY_NAMES:
            return Record(str(function), arguments)
        match arguments:
            case () if function == _ORDERED_DICT:
                return {}
            case (str() as kind, *_) if function == DTYPE and kind in _NUMBERS:
                return _Dtype(kind)
            case (str(), *_) if function == DTYPE:
                return Record(str(DTYPE), arguments)
            case (Name() as kind, (0,), bytes()) if function in RECONSTRUCT and kind == NDARRAY:
                return _EmptyArray()
            case (content, _Dtype() as dtype, shape, "C" | "F" as order) if function in FROMBUFFER:
                return array_of(content, dtype.own, shape, order)
            case (_Dtype() as dtype, content) if function in _SCALAR:
                return array_of(content, dtype.own, (), "C")[()]
            case (str() as text, "latin1") if function == _ENCODE:
                return text.encode("latin1")
        raise UnreadableError(f"it calls {function} for something other than an array of numbers")

    def with_state(self, target: object, state: object) -> object:
        match target, state:
            case _Dtype(), (_, "<" | ">" | "|" | "=" as order, *_):
                target.order = order
                return target
            case _EmptyArray(), (1, shape, _Dtype() as dtype, bool() as fortran, content):
                return array_of(content, dtype.own, shape, "F" if fortran else "C")
            case _EmptyArray(), (1, _, _, _, list()):
                return Record("numpy.ndarray of objects")
            case Record(), _:
                # Objects with slots have two dicts.
                parts = state if type(state) is tuple else (state,)
                target.state = {k: v for part in parts if isinstance(part, dict) for k, v in part.items()}
                return target
            case dict(), _:  # attributes of an OrderedDict, such as PyTorch's _metadata
                return target
        raise UnreadableError("it sets the state of something that has none")

    def may_repeat(self, value: object) -> bool:
        return True  # what walks through the result has a limit: `named_values`

    def is_key(self, value: object) -> bool:
        return type(value) in (str, int)

    def make_object(self, opcode: Any) -> None:
        """NEWOBJ, and NEWOBJ_EX with keyword arguments."""
        kind, arguments, *_ = self._pop(2 if opcode.name == "NEWOBJ" else 3)
        if not isinstance(kind, Name):
            raise UnreadableError("it makes an object of something that is not a class")
        self.stack.append({} if kind == _ORDERED_DICT else Record(str(kind), arguments))

    def set_items(self, opcode: Any) -> None:
        place = -3 if opcode.name == "SETITEM" else self.marks[-1] - 1
        if isinstance(self.stack[place], Record):  # a subclass of dict, whose items nobody reads
            self._pop(2 if opcode.name == "SETITEM" else None)
        else:
            super().set_items(opcode)

    def append(self, opcode: Any) -> None:
        place = -2 if opcode.name == "APPEND" else self.marks[-1] - 1
        if isinstance(self.stack[place], Record):  # such as a deque
            self._pop(1 if opcode.name == "APPEND" else None)
        else:
            super().append(opcode)

    def make_set(self, opcode: Any) -> None:
        self.stack.append(Record("set"))

    def make_frozenset(self, opcode: Any) -> None:
        self._pop(None)
        self.stack.append(Record("frozenset"))

    def add_items(self, opcode: Any) -> None:
        self._pop(None)

    def pop(self, opcode: Any) -> None:
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self._pop(1)

    instructions: ClassVar[Mapping[str, Run]] = {
        **PLAIN,
        **dict.fromkeys(("SETITEM", "SETITEMS"), set_items),
        **dict.fromkeys(("APPEND", "APPENDS"), append),
        **dict.fromkeys(("NEWOBJ", "NEWOBJ_EX"), make_object),
        "EMPTY_SET": make_set,
        "ADDITEMS": add_items,
        "FROZENSET": make_frozenset,
        "POP": pop,
        "BINPERSID": PickleMachine.push_persistent,
        "BINBYTES8": PickleMachine.push_scalar,
    }


def array_of(content: object, dtype: "np.dtype[Any]", shape: object, order: Any) -> np.ndarray:
    """A read-only array of these bytes. Raises ForeignFileError unless they have exactly the shape's size."""
    if type(content) is not bytes and type(content) is not bytearray:
        raise ForeignFileError("it contains an array whose content is not bytes")
    if type(shape) is not tuple or len(shape) > MOST_AXES:
        raise ForeignFileError("it contains an array without a shape")
    if any(type(size) is not int or not 0 <= size <= _LARGEST_SIZE for size in shape):
        raise ForeignFileError("it contains an array without a shape")
    if math.prod(shape) * dtype.itemsize != len(content):
        raise ForeignFileError(f"it contains an array of {len(content):,} bytes whose shape needs another number")
    array = np.frombuffer(content, dtype=dtype).reshape(shape, order=order)
    array.flags.writeable = False
    return array


def named_values(found: object) -> Iterator[tuple[str, object]]:
    """What is in dicts, lists and tuples in each other, by its names and places joined with dots.

    Raises ForeignFileError: there is too much. A list that is used in many places of a file counts in each of them.
    """
    left = [("", found, 0)]
    visited = 0
    while left:
        name, value, depth = left.pop()
        if len(name) > _MOST_LETTERS:
            raise ForeignFileError(f"it has a name of more than {_MOST_LETTERS:,} letters")
        if not isinstance(value, dict | list | tuple):
            yield name, value
        elif depth < _MOST_DEPTH:
            visited += len(value)
            if visited > _MOST_VALUES:
                raise ForeignFileError(f"it has more than {_MOST_VALUES:,} values besides the entries of its arrays")
            items = value.items() if isinstance(value, dict) else enumerate(value)
            inner = [(f"{name}.{key}" if name else str(key), part, depth + 1) for key, part in items]
            left += reversed(inner)
