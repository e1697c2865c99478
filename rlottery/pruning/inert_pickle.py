"""Reads a pickle of plain values and NumPy bool arrays without running anything that it names.

A name in the file is only looked up in a short list, and every array is built from its bytes
(`rlottery.safety.pickle_machine`). Only strings, single bytes, names and dtypes can be used twice, so the result is a
tree no larger than the file. Structures that grow exponentially when they are hashed or compared can't arise.
"""

import io

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.ranking import BoolArray
from rlottery.safety.pickle_machine import DTYPE, FROMBUFFER, NDARRAY, PLAIN, RECONSTRUCT, Name, PickleMachine

MAX_OPCODES = 50_000
"""A mask needs about 30 opcodes per layer and 3 for each value of its metadata."""

MAX_TEXT = 2**20
"""Characters in all strings, each counted as often as it is used. A mask has a few thousand."""


class _BoolDtype:
    """Represents np.dtype(bool)."""


class _EmptyArray:
    """Represents an array whose shape and bytes follow later in the file."""


_KNOWN_NAMES = {NDARRAY, DTYPE} | RECONSTRUCT | FROMBUFFER

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
    return _Reader(io.BytesIO(data)).read()


class _Reader(PickleMachine):
    """Reads what a mask needs."""

    instructions, most_opcodes, most_text, holds = PLAIN, MAX_OPCODES, MAX_TEXT, "mask"

    def error(self, why: str) -> MaskError:
        return MaskError(why)

    def named(self, module: str, name: str) -> Name:
        found = Name(module, name)
        if found not in _KNOWN_NAMES:
            # !r escapes control characters, which a terminal would obey.
            raise MaskError(f"it names {str(found)[:100]!r}, which no mask needs and which was not executed")
        return found

    def called(self, function: object, arguments: object) -> object:
        return _call(function, arguments)

    def with_state(self, target: object, state: object) -> object:
        return _set_state(target, state)

    def may_repeat(self, value: object) -> bool:
        # Repeating any other value could make the result larger than the file.
        return isinstance(value, str | Name | _BoolDtype) or (type(value) is bytes and len(value) <= 1)


def _call(function: object, arguments: object) -> object:
    """What the known callables would return for a bool array. They are never called."""
    # Before any lookup: hashing a deeply nested operand would overflow the C stack.
    if not isinstance(function, Name):
        raise MaskError("it calls something that is not a function")
    match arguments:
        case (("b1" | "bool"),) | (("b1" | "bool"), False, True) if function == DTYPE:
            return _BOOL
        case (tuple(), "b1") if function == NDARRAY:
            return _EmptyArray()
        case (Name() as kind, (0,), b"b") if function in RECONSTRUCT and kind == NDARRAY:
            return _EmptyArray()
        case (content, _BoolDtype(), shape, "C") if function in FROMBUFFER:
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
