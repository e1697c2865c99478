"""The glossary: the terms that a reader new to pruning or to statistics may not know, and what they mean."""

from dataclasses import dataclass
from functools import cache
from importlib import resources

import yaml


@dataclass(frozen=True)
class Term:
    """One entry.

    Attributes:
        term: as a dictionary lists it.
        definition: one or two sentences.
        also: other forms of the term.
    """

    term: str
    definition: str
    also: tuple[str, ...] = ()


@cache
def glossary() -> tuple[Term, ...]:
    """All terms, in alphabetical order."""
    text = resources.files("rlottery.report").joinpath("glossary.yaml").read_text(encoding="utf-8")
    entries = (Term(entry["term"], entry["definition"], tuple(entry.get("also", ()))) for entry in yaml.safe_load(text))
    return tuple(sorted(entries, key=lambda entry: entry.term.lower()))
