"""What a pair of answers means: one sentence for each, the words of single answers, and their symbols.

Headline, terminal, Markdown, page and notebook all take their words from here.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rlottery.analysis.verdict import Answer, AnswerWord, Question

Pair = tuple[AnswerWord | None, AnswerWord | None]
"""The answers against dense and against random; None where a question can't be asked."""
Shade = Literal["", "far", "small"]
"""How much worse or better than random: by more than the margin, or shown to be within it."""
Mark = Literal["win", "up", "even", "down", "open", ""]
"""The symbol of an answer; "" where there is none."""

_MASKS = "random masks with the same layer counts"
_IS = "{x} <is/are>"
_WINS = "{x} <is a winning ticket/are winning tickets>"
_BETTER = f"better than {_MASKS}{{random}}{{small}}"
_WORSE = f"{{far}}worse than {_MASKS}{{random}}{{small}}"
_EQUIVALENT = f"equivalent to {_MASKS}{{random}}"
_ABOVE = "better than dense agents{dense}"
_AS_GOOD = "as good as dense agents{dense}"
_BELOW = "worse than dense agents by more than the margin{dense}"
_OPEN_DENSE = "whether <it matches/they match> dense agents is open{dense}"
_OPEN_RANDOM = f"whether <it differs/they differ> from {_MASKS} is open{{random}}"
_NO_DENSE = "against dense agents there is no answer{no_dense}"
_NO_RANDOM = "against random masks there is no answer{no_random}"

PAIRS: Mapping[Pair, str] = {
    ("superior", "better"): f"{_WINS}: {_ABOVE}, and {_BETTER}",
    ("non-inferior", "better"): f"{_WINS}: {_AS_GOOD}, and {_BETTER}",
    ("open", "better"): f"{_IS} {_BETTER}; {_OPEN_DENSE}",
    ("worse", "better"): f"{_IS} {_BETTER}, but {_BELOW}",
    (None, "better"): f"{_IS} {_BETTER}; {_NO_DENSE}",
    ("superior", "worse"): f"{_IS} {_ABOVE}, but {_WORSE}",
    ("non-inferior", "worse"): f"{_IS} {_AS_GOOD}, but {_WORSE}",
    ("worse", "worse"): f"{_IS} {_WORSE}, and {_BELOW}",
    ("open", "worse"): f"{_IS} {_WORSE}; {_OPEN_DENSE}",
    (None, "worse"): f"{_IS} {_WORSE}; {_NO_DENSE}",
    ("superior", "equivalent"): f"{_IS} {_ABOVE}, but {_EQUIVALENT}",
    ("non-inferior", "equivalent"): (
        f"{_IS} {_AS_GOOD}, and {_EQUIVALENT}: sparsity costs nothing here, but which weights are kept does not matter"
    ),
    ("worse", "equivalent"): f"{_IS} {_BELOW}, and {_EQUIVALENT}",
    ("open", "equivalent"): f"{_IS} {_EQUIVALENT}; {_OPEN_DENSE}",
    (None, "equivalent"): f"{_IS} {_EQUIVALENT}; {_NO_DENSE}",
    ("superior", "open"): f"{_IS} {_ABOVE}; {_OPEN_RANDOM}",
    ("superior", None): f"{_IS} {_ABOVE}; {_NO_RANDOM}",
    ("non-inferior", "open"): f"{_IS} {_AS_GOOD}; {_OPEN_RANDOM}",
    ("non-inferior", None): f"{_IS} {_AS_GOOD}; {_NO_RANDOM}",
    ("worse", "open"): f"{_IS} {_BELOW}; {_OPEN_RANDOM}",
    ("worse", None): f"{_IS} {_BELOW}; {_NO_RANDOM}",
    ("open", "open"): (
        f"whether {{x}} <matches/match> dense agents{{dense}}, and whether <it differs/they differ> from {_MASKS}"
        "{random}, is open"
    ),
    ("open", None): f"whether {{x}} <matches/match> dense agents is open{{dense}}; {_NO_RANDOM}",
    (None, "open"): f"whether {{x}} <differs/differ> from {_MASKS} is open{{random}}; {_NO_DENSE}",
    (None, None): f"{_IS} not judged",
}
"""Pair of answers -> what it says of tickets, the most telling first.

``{x}`` are the tickets, ``<is/are>`` the forms for one and for many. ``{dense}`` and ``{random}`` are the places of
numbers, and ``{no_dense}`` and ``{no_random}`` those of reasons. "Better than random" is said where it is the answer,
and nowhere else.
"""

WORDS: Mapping[Question, Mapping[AnswerWord | None, str]] = {
    "dense": {
        "superior": "better than dense",
        "non-inferior": "as good as dense",
        "worse": "worse than dense",
        "open": "open against dense",
        None: "no answer against dense",
    },
    "random": {
        "better": "better than random",
        "equivalent": "equivalent to random",
        "worse": "worse than random",
        "open": "open against random",
        None: "no answer against random",
    },
}
"""Question -> answer -> the answer by itself."""

_MARKS: Mapping[AnswerWord | None, Mark] = {
    "superior": "up",
    "better": "up",
    "non-inferior": "even",
    "equivalent": "even",
    "worse": "down",
    "open": "open",
    None: "",
}
_FORMS = re.compile(r"<([^/<>]*)/([^<>]*)>")


@dataclass(frozen=True)
class Chip:
    """An answer in a few words, with its symbol."""

    mark: Mark
    words: str


WINNING = Chip("win", "winning ticket")


def chip(answer: Answer, question: Question) -> Chip:
    """The chip of an answer."""
    return chip_of_word(answer.answer, question)


def chip_of_word(word: AnswerWord | None, question: Question) -> Chip:
    """The chip of an answer by its word; of None as of a question that can't be asked."""
    return Chip(_MARKS[word], WORDS[question][word])


def shade(random: Answer, margin: float) -> Shade:
    """How much worse or better than random a ticket is. Far worse: its whole interval is below -margin."""
    if random.small:
        return "small"
    high = random.comparison.high if random.comparison else None
    return "far" if random.answer == "worse" and high is not None and high < -margin else ""


def pair_sentence(
    pair: Pair,
    tickets: str,
    *,
    many: bool,
    dense: str = "",
    random: str = "",
    no_dense: str = "",
    no_random: str = "",
    shade: Shade = "",
    apart: bool = False,
    alone: bool = False,
) -> str:
    """What a pair of answers says of tickets, without a capital letter.

    Args:
        tickets: their names, many or one.
        dense, random: the numbers of both comparisons, each with a space before it; "" for none.
        no_dense, no_random: why a question can't be asked; "" if that is not said.
        apart: as two sentences where the pair has two parts.
        alone: without the part about the question that has no answer.
    """
    text = _FORMS.sub(lambda found: found.group(2 if many else 1), PAIRS[pair])
    first, _, second = text.partition("; ")
    if alone:
        text = first
    elif apart and second:
        text = f"{first}. {second[0].upper()}{second[1:]}"
    said = text.format(
        x=tickets,
        dense=dense,
        random=random,
        no_dense=f" ({no_dense})" if no_dense else "",
        no_random=f" ({no_random})" if no_random else "",
        small=", but the difference is shown to be less than the margin" if shade == "small" else "",
        far="far " if shade == "far" else "",
    )
    return f"{said}."
