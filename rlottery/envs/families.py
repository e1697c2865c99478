"""The families of environments. Noise inputs can be added to the tasks of each (``TASK+noiseN``)."""

from rlottery.config.task_ids import task_parts
from rlottery.envs.family import Family, Names
from rlottery.envs.gymnasium_tasks import GymnasiumTasks
from rlottery.envs.metaworld import MetaWorld
from rlottery.envs.minatar import MinAtar
from rlottery.envs.noise_inputs import NoiseInputs

FAMILIES: tuple[Family, ...] = (MetaWorld(), MinAtar(), GymnasiumTasks())
"""A task belongs to the first family that includes it. The last one includes every name."""


def family_of(task: str) -> Family:
    """The family that makes the environment of `task`."""
    environment = task_parts(task).environment
    return next(family for family in FAMILIES if family.includes(environment))


def is_metaworld(task: str) -> bool:
    """Whether `task` is a Meta-World task."""
    return isinstance(family_of(task), MetaWorld)


def observation_names(task: str) -> Names | None:
    """A name for each entry of the observations of a task made without arguments; None if they are not known."""
    environment, noise = task_parts(task)
    names = family_of(task).observation_names(environment)
    return None if names is None else (*names, *NoiseInputs(noise).names)


def entry_names(task: str, entries: int) -> tuple[str | None, ...]:
    """A name for each entry of an observation of so many; None where it isn't known.

    The names of a task hold only if it is made without arguments that change its observations; those of noise inputs
    always do.
    """
    names = observation_names(task)
    if names is not None and len(names) == entries:
        return names
    noise = NoiseInputs(task_parts(task).noise).names
    return (*[None] * (entries - len(noise)), *noise)
