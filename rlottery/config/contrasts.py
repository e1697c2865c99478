"""Contrasts: claims about the order of arms, which a config registers before the runs.

A claim compares two sides. A side is an arm, or the difference between two: ``taylor-90``,
``taylor-95 - magnitude-95``. ``A > B`` claims that A is better (one-sided), ``A vs B`` that the two differ
(two-sided), and a chain ``A > B > C`` that each is better than the next.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from itertools import pairwise
from typing import Annotated, Any, Literal, NamedTuple, Self

from pydantic import Field, model_serializer, model_validator

from rlottery.config.fields import Section, Text, one_of
from rlottery.config.numbers import fault
from rlottery.config.yaml_lines import show, show_keys

BETTER, DIFFERS, MINUS = ">", "vs", "-"
_FORMS = f"such as A {BETTER} B, A {DIFFERS} B, A {BETTER} B {BETTER} C, or A {MINUS} B {BETTER} C {MINUS} D"


class RegisteredContrast(NamedTuple):
    """One claim: that the sum of the scores of `plus` exceeds that of `minus`, or differs from it if `two_sided`.

    Attributes:
        plus, minus: names of arms, as many in the one as in the other.
        measure: what is compared: the score of a run, or the area under its learning curve.
    """

    plus: tuple[str, ...]
    minus: tuple[str, ...]
    two_sided: bool
    measure: Literal["score", "area"]

    @property
    def arms(self) -> tuple[str, ...]:
        """All arms that it compares."""
        return (*self.plus, *self.minus)

    def __str__(self) -> str:
        """The claim as a config has it."""
        sign = DIFFERS if self.two_sided else BETTER
        if len(self.plus) == 1:
            return f"{self.plus[0]} {sign} {self.minus[0]}"
        return f"{self.plus[0]} {MINUS} {self.minus[1]} {sign} {self.minus[0]} {MINUS} {self.plus[1]}"


class Contrast(Section):
    """An entry of the config's `contrasts:`."""

    claim: Text = Field(description=_FORMS)
    measure: Annotated[Literal["score", "area"], one_of(("score", "area"))] = Field(
        default="score", description="what is compared: scores, or areas under the learning curve"
    )

    @model_validator(mode="before")
    @classmethod
    def _claim_alone(cls, value: object) -> object:
        if isinstance(value, str):
            return {"claim": value}
        if isinstance(value, dict | Contrast):
            return value
        raise fault(f"must be a claim about arms, {_FORMS}, not {show_keys(value)}", wants="text")

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        tuple(self.parts())
        return self

    @model_serializer(mode="wrap")
    def _shortest(self, as_usual: Callable[[Self], dict[str, Any]]) -> str | dict[str, Any]:
        return self.claim if self.measure == "score" else as_usual(self)

    def parts(self) -> Iterator[RegisteredContrast]:
        """One contrast for each pair of neighbours."""
        sides, signs = _split(self.claim.split(), self.claim)
        if DIFFERS in signs and len(signs) > 1:
            raise fault(f"may have {DIFFERS} only once, and not together with {BETTER}: {show(self.claim)}")
        for (one, other), sign in zip(pairwise(sides), signs, strict=True):
            if len(one) != len(other):
                raise fault(f"must compare an arm with an arm, or a difference with a difference: {show(self.claim)}")
            plus, minus = (one[0], *other[1:]), (other[0], *one[1:])
            if twice := sorted({arm for arm in (*plus, *minus) if (*plus, *minus).count(arm) > 1}):
                raise fault(f"names {twice[0]} twice in one comparison: {show(self.claim)}")
            yield RegisteredContrast(plus, minus, sign == DIFFERS, self.measure)


def objections(contrasts: Sequence[Contrast], arms: Collection[str]) -> Iterator[tuple[int, str]]:
    """What is wrong with the contrasts of a study that has these arms: the place of each, and why."""
    first: dict[object, tuple[int, RegisteredContrast]] = {}
    for index, contrast in enumerate(contrasts):
        for part in contrast.parts():
            for name in part.arms:
                if name not in arms:
                    yield index, f"there is no arm {show(name)}; this study's arms are {', '.join(arms)}"
            sides = frozenset((frozenset(part.plus), frozenset(part.minus)))
            other, earlier = first.setdefault((sides, part.measure), (index, part))
            if earlier is not part:
                yield index, f"{part} compares the same as {earlier} in contrasts.{other}; leave one of the two out"


def _split(words: Sequence[str], claim: str) -> tuple[list[tuple[str, ...]], list[str]]:
    """The sides of a claim, each an arm or two, and the signs between them."""
    if "<" in words[1:-1] and BETTER not in words and DIFFERS not in words:
        turned = f" {BETTER} ".join(reversed(" ".join(words).split(" < ")))
        raise fault(f"must have the better arm first, {turned}, not {show(claim)}")
    sides: list[list[str]] = [[]]
    signs = []
    for word in words:
        if word in (BETTER, DIFFERS):
            signs.append(word)
            sides.append([])
        else:
            sides[-1].append(word)
    if not signs:
        raise fault(f"must compare arms, {_FORMS}, with spaces around the signs, not {show(claim)}", wants="text")
    for side in sides:
        if (len(side) != 1 and (len(side) != 3 or side[1] != MINUS)) or MINUS in side[::2]:
            raise fault(
                f"must have one arm, whose name has no spaces, or A {MINUS} B on each side of {BETTER} or {DIFFERS}: "
                f"{show(claim)}"
            )
    return [tuple(side[::2]) for side in sides], signs
