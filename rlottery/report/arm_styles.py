"""How arms are drawn, the same in every figure: arms that differ only in their sparsity form a line of one colour."""

import re
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rlottery.analysis.kinds import arm_family, kind_of
from rlottery.analysis.runs import Run, representative
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.splits import Split, is_uniform
from rlottery.pruning.controls import CONTROLS
from rlottery.storage.paths import DENSE

DENSE_COLOUR = "#404040"
MAGNITUDE, TAYLOR, RANDOM = "#0072B2", "#D55E00", "#009E73"
OTHER_COLOURS = ("#CC79A7", "#E69F00", "#56B4E9", "#8C6D31", "#6A51A3")
"""For families without a colour of their own: the rest of Okabe and Ito's palette, then a brown and a violet."""

ALIKE = 0.08
"""Sparsities are treated as equal if the shares that remain differ by less than this, relative to each other.

Small dense networks reach the requested number of weights only approximately.
"""

_NUMBER = re.compile(r"-(\d+(?:\.\d+)?)(?![\w.])")
_BASELINE = next(name for name, control in CONTROLS.items() if control.is_baseline)
_OWN_COLOURS = {"magnitude": MAGNITUDE, "taylor": TAYLOR, _BASELINE: RANDOM}
_OWN_MARKERS = {"magnitude": "o", "taylor": "s", _BASELINE: "D", DENSE: ""}
_MARKERS = ("^", "v", "P", "X", "<", ">", "h", "*")
_DASHES: tuple[Any, ...] = (
    "-",
    (0, (5, 1.6)),
    (0, (1.2, 1.2)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)),
)
_CONTROL_DASHES: tuple[Any, ...] = (
    (0, (3.5, 1.8)),
    (0, (1.2, 1.4)),
    (0, (6, 1.5, 1.2, 1.5)),
    (0, (9, 3)),
    (0, (6, 1.5, 1.2, 1.5, 1.2, 1.5)),
)


@dataclass(frozen=True)
class Look:
    """How an arm is drawn.

    Attributes:
        family: the criterion or schedule of a ticket, or the kind of a control. It determines the colour.
        line: the name of the arm without its sparsity; arms of one line are joined from sparsity to sparsity.
        split: the sparsity of each group. Of a control without a mask, that of its ticket; empty where not known.
        sparsity: its place on an axis: the mean over the groups. Arms with the same mean may have different splits.
        quiet: whether it is a control, drawn with thinner lines.
        colour: `#RRGGBB`. dash: Matplotlib's line style. marker: Matplotlib's; empty for dense agents.
    """

    arm: str
    family: str
    line: str
    split: Split
    quiet: bool
    colour: str
    dash: Any
    marker: str

    @property
    def sparsity(self) -> float | None:
        return round(statistics.fmean(self.split.values()), 4) if self.split else None


def looks(tasks: Sequence[TaskScores]) -> dict[str, Look]:
    """Arm -> its look: dense first, then tickets by family, then controls; within each by sparsity."""
    names = dict.fromkeys(arm for task in tasks for arm in task.runs)
    found = {name: representative([run for task in tasks for run in task.runs.get(name, ())]) for name in names}
    families = {name: arm_family(run) for name, run in found.items()}
    colours = _assigned(families.values(), {DENSE: DENSE_COLOUR, **_OWN_COLOURS}, OTHER_COLOURS)
    markers = _assigned(families.values(), _OWN_MARKERS, _MARKERS)
    lines: dict[str, list[str]] = {}
    made = {}
    for name, run in found.items():
        family, split = families[name], _split(run, next(task for task in tasks if name in task.runs))
        quiet = kind_of(run) == "control"
        dashes = _CONTROL_DASHES if quiet else _DASHES
        line, of_family = _line(name, split), lines.setdefault(family, [])
        if line not in of_family:
            of_family.append(line)
        dash = dashes[of_family.index(line) % len(dashes)]
        made[name] = Look(name, family, line, split, quiet, colours[family], dash, markers[family])
    return dict(sorted(made.items(), key=lambda item: _order(item[1])))


def _order(look: Look) -> tuple[Any, ...]:
    known = list(_OWN_COLOURS)
    place = known.index(look.family) if look.family in known else len(known)
    return look.arm != DENSE, look.quiet, place, look.family, look.line, look.sparsity or 0.0, look.arm


def _split(run: Run, task: TaskScores) -> Split:
    if split := task.split(run.arm):
        return split
    of = run.recipe.get("of")
    asked = of.get("sparsity") if isinstance(of, Mapping) else None
    if isinstance(asked, Mapping):
        return {str(group): float(share) for group, share in asked.items()}
    return {"network": float(asked)} if isinstance(asked, int | float) else {}


def _line(name: str, split: Split) -> str:
    """The name without its sparsity, or a number close to it; the whole name where groups have different ones."""
    if not split or not is_uniform(split):
        return name
    sparsity = statistics.fmean(split.values())

    def is_sparsity(found: re.Match[str]) -> bool:
        return abs((1 - float(found.group(1)) / 100) - (1 - sparsity)) <= ALIKE * (1 - sparsity) + 1e-9

    return _NUMBER.sub(lambda found: "" if is_sparsity(found) else found.group(0), name) or name


def _assigned(families: Iterable[str], own: Mapping[str, str], others: Sequence[str]) -> dict[str, str]:
    """Family -> what it has of its own, else one of the others by alphabetical order."""
    unique = sorted(set(families))
    rest = [family for family in unique if family not in own]
    return {family: others[place % len(others)] for place, family in enumerate(rest)} | dict(own)
