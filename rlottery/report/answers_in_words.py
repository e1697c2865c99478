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
_BETTER = f"better than {_MASKS}{{random}}{{small}}"
_WORSE = f"{{far}}worse than {_MASKS}{{random}}{{small}}"
_EQUIVALENT = f"equivalent to {_MASKS}{{random}}"
_OPEN = f"whether <it beats/they beat> {_MASKS} is open{{random}}"
_AS_GOOD = "as good as dense agents{dense}"
_BELOW = "worse than dense agents by more than the margin{dense}"
_MATCH_OPEN = "whether <it matches/they match> dense agents is open{dense}"

PAIRS: Mapping[Pair, str] = {
    (
        "superior",
        "better",
    ): f"<is a winning ticket/are winning tickets>: better than dense agents{{dense}}, and {_BETTER}",
    ("non-inferior", "better"): f"<is a winning ticket/are winning tickets>: {_AS_GOOD}, and {_BETTER}",
    ("open", "better"): f"<is/are> {_BETTER}, and not yet shown to match dense agents{{dense}}",
    ("worse", "better"): f"<is/are> {_BETTER}, but {_BELOW}",
    (None, "better"): f"<is/are> {_BETTER}; against dense agents there is no answer",
    ("superior", "worse"): f"<is/are> better than dense agents{{dense}}, but {_WORSE}",
    ("non-inferior", "worse"): f"<is/are> {_AS_GOOD}, but {_WORSE}",
    ("worse", "worse"): f"<is/are> {_WORSE}, and {_BELOW}",
    ("open", "worse"): f"<is/are> {_WORSE}; {_MATCH_OPEN}",
    (None, "worse"): f"<is/are> {_WORSE}; against dense agents there is no answer",
    ("superior", "equivalent"): f"<is/are> better than dense agents{{dense}}, but {_EQUIVALENT}",
    ("non-inferior", "equivalent"): (
        f"<is/are> {_AS_GOOD}, and {_EQUIVALENT}: sparsity costs nothing here, but which weights are kept does not "
        "matter"
    ),
    ("worse", "equivalent"): f"<is/are> {_BELOW}, and {_EQUIVALENT}",
    ("open", "equivalent"): f"<is/are> {_EQUIVALENT}; {_MATCH_OPEN}",
    (None, "equivalent"): f"<is/are> {_EQUIVALENT}; against dense agents there is no answer",
    ("superior", "open"): f"<is/are> better than dense agents{{dense}}; {_OPEN}",
    ("superior", None): "<is/are> better than dense agents{dense}; against random masks there is no answer",
    ("non-inferior", "open"): f"<is/are> {_AS_GOOD}; {_OPEN}",
    ("non-inferior", None): f"<is/are> {_AS_GOOD}; against random masks there is no answer",
    ("worse", "open"): f"<is/are> {_BELOW}; {_OPEN}",
    ("worse", None): f"<is/are> {_BELOW}; against random masks there is no answer",
    ("open", "open"): (
        "<is/are> open in both questions: neither that <it matches/they match> dense agents{dense} nor that <it "
        f"differs/they differ> from {_MASKS}{{random}} is shown"
    ),
    ("open", None): "<is/are> open against dense agents{dense}; against random masks there is no answer",
    (None, "open"): "<is/are> open against random masks with the same layer counts{random}; against dense agents "
    "there is no answer",
    (None, None): "<is/are> not judged",
}
"""Pair of answers -> what it says of tickets, the most telling first.

``<is/are>`` are the forms for one and for many tickets, and ``{dense}`` and ``{random}`` the places of numbers.
"Better than random" is said where it is the answer, and nowhere else.
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
    pair: Pair, subjects: str, *, many: bool, dense: str = "", random: str = "", shade: Shade = ""
) -> str:
    """What a pair of answers says of tickets.

    Args:
        subjects: the tickets, many or one.
        dense, random: the numbers of both comparisons, each with a space before it; "" for none.
    """
    text = _FORMS.sub(lambda found: found.group(2 if many else 1), PAIRS[pair])
    small = ", although by less than the margin" if shade == "small" else ""
    said = text.format(dense=dense, random=random, small=small, far="far " if shade == "far" else "")
    return f"{subjects} {said}."
