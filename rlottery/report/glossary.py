"""The glossary: the terms that a reader new to pruning or to statistics may not know, and what they mean."""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml
from markupsafe import Markup, escape

from rlottery.report.wording import unbroken


@dataclass(frozen=True)
class Term:
    """One entry.

    Attributes:
        term: as a dictionary lists it.
        definition: one or two sentences.
        also: other names of the term.
        forms: other words in a text that pages explain by it, such as its plural.
        hover: whether pages explain it where it occurs; everyday words are only listed.
    """

    term: str
    definition: str
    also: tuple[str, ...] = ()
    forms: tuple[str, ...] = ()
    hover: bool = True


@cache
def glossary() -> tuple[Term, ...]:
    """All terms, in alphabetical order."""
    text = resources.files("rlottery.report").joinpath("glossary.yaml").read_text(encoding="utf-8")
    entries = [
        Term(**entry | {key: tuple(entry.get(key, ())) for key in ("also", "forms")}) for entry in yaml.safe_load(text)
    ]
    return tuple(sorted(entries, key=lambda entry: entry.term.lower()))


def term_id(term: str) -> str:
    """The id of a term's definition on a page."""
    return "term-" + re.sub(r"[^a-z0-9]+", "-", term.lower()).strip("-")


def term_of(text: str) -> Term | None:
    """The term that a whole text is, such as the title of a column; None if it is none."""
    return _forms().get(text.lower())


def first_uses(
    text: str, seen: set[str], is_meant: Callable[[Term, int, int], bool] = lambda *_: True
) -> Iterator[tuple[int, int, Term]]:
    """Start, end and entry of the first use of each term in a text, if pages explain it where it occurs.

    Args:
        text: without markup.
        seen: terms that were used before; those found are added.
        is_meant: whether the words from start to end mean the term, which may be everyday words as well.
    """
    for found in _pattern().finditer(text):
        entry = _forms().get(found.group().lower()) or _forms()[found.group().lower().removesuffix("s")]
        if entry.term not in seen and entry.hover and is_meant(entry, found.start(), found.end()):
            seen.add(entry.term)
            yield found.start(), found.end(), entry


def with_terms(text: str) -> Markup:
    """HTML of a text in which the first occurrence of each term links to its definition, and no number is broken."""
    parts, end = [], 0
    for start, stop, entry in first_uses(text, set()):
        words = unbroken(text[start:stop])
        link = Markup('<a class="term" href="#{0}" data-term="{0}">{1}</a>').format(term_id(entry.term), words)
        parts += [escape(unbroken(text[end:start])), link]
        end = stop
    return Markup("").join([*parts, escape(unbroken(text[end:]))])


@cache
def _forms() -> dict[str, Term]:
    return {form.lower(): entry for entry in glossary() for form in (entry.term, *entry.also, *entry.forms)}


@cache
def _pattern() -> re.Pattern[str]:
    """Every form, longest first, also in the plural; but not as a part of a name such as small-dense-95."""
    forms = sorted(map(re.escape, _forms()), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(forms)})s?(?![\w-])", re.IGNORECASE)
