"""Contrasts that no config has to list: what the arms of a study were made to be compared for.

All are two-sided, since nobody said beforehand what they would show. Gradient against magnitude has its own tables
(`rlottery.analysis.method_contrasts`), and the question against random masks is part of the verdict.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any

from rlottery.analysis.kinds import kind_of
from rlottery.analysis.runs import Run, schedule_of
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.splits import REACHED, same_split
from rlottery.analysis.verdict import ContrastOrigin
from rlottery.config import RegisteredContrast
from rlottery.config.schedules import IN_TRAINING
from rlottery.pruning.controls import CONTROLS
from rlottery.storage.paths import DENSE

_OF_COUNTS = (
    "criterion",
    "allocation",
    "floor",
    "structure",
    "reclaim",
    "schedule",
    "estimator",
    "batches",
    "batch_size",
    "transfer",
)
"""Keys of a recipe that the number of weights in each layer may depend on."""

Default = tuple[ContrastOrigin, RegisteredContrast]


def default_contrasts(task: TaskScores) -> Iterator[Default]:
    """What arms are compared with each other in a study that registers no contrast, those of one kind together."""
    arms = _sparse(task)
    for ticket in arms:
        for control in arms:
            if kind_of(ticket) == "ticket" and not _is_baseline(control) and _is_control_of(control, ticket, task):
                yield "ticket against control", _differ(ticket.arm, control.arm)
    dynamic, static = _dynamic(arms), _static(arms)
    # A difference between a gradient ticket's control and a magnitude ticket's has the sign of that of the tickets.
    for one, other in combinations(sorted(static, key=lambda run: _of(run).get("criterion") == "magnitude"), 2):
        if _counts_from(one) != _counts_from(other) and one.start == other.start and _same_sparsity(task, one, other):
            yield "random against random", _differ(one.arm, other.arm)
    for one in dynamic:
        for other in static:
            if _same_sparsity(task, one, other):
                yield "dynamic against static", _differ(one.arm, other.arm)
    for one in dynamic:
        for other in dynamic:
            if (schedule_of(one), schedule_of(other)) == ("rigl", "set") and _same_sparsity(task, one, other):
                yield "RigL against SET", _differ(one.arm, other.arm)


def against_dense(task: TaskScores) -> Iterator[Default]:
    """Random masks and dynamic arms against dense, in every study: only tickets are judged by the verdict."""
    if task.arm(DENSE) is not None:
        arms = _sparse(task)
        for one in (*_static(arms), *_dynamic(arms)):
            yield "against dense", _differ(one.arm, DENSE)


def _sparse(task: TaskScores) -> list[Run]:
    """A run of each arm that has a score, except dense."""
    return [task.representative(arm.arm) for arm in task.arms if arm.arm != DENSE]


def _dynamic(arms: Sequence[Run]) -> list[Run]:
    return [run for run in arms if schedule_of(run) in IN_TRAINING]


def _static(arms: Sequence[Run]) -> list[Run]:
    """Those whose mask is random and stays as it is."""
    return [run for run in arms if _is_random(run)]


def _differ(one: str, other: str) -> RegisteredContrast:
    return RegisteredContrast((one,), (other,), two_sided=True, measure="score")


def _is_baseline(run: Run) -> bool:
    known = CONTROLS.get(str(run.recipe.get("control")))
    return known is not None and known.is_baseline


def _is_random(run: Run) -> bool:
    if "control" in run.recipe:
        return run.recipe["control"] in ("random", "random-erk")
    return run.criterion == "random" and schedule_of(run) not in IN_TRAINING


def _of(run: Run) -> Mapping[str, Any]:
    """The recipe of the ticket that a run is a control of; empty without one."""
    of = run.recipe.get("of")
    return of if isinstance(of, Mapping) else {}


def made_by(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe of the arm that makes the mask of one: the one that it is transferred from; itself if it isn't, or if
    a file has the mask."""
    of = recipe.get("of")
    return made_by(of) if "transfer" in recipe and isinstance(of, Mapping) else recipe


def _counts_from(random: Run) -> str:
    """What decides how many weights a random mask keeps in each layer, apart from its sparsity."""
    if random.recipe.get("control") == "random-erk":
        return "erk"
    transfer = {"transfer": _of(random)["transfer"]} if "transfer" in _of(random) else {}
    of = {"criterion": random.criterion, **random.recipe, **made_by(_of(random)), **transfer}
    allocation = of.get("allocation")
    if allocation in ("erk", "uniform") and "structure" not in of and "reclaim" not in of and "floor" not in of:
        return str(allocation)  # whatever the criterion
    return json.dumps({key: value for key, value in of.items() if key in _OF_COUNTS}, sort_keys=True)


def _is_control_of(control: Run, ticket: Run, task: TaskScores) -> bool:
    """Whether a control's recipe names this ticket's recipe."""
    of = _of(control)
    if of.get("criterion") != ticket.criterion:
        return False
    rest = {key: value for key, value in of.items() if key not in ("criterion", "sparsity")}
    asked = of.get("sparsity")
    alike = not isinstance(asked, Mapping) or same_split(asked, task.split(ticket.arm), REACHED)
    return alike and rest == dict(ticket.recipe)


def _same_sparsity(task: TaskScores, one: Run, other: Run) -> bool:
    splits = task.split(one.arm), task.split(other.arm)
    return all(splits) and same_split(*splits, REACHED)
