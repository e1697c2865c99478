"""Families of arms: which arms are one thing at several sparsities, and how each is drawn, the same in every figure."""

import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rlottery.analysis.comparison import ArmResult, Comparison
from rlottery.config.schedules import DROP_AND_GROW, OneShot
from rlottery.pruning.controls import CONTROLS
from rlottery.report.figures import DENSE_COLOUR
from rlottery.storage.paths import DENSE

MAGNITUDE, TAYLOR, RANDOM, SMALL_DENSE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
OTHERS = ("#E69F00", "#56B4E9", "#8C6D31", "#6A51A3")
"""For families that have no colour of their own: Okabe and Ito's two that are left, then a brown and a violet."""

ALIKE = 0.08
"""Sparsities whose densities differ by less than this share count as one: small networks come near theirs."""

_NUMBER = re.compile(r"-(\d+(?:\.\d+)?)(?![\w.])")
_BASELINE = next(name for name, control in CONTROLS.items() if control.is_baseline)
_SMALL = next(name for name, control in CONTROLS.items() if control.network == "small")
_OWN_COLOURS = {"magnitude": MAGNITUDE, "taylor": TAYLOR, _BASELINE: RANDOM, _SMALL: SMALL_DENSE}
_OWN_MARKERS = {"magnitude": "o", "taylor": "s", _BASELINE: "D", _SMALL: "^", DENSE: ""}
_MARKERS = ("v", "P", "X", "<", ">", "h", "*")
_DASHES: tuple[Any, ...] = ("-", (0, (5, 1.6)), (0, (1.2, 1.2)), (0, (6, 1.5, 1.2, 1.5)))
_CONTROL_DASHES: tuple[Any, ...] = ((0, (3.5, 1.8)), (0, (1.2, 1.4)), (0, (6, 1.5, 1.2, 1.5)))


@dataclass(frozen=True)
class Look:
    """What an arm belongs to, and how it is drawn.

    Attributes:
        family: the criterion or schedule of a ticket, or the kind of a control: it has the colour.
        line: the arm's name without its sparsity, by which arms are joined from sparsity to sparsity.
        sparsity: mean of the groups; of a control without one, that of its ticket; None where not known.
        quiet: whether it is a control: drawn thinner.
        colour: `#RRGGBB`. dash: Matplotlib's line style. marker: Matplotlib's, empty for dense agents.
    """

    arm: str
    family: str
    line: str
    sparsity: float | None
    quiet: bool
    colour: str
    dash: Any
    marker: str


def looks(comparison: Comparison) -> dict[str, Look]:
    """Arm -> its look: dense first, then tickets by family, then controls; within each by sparsity."""
    found: dict[str, ArmResult] = {}
    for task in comparison.tasks:
        for arm in task.arms:
            if arm.name not in found or found[arm.name].sparsity is None:
                found[arm.name] = arm
    families = {name: _family(arm) for name, arm in found.items()}
    colours = _colours(families.values())
    markers = _markers(families.values())
    lines: dict[str, list[str]] = {}
    for name, arm in found.items():
        of_family = lines.setdefault(families[name], [])
        line = _line(name, _sparsity(arm))
        if line not in of_family:
            of_family.append(line)
    made = {}
    for name, arm in found.items():
        family, sparsity = families[name], _sparsity(arm)
        quiet = "control" in arm.recipe
        dashes = _CONTROL_DASHES if quiet else _DASHES
        line = _line(name, sparsity)
        dash = dashes[lines[family].index(line) % len(dashes)]
        made[name] = Look(name, family, line, sparsity, quiet, colours[family], dash, markers[family])
    return dict(sorted(made.items(), key=lambda item: _order(item[1])))


def _order(look: Look) -> tuple[Any, ...]:
    known = list(_OWN_COLOURS)
    place = known.index(look.family) if look.family in known else len(known)
    return look.arm != DENSE, look.quiet, place, look.family, look.line, look.sparsity or 0.0, look.arm


def _family(arm: ArmResult) -> str:
    if arm.name == DENSE:
        return DENSE
    if "control" in arm.recipe:
        return str(arm.recipe["control"])
    criterion = (arm.criterion or arm.method or arm.name).rpartition(":")[2]
    schedule = arm.recipe.get("schedule")
    name = schedule if isinstance(schedule, str) else next(iter(schedule), None) if schedule else None
    if name in DROP_AND_GROW:
        return str(name)
    if name not in (None, OneShot.name):
        return f"{name} {criterion}"
    return f"transferred {criterion}" if arm.recipe.get("transfer") else criterion


def _sparsity(arm: ArmResult) -> float | None:
    """The mean of the groups, to four digits: arms reach what was asked for to within a weight."""
    reached = arm.sparsity
    if reached:
        return round(statistics.fmean(reached.values()), 4)
    of = arm.recipe.get("of")
    asked = of.get("sparsity") if isinstance(of, Mapping) else None
    if isinstance(asked, Mapping):
        asked = statistics.fmean(map(float, asked.values()))
    return round(float(asked), 4) if isinstance(asked, int | float) else None


def _line(name: str, sparsity: float | None) -> str:
    """The name without its sparsity; a small dense network comes near the one in its name."""
    if sparsity is None:
        return name

    def is_sparsity(found: re.Match[str]) -> bool:
        return abs((1 - float(found.group(1)) / 100) - (1 - sparsity)) <= ALIKE * (1 - sparsity) + 1e-9

    return _NUMBER.sub(lambda found: "" if is_sparsity(found) else found.group(0), name) or name


def _colours(families: Any) -> dict[str, str]:
    unique = sorted(dict.fromkeys(families))
    own = {DENSE: DENSE_COLOUR, **_OWN_COLOURS}
    others = [family for family in unique if family not in own]
    made = {family: OTHERS[place % len(OTHERS)] for place, family in enumerate(others)}
    return {family: own.get(family) or made[family] for family in unique}


def _markers(families: Any) -> dict[str, str]:
    unique = sorted(dict.fromkeys(families))
    others = [family for family in unique if family not in _OWN_MARKERS]
    made = {family: _MARKERS[place % len(_MARKERS)] for place, family in enumerate(others)}
    return {**made, **{family: marker for family, marker in _OWN_MARKERS.items() if family in unique}}
