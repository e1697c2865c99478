"""How many gradient updates a run makes, and after which environment steps: its replay ratio."""

import math
from fractions import Fraction
from functools import cache
from typing import Annotated, Any

from pydantic import Field, PlainValidator, TypeAdapter, model_serializer, model_validator

from rlottery.config.fields import Count, Section
from rlottery.config.numbers import LARGEST_COUNT, fault, is_too_long
from rlottery.config.yaml_lines import is_number, show, show_keys

LONGEST_FRACTION = 1_000
"""The most steps in which a fraction has to come out even: 0.25 does in 4. With `every`, there is no such limit."""


def _number_of_updates(value: object) -> int | float:
    if is_too_long(value):
        return _whole(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf:
        return value if value % 1 else _whole(value)
    unquoted = "; leave the quotes out" if isinstance(value, str) and is_number(value) else ""
    raise fault(
        "must be a whole number of at least 1, a fraction such as 0.25 (an update every 4 steps) or "
        f"{{every: 8, updates: 2}}, not {show(value)}{unquoted}"
    )


def _whole(value: object) -> int:
    count: int = TypeAdapter(Count).validate_python(value)
    return count


NumberOfUpdates = Annotated[int | float, PlainValidator(_number_of_updates)]


class Updates(Section):
    """When a run makes gradient updates. A number in the YAML means so many after each environment step.

    A fraction is spread evenly: after t steps, floor(fraction x t) updates have been made. With `every`, all updates
    are made at once after so many steps. Steps are counted from the end of the warm-up.
    """

    every: Count = Field(default=1, description="environment steps from one group of updates to the next")
    updates: NumberOfUpdates = Field(default=1, description="gradient updates in a group")

    @model_validator(mode="before")
    @classmethod
    def _number_alone(cls, value: object) -> object:
        if isinstance(value, dict | Updates):
            return value
        return {"every": 1, "updates": TypeAdapter(NumberOfUpdates).validate_python(value)}

    @model_serializer
    def _shortest(self) -> int | float | dict[str, Any]:
        # One form per meaning, so that equal settings have equal fingerprints.
        every, updates = self.every, self.updates
        share = Fraction(_exactly(updates))
        if share.numerator == 1 and every * share.denominator <= LARGEST_COUNT:  # 0.5 every 2 steps is 1 every 4
            every, updates = every * share.denominator, 1
        if every == 1:
            return updates
        if updates == 1 and every <= LONGEST_FRACTION and _exactly(1 / every) == Fraction(1, every):
            return 1 / every
        return {"every": every, "updates": updates}

    def __str__(self) -> str:
        return show_keys(self.model_dump())

    def after(self, steps: int) -> int:
        """The updates that have been made `steps` environment steps after the warm-up."""
        return math.floor(max(steps, 0) // self.every * _exactly(self.updates))

    def uneven(self, steps: int, updates: int = 1) -> str | None:
        """What is wrong with a fraction that doesn't come out even, and what to write; None if it does.

        Args:
            steps: environment steps of a run after its warm-up.
            updates: the fewest updates that a run needs.
        """
        exact = Fraction(_exactly(self.updates))
        if exact.denominator <= LONGEST_FRACTION:
            return None
        each = exact / self.every
        even = Fraction(1, max(round(1 / each), 1))
        if each * LONGEST_FRACTION > 1 and each.numerator > 1:
            even = each.limit_denominator(LONGEST_FRACTION)
        near = Updates.model_construct(every=even.denominator, updates=even.numerator)
        return (
            f"must be a fraction that comes out even within {LONGEST_FRACTION:,} environment steps, not "
            f"{show(self.updates)}; {f'write {near}' if near.after(steps) >= updates else at_the_least(steps, updates)}"
        )

    @property
    def longest_wait(self) -> int:
        """Environment steps until the first update, and the most between two updates."""
        return self.every * math.ceil(1 / _exactly(self.updates))


def at_the_least(steps: int, updates: int = 1) -> str:
    """What to write for the fewest updates that a run needs, with so many environment steps after its warm-up."""
    wanted = "a single update" if updates == 1 else f"at least {updates} updates"
    fewest = Updates(every=steps // updates) if updates <= steps else Updates(updates=-(-updates // steps))
    return f"for {wanted} in a run, write {fewest}"


@cache
def _exactly(value: int | float) -> int | Fraction:
    """The number as it is written: 0.1 is a tenth."""
    return value if isinstance(value, int) else Fraction(repr(value))
