"""What kind of arm a run is of, read from its manifest: dense, ticket, control or other; and which control is whose."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rlottery.analysis.runs import Run, representative, schedule_of
from rlottery.analysis.scores import TaskScores
from rlottery.analysis.splits import A_UNIT, REACHED, same_split
from rlottery.analysis.verdict import Kind
from rlottery.config.schedules import DROP_AND_GROW, IN_TRAINING, OneShot
from rlottery.pruning.controls import CONTROLS
from rlottery.storage.paths import DENSE


@dataclass(frozen=True)
class LayerCounts:
    """How many weights an arm's masks keep in each layer.

    Attributes:
        totals: layer path -> weights, in order.
        kept: seed -> remaining weights of each layer, in that order; only for masks that could be read.
    """

    totals: Mapping[str, int]
    kept: Mapping[int, tuple[int, ...]]


GRADIENT_CRITERIA = ("taylor", "gradient")
"""Criteria of the built-in method "gradient"; its third is magnitude itself."""


def kind_of(run: Run) -> Kind:
    """What kind of arm a run is of.

    A ticket is a mask that a criterion chose, with rewound weights. "other" means agents that are sparse from the start
    or become sparse in training, and fine-tuned ones.
    """
    if run.arm == DENSE:
        return "dense"
    if "control" in run.recipe:
        return "control"
    rewound = run.criterion != "random" and run.start.get("rewind") != "none"
    return "ticket" if rewound and schedule_of(run) not in IN_TRAINING else "other"


def arm_family(run: Run) -> str:
    """What arms that differ only in their sparsity have in common: a criterion, a schedule or a kind of control."""
    if run.arm == DENSE:
        return DENSE
    if "control" in run.recipe:
        return str(run.recipe["control"])
    criterion = (run.criterion or run.method or run.arm).rpartition(":")[2]
    schedule = schedule_of(run)
    if schedule in DROP_AND_GROW:
        return schedule
    if schedule not in ("", OneShot.name):
        return f"{schedule} {criterion}"
    return f"transferred {criterion}" if run.recipe.get("transfer") else criterion


def made_alike(tasks: Iterable[TaskScores], arm: str) -> list[TaskScores]:
    """The tasks on which an arm was made as on the first of those that have it; only these can be pooled.

    The name of an arm may stand for another recipe than before, if the config was edited between runs.
    """
    having = [task for task in tasks if arm in task.runs]
    return [task for task in having if _alike(having[0], task, arm)]


def random_control_of(
    ticket: Run, by_arm: Mapping[str, Sequence[Run]], counts: Mapping[str, LayerCounts]
) -> str | None:
    """The arm with random masks that have the ticket's counts in every layer and the same start; None without one.

    Of several, arms with more finished runs come first, then the control of the ticket's own criterion, then by name.

    Args:
        by_arm: arm -> its runs on the ticket's task.
        counts: arm -> its layers, for the arms whose masks could be read.
    """
    fitting = []
    for arm, runs in by_arm.items():
        control = representative(runs)
        known = CONTROLS.get(str(control.recipe.get("control")))
        if known is None or not known.is_baseline or not _same_counts(counts.get(ticket.arm), counts.get(arm)):
            continue
        if _start(control) == _start(ticket):
            of = control.recipe.get("of")
            own = isinstance(of, Mapping) and (of.get("criterion"), of.get("transfer")) == (
                ticket.criterion,
                ticket.recipe.get("transfer"),
            )
            finished = sum(run.status in ("done", "diverged") for run in runs)
            fitting.append((-finished, not own, arm))
    return min(fitting)[-1] if fitting else None


def _alike(one: TaskScores, other: TaskScores, arm: str) -> bool:
    first, second = one.representative(arm), other.representative(arm)
    if (first.criterion, first.recipe, first.start) != (second.criterion, second.recipe, second.start):
        return False
    within = A_UNIT if first.recipe.get("structure") == "units" else REACHED
    return same_split(one.split(arm), other.split(arm), within)


def _start(run: Run) -> tuple[object, bool]:
    return str(run.start.get("rewind", "initial")), bool(run.start.get("rescale", False))


def _same_counts(one: LayerCounts | None, other: LayerCounts | None) -> bool:
    """Whether the masks of all seeds that both have keep as many weights in each layer."""
    if one is None or other is None or one.totals != other.totals:
        return False
    seeds = one.kept.keys() & other.kept.keys()
    return bool(seeds) and all(one.kept[seed] == other.kept[seed] for seed in seeds)
