"""A stack machine that reads a pickle without running anything that it names.

A pickle is a program: Python's own loader calls what the file tells it to call. Restricting imports isn't enough. It
would still pass hostile arguments to whatever is allowed. So this machine interprets a few opcodes by itself. What a
name, a call and a state stand for is decided by a kind of machine for each kind of file (`rlottery.pruning` for masks,
`rlottery.interop` for files of other tools).
"""

import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pickletools import OpcodeInfo, opcodes
from typing import Any, BinaryIO, ClassVar


@dataclass(frozen=True)
class Name:
    """The name of a global in the file. It is never imported."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def numpy_names(module: str, name: str) -> set[Name]:
    """A global of NumPy's core by the names that NumPy 1 and 2 give it. Python's own pickle writes either."""
    return {Name(f"numpy.{core}.{module}", name) for core in ("core", "_core")}


NDARRAY, DTYPE = Name("numpy", "ndarray"), Name("numpy", "dtype")
RECONSTRUCT, FROMBUFFER = numpy_names("multiarray", "_reconstruct"), numpy_names("numeric", "_frombuffer")


class PickleMachine(ABC):
    """Interprets one pickle. The pickletools module documents each opcode.

    Time and memory are linear in the size of the file, unless a kind of machine lets containers be used twice.

    Args:
        stream: where the pickle begins. Reading beyond its end must not take memory.

    Attributes:
        instructions: name of an opcode -> the method that does it. All others are refused.
        most_opcodes, most_text: limits: of opcodes, and of the characters in all strings, each counted as often as it
            is used.
        holds: what such a file holds, for messages: "mask".
    """

    instructions: ClassVar[Mapping[str, "Run"]]
    most_opcodes: ClassVar[int]
    most_text: ClassVar[int]
    holds: ClassVar[str]

    def __init__(self, stream: BinaryIO | io.BytesIO) -> None:
        self.stream = stream
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[object, object] = {}
        self.text = 0

    @abstractmethod
    def error(self, why: str) -> Exception:
        """What is raised where the file holds something else; `why` is a sentence about "it"."""

    @abstractmethod
    def named(self, module: str, name: str) -> object:
        """What stands for a global of this name. It must not be imported."""

    @abstractmethod
    def called(self, function: object, arguments: object) -> object:
        """What stands for the result of a call."""

    @abstractmethod
    def with_state(self, target: object, state: object) -> object:
        """What stands for `target` once it has this state."""

    @abstractmethod
    def may_repeat(self, value: object) -> bool:
        """Whether a value may be used in several places. Containers make a result that is larger than the file."""

    def is_key(self, value: object) -> bool:
        """Whether a value may be the key of a dict. Hashing a nested tuple can take exponential time."""
        return type(value) is str

    def persistent(self, identity: object) -> object:
        """What stands for an object outside of the pickle."""
        raise self.error("it contains the pickle instruction BINPERSID, which was not executed")

    def read(self) -> object:
        """The object in the file. Raises `error`."""
        try:
            return self._read()
        # Operands are missing or have impossible values.
        except (IndexError, KeyError, ValueError, OverflowError, EOFError) as error:
            raise self.error("it is truncated, damaged or not a pickle") from error

    def _read(self) -> object:
        for _ in range(self.most_opcodes):
            opcode = _OPCODES[self.stream.read(1)]
            if opcode.name == "STOP":
                break
            self.instructions.get(opcode.name, PickleMachine.refuse)(self, opcode)
        else:
            raise self.error(
                f"it contains more than {self.most_opcodes} pickle instructions, more than any {self.holds}"
            )
        if self.stream.read(1):
            raise self.error("it has data after its end")
        if len(self.stack) != 1:
            raise self.error("it doesn't contain exactly one object")
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
            raise self.error("it appends to something that is not a list")
        target.extend(items)

    def set_items(self, opcode: OpcodeInfo) -> None:
        items = self._pop(2 if opcode.name == "SETITEM" else None)
        if type(target := self.stack[-1]) is not dict or len(items) % 2 or not all(map(self.is_key, items[::2])):
            raise self.error("it contains a dict whose keys are not strings")
        target.update(zip(items[::2], items[1::2], strict=True))

    def remember(self, opcode: OpcodeInfo) -> None:
        place = len(self.memo) if opcode.name == "MEMOIZE" else self.argument(opcode)
        self.memo[place] = self.stack[-1]

    def recall(self, opcode: OpcodeInfo) -> None:
        value = self.memo[self.argument(opcode)]
        if not self.may_repeat(value):
            raise self.error(f"it uses one {type(value).__name__} in several places")
        self.stack.append(self._counted(value))

    def push_name(self, opcode: OpcodeInfo) -> None:
        if opcode.name == "STACK_GLOBAL":
            names: Sequence[Any] = self._pop(2)
        else:  # Read as Python's loader does. pickletools would decode escapes in names.
            names = [self.stream.readline().rstrip(b"\n").decode("ascii") for _ in range(2)]
        if any(type(part) is not str for part in names):
            raise self.error("it names a global by something that is not text")
        self.stack.append(self.named(*names))

    def call(self, opcode: OpcodeInfo) -> None:
        function, arguments = self._pop(2)
        self.stack.append(self.called(function, arguments))

    def build(self, opcode: OpcodeInfo) -> None:
        target, state = self._pop(2)
        self.stack.append(self.with_state(target, state))

    def push_persistent(self, opcode: OpcodeInfo) -> None:
        (identity,) = self._pop(1)
        self.stack.append(self.persistent(identity))

    def refuse(self, opcode: OpcodeInfo) -> None:
        raise self.error(f"it contains the pickle instruction {opcode.name}, which was not executed")

    def _counted(self, value: object) -> object:
        if isinstance(value, str):
            self.text += len(value)
            if self.text > self.most_text:
                raise self.error(
                    f"it contains more than {self.most_text} characters of text, more than any {self.holds}"
                )
        return value

    def _pop(self, count: int | None = None) -> list[Any]:
        """The `count` topmost objects, or those above the last mark."""
        start = self.marks.pop() if count is None else len(self.stack) - count
        if start < 0:
            raise self.error("it takes from an empty stack")
        items = self.stack[start:]
        del self.stack[start:]
        return items


Run = Callable[[Any, OpcodeInfo], object]
"""(machine, opcode) -> None: does the opcode."""

_CONSTANTS: dict[str, Callable[[], object]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
PLAIN: Mapping[str, Run] = {
    **dict.fromkeys(("PROTO", "FRAME"), PickleMachine.argument),
    "MARK": PickleMachine.mark,
    **dict.fromkeys(_CONSTANTS, PickleMachine.push_constant),
    **dict.fromkeys(("BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"), PickleMachine.push_scalar),
    **dict.fromkeys(("SHORT_BINBYTES", "BINBYTES", "BYTEARRAY8"), PickleMachine.push_scalar),
    **dict.fromkeys(("SHORT_BINUNICODE", "BINUNICODE"), PickleMachine.push_text),
    **dict.fromkeys(("TUPLE1", "TUPLE2", "TUPLE3", "TUPLE"), PickleMachine.make_tuple),
    **dict.fromkeys(("APPEND", "APPENDS"), PickleMachine.append),
    **dict.fromkeys(("SETITEM", "SETITEMS"), PickleMachine.set_items),
    **dict.fromkeys(("MEMOIZE", "BINPUT", "LONG_BINPUT"), PickleMachine.remember),
    **dict.fromkeys(("BINGET", "LONG_BINGET"), PickleMachine.recall),
    **dict.fromkeys(("GLOBAL", "STACK_GLOBAL"), PickleMachine.push_name),
    "REDUCE": PickleMachine.call,
    "BUILD": PickleMachine.build,
}
"""The opcodes that plain values and arrays need."""

_OPCODES: dict[bytes, OpcodeInfo] = {info.code.encode("latin-1"): info for info in opcodes}
"""Every opcode of pickle, by its byte."""
