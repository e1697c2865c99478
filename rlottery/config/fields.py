"""Types of the values in settings: what they may be, and the message if they aren't."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    model_serializer,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rlottery.config.yaml_lines import show

_T = TypeVar("_T")


def fault(what: str, **context: object) -> PydanticCustomError:
    """An error about a value, with its message."""
    # Passed through a placeholder, because braces in the text would be read as placeholders.
    return PydanticCustomError("expected", "{what}", {"what": what, **context})


def expects(what: str) -> WrapValidator:
    """One message for all constraints of a type, which says what is allowed."""

    def check(value: object, validate: Callable[[object], object]) -> object:
        try:
            return validate(value)
        except ValidationError:
            raise fault(f"must be {what}, not {show(value)}") from None

    return WrapValidator(check)


def _integral(value: object) -> object:
    """Accept `1e6` as an integer, as long as a float represents it exactly."""
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def _filled(items: tuple[_T, ...]) -> tuple[_T, ...]:
    if not items:
        raise fault("must have at least one entry")
    return items


FILLED = AfterValidator(_filled)
_INTEGRAL = BeforeValidator(_integral)
_FINITE = Field(strict=True, allow_inf_nan=False)

Count = Annotated[int, Field(strict=True, ge=1), _INTEGRAL, expects("a whole number of at least 1")]
CountOrZero = Annotated[int, Field(strict=True, ge=0), _INTEGRAL, expects("a whole number of at least 0")]
CountOrAuto = Annotated[Count | Literal["auto"], expects("a whole number of at least 1, or auto")]
CountOrAll = Annotated[Count | Literal["all"], expects("a whole number of at least 1, or all")]
Positive = Annotated[float, _FINITE, Field(gt=0), expects("a number above 0")]
Seconds = Annotated[float, _FINITE, Field(ge=0), expects("a number of seconds of at least 0")]
UpToOne = Annotated[float, _FINITE, Field(gt=0, le=1), expects("a number above 0 and at most 1")]
Fraction = Annotated[float, _FINITE, Field(ge=0, lt=1), expects("a number from 0 to below 1")]
NumberOrAuto = Annotated[Annotated[float, _FINITE] | Literal["auto"], expects("a number, or auto")]
Text = Annotated[str, expects("text")]
Switch = Annotated[bool, Field(strict=True), expects("true or false")]
Widths = Annotated[tuple[Count, ...], FILLED]


class Section(BaseModel):
    """A mapping with known keys only."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sparsity(Section):
    """Pruned share of the kernel weights of each network; one number in the YAML means both."""

    actor: Fraction = Field(description="pruned share of the actor's kernel weights")
    critic: Fraction = Field(description="pruned share of the kernel weights of the twin critic")

    @model_validator(mode="before")
    @classmethod
    def _one_for_both(cls, value: object) -> object:
        if isinstance(value, dict | Sparsity):
            return value
        share = TypeAdapter(Fraction).validate_python(value)
        return {"actor": share, "critic": share}

    @model_serializer
    def _shortest(self) -> float | dict[str, float]:
        # One form per meaning, so that equal settings have equal fingerprints.
        return self.actor if self.actor == self.critic else {"actor": self.actor, "critic": self.critic}


def listed(names: Sequence[str]) -> str:
    """``a, b or c``."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
