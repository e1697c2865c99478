"""Task, arm and seed in the names of files, folders and runs of other tools."""

import glob
import os
import re
from pathlib import Path
from string import Formatter
from typing import NamedTuple

from rlottery.errors import StudyError

FIELDS = ("task", "arm", "seed")
_SEED = r"(?:seed|run|s)?[-_ =]*(?P<seed>\d{1,18})"
_USUAL = (
    re.compile(r"(?:.*/)?(?P<task>[^/]+?)__(?P<arm>[^/]+?)__(?P<seed>\d{1,18})(?:__[^/]*)?"),  # CleanRL
    re.compile(rf"(?:.*/)?(?P<arm>[^/]+)/{_SEED}", re.IGNORECASE),
    re.compile(rf"(?:.*/)?(?P<arm>[^/]*?[^/\s_=-])[-_ ]+{_SEED}", re.IGNORECASE),
)
"""How runs are usually called: task__arm__seed__time, arm/seed_0, arm-seed0, arm_0."""


class Named(NamedTuple):
    """What a name says of a run; None for what it doesn't say."""

    task: str | None = None
    arm: str | None = None
    seed: int | None = None


class Pattern:
    """A text with {task}, {arm} and {seed}, and * for anything: ``logs/{arm}/seed_{seed}/evaluations.npz``."""

    def __init__(self, text: str) -> None:
        """Raises StudyError if it has other braces, or the same ones twice."""
        self.text = text = os.path.expanduser(text).removeprefix("./")
        try:
            parts = list(Formatter().parse(text))
        except ValueError:
            parts = [("", "", None, None)]
        fields = [field for _, field, _, _ in parts if field is not None]
        if any(field not in FIELDS for field in fields) or len(set(fields)) < len(fields):
            raise StudyError(f"{text}: a pattern may contain {{task}}, {{arm}} and {{seed}}, each once, and *.")
        expression, self.wildcard = "", ""
        for literal, field, _, _ in parts:
            expression += "".join(_ANY.get(part, re.escape(part)) for part in re.split(r"(\*\*/|\*)", literal))
            self.wildcard += "".join(part if part in _ANY else glob.escape(part) for part in re.split(r"(\*)", literal))
            if field is not None:
                expression += rf"(?P<{field}>\d{{1,18}})" if field == "seed" else rf"(?P<{field}>[^/]+?)"
                self.wildcard += "*"
        self._expression = re.compile(expression)

    def read(self, name: str) -> Named | None:
        """What a name says; None if it doesn't fit the pattern."""
        return _named(self._expression.fullmatch(name))

    def files(self) -> dict[Path, Named]:
        """The files whose paths fit, and what these say. Raises StudyError if there are none."""
        root = Path(Path(self.wildcard).anchor)
        try:
            paths = sorted(root.glob(self.wildcard.removeprefix(str(root) if root.is_absolute() else "")))
        except ValueError as error:
            raise StudyError(f"{self.text}: this is no pattern of paths: {error}.") from None
        found = {path: self.read(path.as_posix()) for path in paths}
        fitting = {path: named for path, named in found.items() if named is not None and path.is_file()}
        if not fitting:
            raise StudyError(f"{self.text}: no file has such a path (relative to {Path.cwd()}).")
        return fitting


_ANY = {"*": "[^/]*", "**/": "(?:.*/)?", "**": ".*"}


def usual_name(name: str) -> Named | None:
    """What a name says if it is one of the usual kind; else None."""
    return next((named for usual in _USUAL if (named := _named(usual.fullmatch(name)))), None)


def _named(match: re.Match[str] | None) -> Named | None:
    if match is None:
        return None
    found = match.groupdict()
    seed = found.get("seed")
    return Named(found.get("task"), found.get("arm"), None if seed is None else int(seed))
