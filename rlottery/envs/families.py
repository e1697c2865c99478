"""The families of environments."""

from rlottery.envs.family import Family, Names
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.metaworld import MetaWorld

FAMILIES: tuple[Family, ...] = (MetaWorld(), GymnasiumTasks())
"""A task belongs to the first family that includes it. The last one includes every name."""


def family_of(task: str) -> Family:
    """The family that `task` belongs to."""
    return next(family for family in FAMILIES if family.includes(task))


def is_metaworld(task: str) -> bool:
    """Whether `task` is the name of a Meta-World task."""
    return isinstance(family_of(task), MetaWorld)


def observation_names(task: str) -> Names | None:
    """A name for each entry of the observations of a task made without arguments; None if they are not known."""
    return family_of(task).observation_names(task)
