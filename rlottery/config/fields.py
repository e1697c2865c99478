"""Types of the values in settings: what they may be, and the message if they aren't."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    TypeAdapter,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticKnownError

from rlottery.config.groups import DEFAULT_ALGORITHM, GROUPS, groups_named
from rlottery.config.numbers import LARGEST_SEED, fault, real, whole
from rlottery.config.yaml_lines import show
from rlottery.errors import or_closest

_T = TypeVar("_T")

MAX_LAYERS = 100
"""The most hidden layers of a network."""
MOST_ENVIRONMENTS = 1_024
"""The most training episodes at the same time."""


def one_of(names: Sequence[str], meant: Mapping[str, str] = MappingProxyType({})) -> BeforeValidator:
    """One of these names; `meant` has other words for them."""

    def check(value: object) -> object:
        if isinstance(value, str) and value in names:
            return value
        asked = meant.get(value.casefold()) if isinstance(value, str) else None
        hint = f"; did you mean {asked!r}?" if asked is not None else or_closest(value, names)
        raise fault(f"must be {listed(names)}, not {show(value)}{hint}")

    return BeforeValidator(check)


def _filled(items: tuple[_T, ...]) -> tuple[_T, ...]:
    if not items:
        raise fault("must have at least one entry")
    return items


def _not_too_deep(widths: tuple[int, ...]) -> tuple[int, ...]:
    if len(widths) > MAX_LAYERS:
        raise fault(f"must have at most {MAX_LAYERS} entries, one for each hidden layer, not {len(widths)}")
    return widths


FILLED = AfterValidator(_filled)


def at_most(most: int) -> AfterValidator:
    """No more entries than that."""

    def check(items: tuple[_T, ...]) -> tuple[_T, ...]:
        if len(items) > most:
            raise fault(f"must have at most {most:,} entries, not {len(items):,}")
        return items

    return AfterValidator(check)


def _text(value: object) -> object:
    if not isinstance(value, str):
        raise fault(f"must be text, not {show(value)}", wants="text")
    return value


def _switch(value: object) -> object:
    if not isinstance(value, bool):
        unquoted = "; leave the quotes out" if value in ("true", "false") else ""
        raise fault(f"must be true or false, not {show(value)}{unquoted}")
    return value


Count = Annotated[int, whole(1)]
CountOrZero = Annotated[int, whole(0)]
CountOrAll = Annotated[int | Literal["all"], whole(1, word="all")]
Workers = Annotated[int | Literal["auto"], whole(1, 1_024, word="auto")]
Seed = Annotated[int, whole(0, LARGEST_SEED)]
Episodes = Annotated[int, whole(1, 100_000)]
Environments = Annotated[int, whole(1, MOST_ENVIRONMENTS)]
Batch = Annotated[int, whole(1, 1_000_000)]
NotNegative = Annotated[float, real("a number of at least 0", lambda x: x >= 0, float32=True)]
Positive = Annotated[float, real("a number above 0", lambda x: x > 0, float32=True)]
Rate = Annotated[float, real("a number above 0 and at most 1", lambda x: 0 < x <= 1, float32=True)]
Discount = Annotated[float, real("a number from 0 to below 1", lambda x: 0 <= x < 1, float32=True)]
ZeroToOne = Annotated[float, real("a number from 0 to 1", lambda x: 0 <= x <= 1, float32=True)]
NumberOrAuto = Annotated[float | Literal["auto"], real("a number", lambda _: True, float32=True, word="auto")]
Seconds = Annotated[float, real("a number of seconds from 0 to 1e9", lambda x: 0 <= x <= 1e9)]
UpToOne = Annotated[float, real("a number above 0 and at most 1", lambda x: 0 < x <= 1, is_share=True)]
_FRACTION = real("a number from 0 to below 1", lambda x: 0 <= x < 1, is_share=True)
Fraction = Annotated[float, _FRACTION]
OpenFraction = Annotated[float, real("a number above 0 and below 1", lambda x: 0 < x < 1, is_share=True)]
Text = Annotated[str, PlainValidator(_text)]
Switch = Annotated[bool, PlainValidator(_switch)]
Widths = Annotated[tuple[Annotated[int, whole(1, 65_536)], ...], FILLED, AfterValidator(_not_too_deep)]


def _present(value: object) -> object:
    if value is MISSING:
        raise PydanticKnownError("missing")
    return value


MISSING = object()
"""Stands in for a key that has to be given."""
_Share = Annotated[float | None, _FRACTION, BeforeValidator(_present)]
"""Of a group, if the group is given."""


class Section(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class Sparsity(Section):
    """Pruned share of the kernel weights of each group of networks; one number in the YAML means all groups.

    A study's config keeps the shares of its algorithm's groups (`restricted`).
    """

    actor: _Share = Field(default=None, description="pruned share of the actor's kernel weights")
    critic: _Share = Field(default=None, description="pruned share of the kernel weights of the critic, or of both")
    q: _Share = Field(default=None, description="pruned share of the Q-network's kernel weights")

    @model_validator(mode="before")
    @classmethod
    def _one_for_all(cls, value: object) -> object:
        if isinstance(value, Sparsity):
            return value
        if isinstance(value, dict):
            return dict.fromkeys(groups_named(value) or GROUPS[DEFAULT_ALGORITHM], MISSING) | value
        share = TypeAdapter(Fraction).validate_python(value)
        return dict.fromkeys(cls.model_fields, share)

    @model_serializer
    def _shortest(self) -> float | dict[str, float]:
        # One form per meaning, so that equal settings have equal fingerprints.
        shares = list(self.by_group.values())
        return shares[0] if len(set(shares)) == 1 else self.by_group

    @property
    def by_group(self) -> dict[str, float]:
        """Group -> the pruned share of its weights."""
        return {group: share for group, share in self if share is not None}

    def restricted(self, groups: Sequence[str]) -> "Sparsity | None":
        """The shares of these groups alone; None if others were given, or not all of these."""
        shares = self.by_group
        if shares.keys() != set(groups) and shares.keys() != type(self).model_fields.keys():
            return None
        return Sparsity(**{group: shares[group] for group in groups})


def listed(names: Sequence[str], before_last: str = "or") -> str:
    """``a, b or c``."""
    *rest, last = names
    return f"{', '.join(rest)} {before_last} {last}" if rest else last
