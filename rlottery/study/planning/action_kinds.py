"""Which algorithms can learn a task, by the kind of its actions. No JAX here."""

from rlottery.agents.algorithms import ALGORITHMS, algorithm_of
from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.config.fields import listed
from rlottery.errors import TaskError
from rlottery.report.wording import plural


def learners(spec: Spec) -> list[str]:
    """The names of the algorithms that can learn tasks with such actions."""
    return [name for name, algorithm in ALGORITHMS.items() if spec.actions in algorithm.learns]


def actions_in_words(spec: Spec) -> str:
    """``discrete actions (one of 2)`` or ``continuous actions (3 numbers)``."""
    size = f"one of {spec.action_size}" if spec.discrete else plural(spec.action_size, "number")
    return f"{spec.actions} actions ({size})"


def check_actions(config: Config, task: str, spec: Spec, fix: str = "") -> None:
    """Raise TaskError unless the study's algorithm can learn the task's actions; `fix` says what else to do."""
    algorithm = algorithm_of(config)
    if spec.actions in algorithm.learns:
        return
    own = " or ".join(algorithm.learns)
    fix = fix or f"Set algorithm to {listed(learners(spec))}, or choose a task with {own} actions."
    raise TaskError(f"{task} has {actions_in_words(spec)}, and {algorithm.label} learns {own} ones. {fix}")
