"""Which jobs a worker does: one, or on an accelerator several runs that train as one program. No JAX here."""

import os
from collections.abc import Sequence
from math import ceil

from rlottery.errors import ConfigError
from rlottery.study.planning.jobs import Job

MOST_TOGETHER = 16
"""Runs of one worker: their replay buffers share its memory, and their environments its Python."""
TRAINED = ("dense", "ticket")
"""Stages that can be done together; the others are short."""


def most_together(device: str) -> int:
    """How many runs a worker trains at most. RLOTTERY_TOGETHER=1 is what cuda has without it, 0 what cpu has.

    Raises:
        ConfigError: that variable has a value that it can't have.
    """
    asked = os.environ.get("RLOTTERY_TOGETHER", "")
    if asked not in ("", "0", "1"):
        raise ConfigError(f"RLOTTERY_TOGETHER is {asked!r}; it can be 0 or 1.")
    return MOST_TOGETHER if asked == "1" or (device == "cuda" and not asked) else 1


def bundles(ready: Sequence[Job], workers: int, most: int, *, short_under_way: bool = False) -> list[list[Job]]:
    """What so many free workers are to begin.

    Together go dense agents and tickets of one task: their networks have the same shapes, but for the small dense ones,
    which are trained alone. Short jobs come first, one each, and until they are done no others begin: what waits for
    them can then be trained with the others. What is left is shared among the workers.

    Args:
        ready: jobs that could begin, in the order in which they should.
        most: jobs of one worker; with 1, jobs begin as they come.
        short_under_way: whether some worker does a job that is not trained.
    """
    if most == 1:
        return [[job] for job in ready[:workers]]
    short = [job for job in ready if job.stage not in TRAINED]
    if short or short_under_way:
        return [[job] for job in short[:workers]]
    left = list(ready)
    found: list[list[Job]] = []
    while left and len(found) < workers:
        share = ceil(len(left) / (workers - len(found)))
        chosen = [job for job in left if _kind(job) == _kind(left[0])][: min(most, share)]
        found.append(chosen)
        keys = {job.key for job in chosen}
        left = [job for job in left if job.key not in keys]
    return found


def _kind(job: Job) -> object:
    """What jobs must have in common to be done together."""
    has_own_network = job.arm is not None and job.arm.kind == "small-dense"
    return job.key if has_own_network else job.task_index
