"""Sizes of a task's observations and actions, asked of its environment once a process."""

import json
from functools import cache
from typing import NamedTuple

from rlottery import envs
from rlottery.config import Task


class Sizes(NamedTuple):
    """Entries of a task's observations and actions."""

    observation: int
    action: int


def sizes_of(task: Task) -> Sizes:
    """A task's sizes, from its environment.

    Raises:
        TaskError: it can't be made.
    """
    return _sizes(task.id, json.dumps(task.kwargs, sort_keys=True))


@cache
def _sizes(task: str, kwargs: str) -> Sizes:
    """Asked once a process: making an environment may take seconds."""
    environment = envs.make(task, json.loads(kwargs))
    environment.close()
    return Sizes(environment.observation_size, environment.action_size)
