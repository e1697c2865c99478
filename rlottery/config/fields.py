"""Values that settings are made of: their types, what they may be, and how a fault in one is said."""

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
    """What is wrong with a value, in words."""
    # Through a placeholder: braces in the text itself would be read as one.
    return PydanticCustomError("expected", "{what}", {"what": what, **context})


def expects(what: str) -> WrapValidator:
    """Say what is allowed in one phrase, whichever of a type's constraints a value breaks."""

    def check(value: object, validate: Callable[[object], object]) -> object:
        try:
            return validate(value)
        except ValidationError:
            raise fault(f"must be {what}, not {show(value)}") from None

    return WrapValidator(check)


def _integral(value: object) -> object:
    """Let `1e6` stand for an integer, as long as a float holds it exactly."""
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
    """A mapping of keys, each known."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Sparsity(Section):
    """Pruned share of the prunable weights of each network; one number in the YAML stands for both."""

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
        # One form for one meaning, so that fingerprints of equal settings are equal.
        return self.actor if self.actor == self.critic else {"actor": self.actor, "critic": self.critic}


def listed(names: Sequence[str]) -> str:
    """``a, b or c``."""
    *rest, last = names
    return f"{', '.join(rest)} or {last}" if rest else last
