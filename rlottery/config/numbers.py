"""Numbers in settings: the ranges in which they can be computed with, and one way of writing whole numbers."""

import math
import re
import struct
from collections.abc import Callable, Sequence

from pydantic import PlainValidator
from pydantic_core import PydanticCustomError

from rlottery.config.yaml_lines import is_number, show
from rlottery.errors import or_closest

LARGEST_COUNT = 2**31 - 1
"""Steps and updates are counted in int32 by JAX and Optax."""
LARGEST_SEED = 2**63 - 1
"""Seeds are int64 in JAX's keys and in data frames."""
LARGEST_FLOAT32 = 2.0**127 * (2 - 2.0**-23)

_SMALLEST = 2.0**-126
_EXACT = 2**53
_FLOAT32 = {
    0.0: "float32 rounds it to 0; the smallest is 1.2e-38",
    1.0: "float32 rounds it to 1; the largest below 1 is 0.99999994",
    math.inf: "float32 holds at most 3.4e38",
}


def fault(what: str, **context: object) -> PydanticCustomError:
    """An error about a value, with its message."""
    # Passed through a placeholder, because braces in the text would be read as placeholders.
    return PydanticCustomError("expected", "{what}", {"what": what, **context})


def whole(least: int, most: int = LARGEST_COUNT, word: str | None = None) -> PlainValidator:
    """A whole number from `least` to `most`, also written `1e6` or `5.0`; or that word."""
    wanted = f"a whole number of at least {least}" + (f", or {word}" if word else "")

    def check(value: object) -> int | str:
        if word is not None and value == word:
            return word
        number = value
        if isinstance(value, float) and value.is_integer():
            if _EXACT <= value <= most:
                raise fault(f"must be written without an exponent, not {show(value)}: float64 may have rounded it")
            number = int(value)
        if is_too_long(value):
            number = most + 1
        if isinstance(number, bool) or not isinstance(number, int) or number < least:
            raise fault(f"must be {wanted}, not {show(value)}{_unquoted(value)}{_word(value, word)}")
        if number > most:
            raise fault(f"must be at most {most:,}, not {show(value)}")
        return number

    return PlainValidator(check)


def is_too_long(value: object) -> bool:
    """Whether a value is a whole number with so many digits that YAML leaves it a text."""
    return isinstance(value, str) and len(value) > 20 and value.isdecimal()


def real(
    wanted: str,
    holds: Callable[[float], bool],
    *,
    float32: bool = False,
    word: str | None = None,
    is_share: bool = False,
) -> PlainValidator:
    """A finite number for which `holds`; or that word.

    Args:
        wanted: what it must be, for the message.
        float32: whether it is computed with in float32, where it must be finite and `holds` must be true as well.
        is_share: whether it is a share, so that a value may be meant in per cent.
    """
    wanted += f", or {word}" if word else ""

    def check(value: object) -> float | str:
        if word is not None and value == word:
            return word
        number = math.nan
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value) if abs(value) <= 2**1023 else math.nan
        if not math.isfinite(number) or not holds(number):
            hint = _unquoted(value) or _word(value, word) or (as_share(value, holds) if is_share else "")
            raise fault(f"must be {wanted}, not {show(value)}{hint}")
        if float32 and not (math.isfinite(rounded := _as_float32(number)) and holds(rounded)):
            raise fault(f"must be {wanted}, not {show(value)}: {_FLOAT32[abs(rounded)]}")
        return number

    return PlainValidator(check)


def as_share(value: object, holds: Callable[[float], bool]) -> str:
    """``; write 0.9 for 90 %``, if a value is a share in per cent, as a fraction for which `holds`; else ""."""
    given = re.fullmatch(r"([0-9]{1,3}(?:\.[0-9]{1,9})?) *%", value) if isinstance(value, str) else None
    percent = float(given[1]) if given else value
    if isinstance(percent, bool) or not isinstance(percent, int | float):
        return ""
    share = percent / 100 if 1 < percent <= 100 or given else math.nan
    return f"; write {share:.12g} for {percent:.12g} %" if holds(share) else ""


def nearest_divisors(number: int, *dividends: int, most: int = LARGEST_COUNT) -> str:
    """``; the nearest are 2 and 4``: the closest whole numbers, below and above, that divide all of these."""
    common = math.gcd(*dividends)
    small = [divisor for divisor in range(1, math.isqrt(common) + 1) if common % divisor == 0]
    return _nearest(number, [one for one in (*small, *(common // one for one in small)) if one <= most])


def nearest_multiples(number: int, of: int) -> str:
    """``; the nearest are 2048 and 4096``: the closest multiples of `of`, below and above."""
    return _nearest(number, _multiples(number, of))


def either_multiple(number: int, of: int) -> str:
    """``2048 or 4096``: the closest multiples of `of`, below and above."""
    return " or ".join(map(str, _multiples(number, of)))


def _multiples(number: int, of: int) -> list[int]:
    below = number // of * of
    return [below, below + of] if below else [of]


def _nearest(number: int, choices: Sequence[int]) -> str:
    below, above = [one for one in choices if one < number], [one for one in choices if one > number]
    nearest = [str(one) for one in (max(below, default=None), min(above, default=None)) if one is not None]
    return f"; the nearest {'is' if len(nearest) == 1 else 'are'} {' and '.join(nearest)}"


def _as_float32(number: float) -> float:
    """The nearest float32. Subnormal numbers are 0, as in compiled programs."""
    if abs(number) < _SMALLEST:
        return 0.0
    if abs(number) > LARGEST_FLOAT32:
        return math.copysign(math.inf, number)
    return float(struct.unpack("f", struct.pack("f", number))[0])


def _word(value: object, word: str | None) -> str:
    """The word that a value may be, if it is misspelt."""
    return "" if word is None else or_closest(value, [word])


def _unquoted(value: object) -> str:
    return "; leave the quotes out" if isinstance(value, str) and is_number(value) else ""
