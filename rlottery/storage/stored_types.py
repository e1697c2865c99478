"""Types of the values in stored files: strict, and within the ranges that code which reads them can compute with."""

import re
from collections.abc import Callable
from functools import cache
from typing import Annotated, Any, TypeVar, cast

from pydantic import AfterValidator, Field, TypeAdapter

from rlottery.config.numbers import LARGEST_COUNT, LARGEST_SEED

LARGEST = 1e300
"""Scores beyond this can't be added up."""
MOST_TEXT = 10_000
"""Characters of a text that are kept."""
MOST_ENTRIES = 10_000
"""Entries of a list or a mapping that grows with a run, such as its sessions."""

_T = TypeVar("_T")


def validated(kind: type[_T], content: object) -> _T:
    """The content of a file, if all of its values have the types and ranges of their kind.

    A kind is prepared when its first file is read: that takes milliseconds, and a command reads few kinds.

    Raises pydantic's ValidationError, which is a ValueError.
    """
    found: _T = _adapter(cast(Any, kind)).validate_python(content)
    return found


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _cut(text: str) -> str:
    return text[:MOST_TEXT]


def _at_most(length: int) -> Callable[[str], str]:
    # In place of pydantic's own check, which refuses file names that are not UTF-8.
    def check(text: str) -> str:
        if len(text) > length:
            raise ValueError(f"has more than {length} characters")
        return text

    return check


Number = Annotated[float, Field(strict=True, ge=-LARGEST, le=LARGEST)]
Seconds = Annotated[float, Field(strict=True, ge=0, le=1e12)]
Moment = Annotated[float, Field(strict=True, ge=0, le=1e11)]
"""Seconds since 1970. The most is in the year 5138, which calendars know."""
Share = Annotated[float, Field(strict=True, ge=0, le=1)]
Count = Annotated[int, Field(strict=True, ge=0, le=2**53)]
Seed = Annotated[int, Field(strict=True, ge=0, le=LARGEST_SEED)]
LongText = Annotated[str, AfterValidator(_cut)]
"""What an error or a library says; the rest of a longer text is left out."""
Name = Annotated[str, AfterValidator(_at_most(300))]
"""A name, a version or a checksum."""


def _valid_recipe(recipe: dict[str, Any]) -> dict[str, Any]:
    for key, value in recipe.items():
        if key in ("control", "criterion", "structure", "estimator") and not isinstance(value, str | None):
            raise ValueError(f"{key} is not text")
        if key in ("of", "transfer") and not isinstance(value, dict | None):
            raise ValueError(f"{key} is not a mapping")
    _check_schedule(recipe.get("schedule"))
    if of := recipe.get("of"):
        _valid_recipe(of)
    return recipe


def _check_schedule(schedule: object) -> None:
    if isinstance(schedule, dict) and len(schedule) == 1:
        schedule = next(iter(schedule))
    if schedule is not None and (not isinstance(schedule, str) or not re.fullmatch(r"[\w-]{1,64}", schedule)):
        raise ValueError("schedule is neither a name nor a mapping of one name")


def _valid_fingerprint(fingerprint: dict[str, Any]) -> dict[str, Any]:
    for key in ("arm", "inputs", "task", "network", "training", "evaluation", "pruning"):
        if not isinstance(fingerprint.get(key, {}), dict):
            raise ValueError(f"{key} is not a mapping")
    if not all(isinstance(value, str) for value in fingerprint.get("inputs", {}).values()):
        raise ValueError("inputs has a digest that is not text")
    rewind = fingerprint.get("arm", {}).get("rewind", "none")
    step = rewind.get("step") if isinstance(rewind, dict) else 1
    if not isinstance(rewind, dict | str) or type(step) is not int or not 0 < step <= LARGEST_COUNT:
        raise ValueError("arm.rewind is neither a name nor a step")
    return fingerprint


Recipe = Annotated[dict[str, Any], AfterValidator(_valid_recipe)]
Fingerprint = Annotated[dict[str, Any], AfterValidator(_valid_fingerprint)]
