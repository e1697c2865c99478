"""How the ids of tasks are written, and what they say before an environment is made."""

import re
from typing import NamedTuple

MOST_NOISE = 1_000
"""The most noise inputs of a task."""

_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_TASK_ID = re.compile(rf"(?!.*\.\.)(?:{_PART}:)?(?:{_PART}/)?{_PART}")
_NOISY = re.compile(r"([^+]+)\+noise([1-9][0-9]{0,3})", re.DOTALL)
_LONGEST = 128


class TaskParts(NamedTuple):
    """The parts of a task's id: the environment, and how many noise inputs are added to its observations."""

    environment: str
    noise: int


def task_parts(task_id: str) -> TaskParts:
    """The parts of an id. One with a wrong ending (`wrong_ending`) is an environment's as a whole."""
    found = _NOISY.fullmatch(task_id)
    if found is None or int(found[2]) > MOST_NOISE:
        return TaskParts(task_id, 0)
    return TaskParts(found[1], int(found[2]))


def wrong_ending(task_id: str) -> str | None:
    """What an id must be that has a '+' but doesn't end in a number of noise inputs; None if there is no such fault."""
    if "+" not in task_parts(task_id).environment:
        return None
    return (
        f"must end in '+noiseN' once, where N is a whole number from 1 to {MOST_NOISE:,} without leading zeros, such "
        "as Pendulum-v1+noise50, or have no '+'"
    )


def is_task_id(value: str) -> bool:
    """Whether `value` is a task's id: safe as a part of a path, and as an argument of Gymnasium."""
    return len(value) <= _LONGEST and _TASK_ID.fullmatch(task_parts(value).environment) is not None


def file_name(task_id: str) -> str:
    """A task's id as a file name, or as part of one."""
    return re.sub("[:/]", "_", task_id)
