"""What an arm is: the dense agent, a ticket, a control, or another way to a sparse agent; and whose control it is."""

from collections.abc import Mapping, Sequence

from rlottery.analysis.runs import Run
from rlottery.analysis.verdict import Kind
from rlottery.store import DENSE

LayerCounts = Mapping[str, tuple[float, int]]
"""Layer path -> (survivors, weights)."""

_WHILE_TRAINING = ("gradual", "set", "rigl")


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
    if run.criterion == "random" or run.start.get("rewind") == "none" or any(n in _WHILE_TRAINING for n in names):
        return "other"
    return "ticket"


def random_control_of(
    ticket: Run, by_arm: Mapping[str, Sequence[Run]], counts: Mapping[str, LayerCounts]
) -> str | None:
    """The arm with random masks of the ticket's counts in every layer, from the same start; None if there is none.

    Where several fit, that of the ticket's own criterion comes first, then the first by name.

    Args:
        by_arm: arm -> its runs, on the ticket's task.
        counts: arm -> its layers, for the arms whose masks could be read.
    """
    fitting = []
    for arm, runs in by_arm.items():
        control = runs[0]
        if control.recipe.get("control") != "random" or not _same_counts(counts.get(ticket.arm), counts.get(arm)):
            continue
        if _start(control) == _start(ticket):
            of = control.recipe.get("of")
            stands_beside = isinstance(of, Mapping) and of.get("criterion") == ticket.criterion
            fitting.append((not stands_beside, arm))
    return min(fitting)[1] if fitting else None


def _start(run: Run) -> tuple[object, bool]:
    return str(run.start.get("rewind", "initial")), bool(run.start.get("rescale", False))


def _same_counts(one: LayerCounts | None, other: LayerCounts | None) -> bool:
    if one is None or other is None or one.keys() != other.keys():
        return False
    return all(abs(one[path][0] - other[path][0]) < 1e-6 and one[path][1] == other[path][1] for path in one)
