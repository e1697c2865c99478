"""Which jobs each worker gets: one, or on an accelerator several runs that train as one program. No JAX here."""

import os
from collections.abc import Sequence
from math import ceil
from typing import TypeVar

from rlottery.errors import ConfigError
from rlottery.study.planning.jobs import UNTRAINED, Job

T = TypeVar("T")
MOST_TOGETHER = 16
"""The most runs per worker. Their replay buffers share its memory, and their environments share its interpreter."""
SHORT = ("rewind", "mask")
"""Stages whose jobs are short. Tickets wait for them."""


def most_together(device: str) -> int:
    """The most runs that a worker trains: several on cuda, one on cpu. RLOTTERY_TOGETHER=1 or 0 overrides this."""
    asked = os.environ.get("RLOTTERY_TOGETHER", "")
    if asked not in ("", "0", "1"):
        raise ConfigError(f"RLOTTERY_TOGETHER must be 0 or 1, not {asked!r}.")
    return MOST_TOGETHER if asked == "1" or (device == "cuda" and not asked) else 1


def bundles(ready: Sequence[Job], workers: int, most: int, *, short_running: bool = False) -> list[list[Job]]:
    """The jobs that the free workers start, a list for each worker.

    Dense agents and tickets of one task train together, because their networks have the same shapes. A small-dense
    control has other shapes and is trained alone. Short jobs come first, one per worker, and no others start until
    they are done, so that the jobs that wait for them can join the others. The remaining jobs are shared equally among
    the workers. Workers that are then still free evaluate untrained policies, which no other job waits for.

    Args:
        ready: jobs that can start, in order.
        workers: how many workers are free.
        most: the most jobs per worker. If it is 1, jobs start in their order.
        short_running: whether a worker is doing a short job now.
    """
    if most == 1:
        return [[job] for job in ready[:workers]]
    short = [job for job in ready if job.stage in SHORT]
    if short or short_running:
        return [[job] for job in short[:workers]]
    left = [job for job in ready if job.stage != UNTRAINED]
    found: list[list[Job]] = []
    while left and len(found) < workers:
        share = ceil(len(left) / (workers - len(found)))
        found.append([job for job in left if _kind(job) == _kind(left[0])][: min(most, share)])
        keys = {job.key for job in found[-1]}
        left = [job for job in left if job.key not in keys]
    untrained = [job for job in ready if job.stage == UNTRAINED]
    return found + [[job] for job in untrained[: workers - len(found)]]


def shares(runs: Sequence[T], cores: int) -> list[Sequence[T]]:
    """The runs of each allocation: as many as it has cores, the last one perhaps fewer."""
    return [runs[first : first + cores] for first in range(0, len(runs), cores)]


def _kind(job: Job) -> object:
    """Jobs of the same kind can train together."""
    has_own_network = job.arm is not None and job.arm.has_small_network
    return job.key if has_own_network else job.task_index
