"""Words and numbers as people read them. `rlottery.analysis.digits` decides how many digits scores have."""

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rlottery.analysis.runs import Metric

Item = TypeVar("Item")
Key = TypeVar("Key")

METRIC_NAMES: "dict[Metric, str]" = {"success": "success rate", "return": "return"}
METRIC_TITLES: "dict[Metric, str]" = {"success": "Success", "return": "Return"}
BOOTSTRAP = "95 % bootstrap interval"
NOTHING = "\N{EN DASH}"
"""Stands where there is no value."""
_MOST_NAMED = 3
FEW = 4
"""How many arms or tasks a sentence names; of more it says how many there are."""
AGAINST = {"dense": "dense agents", "random": "random masks"}
"""Question of the verdict -> what tickets are compared with."""
_TOGETHER = re.compile(r"(?<=\d) (?=%|seeds?\b)|(?<=seed) (?=\d)|(?<=\d:) (?=[-+\d])|(?<=p [<=]) |(?<=\bp) (?=[<=])")
"""Spaces at which no line is broken: in `80 %`, `2 seeds`, `seed 0: +0.05`, `p < 0.001`."""


def unbroken(text: str) -> str:
    """A text with no-break spaces between numbers and what belongs to them."""
    return _TOGETHER.sub("\N{NO-BREAK SPACE}", text)


def plural(number: int, noun: str) -> str:
    """``1 seed``, ``2 seeds``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def joined(items: Iterable[str]) -> str:
    """``a``, ``a and b``, ``a, b and c``; "" for nothing."""
    *first, last = [*items] or [""]
    return f"{', '.join(first)} and {last}" if first else last


def capitalised(text: str) -> str:
    """A sentence with a capital letter, unless it begins with the name of an arm."""
    return text if any(letter.isdigit() for letter in text.split(" ")[0]) else text[:1].upper() + text[1:]


def named(labels: Sequence[str]) -> str:
    """The first labels, and how many more there are."""
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"{', '.join(labels[:_MOST_NAMED])}{more}"


def few(names: Iterable[str]) -> str:
    """Up to four names, joined: ``a, b and c``; of more the first four, ``a, b, c, d and 2 more``. Each name once."""
    known = list(dict.fromkeys(names))
    return joined(known if len(known) <= FEW else [*known[:FEW], f"{len(known) - FEW} more"])


def grouped(items: Iterable[Item], key: Callable[[Item], Key]) -> dict[Key, list[Item]]:
    """Key -> the items that have it; both in the order of the items."""
    groups: dict[Key, list[Item]] = {}
    for item in items:
        groups.setdefault(key(item), []).append(item)
    return groups


def holm_text(adjusted: float | None) -> str:
    """``, Holm-corrected p = 0.04``; "" without a test."""
    return f", Holm-corrected {p_text(adjusted)}" if adjusted is not None else ""


def some_folders(folders: Sequence[Path]) -> str:
    """The first folders, and how many more there are and below which folder. "" if there are none."""
    if len(folders) <= _MOST_NAMED:
        return " and ".join(map(str, folders))
    return f"{named(list(map(str, folders)))} below {os.path.commonpath(folders)}"


def last_evaluations(number: int) -> str:
    """What a score is: ``the last evaluation``, ``the mean of the last 3 evaluations``."""
    return "the last evaluation" if number == 1 else f"the mean of the last {number} evaluations"


def sparsity_text(sparsity: Mapping[str, float] | None) -> str:
    """``80 %``, or ``90 / 50 %`` for groups that differ; empty where it is not known."""
    if not sparsity:
        return ""
    shares = [f"{100 * share:.{1 if share < 0.99 else 2}f}".rstrip("0").rstrip(".") for share in sparsity.values()]
    return f"{shares[0] if len(set(shares)) == 1 else ' / '.join(shares)} %"


def p_text(p: float) -> str:
    """``p = 0.04``, ``p < 0.001``."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}" if p < 0.1 else f"p = {p:.2f}"


def interval_name(level: float) -> str:
    """The interval that two one-sided bounds make: ``90 % interval`` at a level of 5 %."""
    return f"{100 * (1 - 2 * level):.4g} % interval"
