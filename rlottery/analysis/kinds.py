"""What an arm is: the dense agent, a ticket, a control, or another way to a sparse agent; and whose control it is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rlottery.analysis.runs import Run
from rlottery.analysis.verdict import Kind
from rlottery.config.schedules import IN_TRAINING
from rlottery.pruning.controls import CONTROLS
from rlottery.storage.paths import DENSE


@dataclass(frozen=True)
class LayerCounts:
    """How many weights an arm's masks keep.

    Attributes:
        totals: layer path -> weights, in order.
        kept: seed -> survivors of each layer, in that order; only of masks that could be read.
    """

    totals: Mapping[str, int]
    kept: Mapping[int, tuple[int, ...]]


GRADIENT_CRITERIA = ("taylor", "gradient")
"""Those of the guide's method gradient; its third is magnitude itself."""


def kind_of(run: Run) -> Kind:
    """A ticket is a mask that evidence chose, over weights that were rewound.

    "other" are agents that were sparse from the start or became so in training, and those that were fine-tuned.
    """
    if run.arm == DENSE:
        return "dense"
    recipe = run.recipe
    if "control" in recipe:
        return "control"
    schedule = recipe.get("schedule")
    names = (schedule,) if isinstance(schedule, str) else tuple(schedule or ())
    if run.criterion == "random" or run.start.get("rewind") == "none" or any(n in IN_TRAINING for n in names):
        return "other"
    return "ticket"


def random_control_of(
    ticket: Run, by_arm: Mapping[str, Sequence[Run]], counts: Mapping[str, LayerCounts]
) -> str | None:
    """The arm with random masks of the ticket's counts in every layer, from the same start; None if there is none.

    Where several fit, those with finished runs come first, then that of the ticket's own criterion, then by name.

    Args:
        by_arm: arm -> its runs, on the ticket's task.
        counts: arm -> its layers, for the arms whose masks could be read.
    """
    fitting = []
    for arm, runs in by_arm.items():
        control = runs[0]
        known = CONTROLS.get(str(control.recipe.get("control")))
        if known is None or not known.is_baseline or not _same_counts(counts.get(ticket.arm), counts.get(arm)):
            continue
        if _start(control) == _start(ticket):
            of = control.recipe.get("of")
            stands_beside = isinstance(of, Mapping) and of.get("criterion") == ticket.criterion
            finished = sum(run.status in ("done", "diverged") for run in runs)
            fitting.append((-finished, not stands_beside, arm))
    return min(fitting)[-1] if fitting else None


def _start(run: Run) -> tuple[object, bool]:
    return str(run.start.get("rewind", "initial")), bool(run.start.get("rescale", False))


def _same_counts(one: LayerCounts | None, other: LayerCounts | None) -> bool:
    """Seed by seed, for those whose masks could be read of both."""
    if one is None or other is None or one.totals != other.totals:
        return False
    seeds = one.kept.keys() & other.kept.keys()
    return bool(seeds) and all(one.kept[seed] == other.kept[seed] for seed in seeds)
