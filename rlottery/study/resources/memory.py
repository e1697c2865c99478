"""How much main memory a study needs at most: known before it starts, and held against what the machine has.

    command + workers x (worker + run) + code + dense buffers

A worker is an interpreter, JAX and compiled programs. A run is its agent, activations, replay ring and environments.
Code lies in memory once, however many workers map it; so does a dense agent's replay buffer, which mask stages map and
read in place. What no config tells was measured on Linux (`benchmarks/memory.py` does it again); an environment of
one's own that holds more is not in it. Agents that an accelerator trains are counted as if they lay in main memory.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from rlottery import envs
from rlottery.config import Config
from rlottery.storage.paths import RunFiles
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.sizes import Sizes, sizes_of
from rlottery.study.resources.room import agent_bytes, replay_bytes, size, weight_counts

MB = 2**20
LIBRARIES = 150 * MB
"""Code of JAX, NumPy and the rest that workers run, mapped from files."""
COMMAND, REPORTED = 180 * MB, 0.6 * MB
"""The command that starts the workers, and draws the report and its films at the end; each run that is reported."""
WORKER = {"dense": 248 * MB, "rewind": 248 * MB, "ticket": 255 * MB, "mask": 236 * MB}
"""A worker by stage: interpreter, JAX, compiled programs. What compiling leaves free is where a checkpoint's pieces of
replay are put together (4 MB each, four times over). Masks by the size of weights alone need half."""
METAWORLD, METAWORLD_MODEL = 72 * MB, 35 * MB
"""Meta-World imported and used once; each environment in use. Gymnasium's own take next to nothing."""
AGENT_COPIES = 5
"""Training: the agent, what it began from, its gradients; when it is saved its dense weights (also of a ticket that
trains on its survivors alone), those as bytes, and the file's content."""
EVIDENCE = 6
"""Mask stage: arrays of the weights' size for gradients, their means and scores; as many as were seen at once."""
ACTIVATIONS = 2
"""Each of an update's activations, and its gradient."""


class Memory(NamedTuple):
    """Bytes that a run holds at most: its own, and of its task's dense replay buffer, which it maps read-only."""

    own: float
    mapped: float


class StudyMemory(NamedTuple):
    """Bytes that a study holds at most: its command, its workers' own, and what these share."""

    command: float
    workers: float
    shared: float


def run_memory(job: Job, sizes: Sizes) -> Memory:
    """What a job holds, its worker apart.

    Training: `AGENT_COPIES` agents; activations; the replay ring, which grows as it fills; two environments, one of
    them for evaluations. A mask: one agent, `EVIDENCE` arrays of its weights, activations.
    """
    config = job.config
    agent = agent_bytes(config, sizes)
    if job.stage == "mask":
        arm, evidence = job.ticket_arm, EVIDENCE * 4.0 * sum(weight_counts(config, sizes))
        own = agent + evidence + _environment_bytes(job, 0)
        if not arm.needs_replay:
            return Memory(own, 0.0)
        own += _activation_bytes(config, sizes, arm.scoring.recipe.batch_size)
        return Memory(own, replay_bytes(config, job.task, sizes))
    activations = _activation_bytes(config, sizes, config.sac_for(job.task).batch_size)
    ring = _ring_bytes(job, sizes)
    own = AGENT_COPIES * agent + activations + ring + _environment_bytes(job, 2)
    return Memory(own, 0.0)


def study_memory(jobs: Sequence[Job], sizes: Sequence[Sizes], workers: int, together: int = 1) -> StudyMemory:
    """What a study holds at most, whichever of these jobs are under way at once.

    Args:
        sizes: of every task of the config.
        together: how many jobs a worker does at most.
    """
    runs = [(job, run_memory(job, sizes[job.task_index])) for job in jobs]
    largest = sorted(runs, key=lambda run: -sum(run[1]))[: workers * together]
    buffers: dict[RunFiles, float] = {}
    for job, run in largest:
        buffers[job.dense_files] = max(run.mapped, buffers.get(job.dense_files, 0.0))
    processes = min(workers, len(jobs)) * max((WORKER[job.stage] for job in jobs), default=0)
    return StudyMemory(
        command=COMMAND
        + REPORTED * len({job.files for job in jobs})
        + max((_environment_bytes(job, 1) for job in jobs), default=0),
        workers=processes + sum(run.own for _, run in largest),
        shared=LIBRARIES + sum(buffers.values()),
    )


def tell_of_memory(
    config: Config, jobs: Sequence[Job], workers: int, together: int, say: Callable[[str], None]
) -> None:
    """Say so if a study may need more memory than is available; it may need less, too, and is started all the same."""
    available = available_bytes()
    sizes = [sizes_of(task) for task in config.tasks]
    if available is None or (needed := sum(study_memory(jobs, sizes, workers, together))) <= available:
        return
    fewer = [n for n in range(1, workers) if sum(study_memory(jobs, sizes, n, together)) <= available]
    mend = f"workers={fewer[-1]} fits" if fewer else "one worker may be too many; a smaller replay_capacity needs less"
    say(
        f"This study may need {size(needed)} of memory with {workers} worker{'s' if workers > 1 else ''}, and "
        f"{size(available)} are available: {mend}."
    )


def available_bytes(told: Path = Path("/proc/meminfo")) -> int | None:
    """Memory that programs may still take; None where the system doesn't tell."""
    try:
        lines = dict(line.split(":", 1) for line in told.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError, IndexError):
        return None


def _ring_bytes(job: Job, sizes: Sizes) -> float:
    """The replay buffer of a run as it is when it ends."""
    config = job.config
    steps = job.env_steps if job.stage != "rewind" else max(config.rewind_steps)
    training = config.training_for(job.task).model_copy(update={"env_steps": job.env_steps})
    return 4.0 * (2 * sizes.observation + sizes.action + 2) * min(training.capacity, steps)


def _activation_bytes(config: Config, sizes: Sizes, batch_size: int) -> float:
    """Of one batch, through the actor and both critics."""
    network, (observation, action) = config.network, sizes
    actor = observation + sum(network.actor) + 2 * action
    critic = observation + action + sum(network.critic) + 1
    return ACTIVATIONS * 4.0 * batch_size * (actor + 2 * critic)


def _environment_bytes(job: Job, number: int) -> int:
    return METAWORLD + number * METAWORLD_MODEL if envs.is_metaworld(job.task.id) else 0
