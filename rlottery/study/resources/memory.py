"""The most main memory that a study needs, estimated before it starts and compared with what is available.

    command + template + workers x (worker + run) + code + dense replay buffers

A worker is an interpreter with JAX and compiled programs. A run is its agent, activations, replay buffer and
environments. Code is in memory only once, however many workers map it. The same holds for a dense agent's replay
buffer, which mask stages map and read in place. Constants were measured on Linux (`benchmarks/memory.py` repeats the
measurement). Memory of custom environments is not included. Agents on an accelerator are counted as if they were in
main memory.
"""

import contextlib
from bisect import bisect_right
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from rlottery import envs
from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.report.wording import plural
from rlottery.storage.paths import RunFiles
from rlottery.study.execution.cgroups import memory_left
from rlottery.study.planning.jobs import UNTRAINED, Job
from rlottery.study.planning.network_sizes import networks_of, task_spec
from rlottery.study.resources.disk_space import agent_bytes, group_weights, replay_bytes, size, transition_bytes
from rlottery.study.resources.process_limits import address_space

MB = 2**20
LIBRARIES = 150 * MB
"""Code of JAX, NumPy and the other libraries that workers map from files."""
COMMAND = 180 * MB
"""The command that starts the workers and finally draws the report with its videos."""
TEMPLATE = 80 * MB
"""What workers are forked from on Linux. They share most of it with it, and are counted as if they shared nothing."""
FIGURES, MOST_IN_FIGURES = 0.5 * MB, 200
"""What figures take for each run, and for how many runs at most: figures of many seeds draw the first ones."""
REPORTED, EVALUATION, EPISODE = 20_000, 740, 8
"""What the report remembers of each run besides its mask, of each of its evaluations, and of each episode of those."""
WORKER_BYTES = {"dense": 248 * MB, "rewind": 248 * MB, "ticket": 255 * MB, "mask": 236 * MB, UNTRAINED: 236 * MB}
"""A worker by stage: interpreter, JAX, compiled programs. Memory that compiling freed is reused when a checkpoint's
pieces of replay are assembled (4 MB each, four copies). Masks by weight magnitude need half of it."""
_ENVIRONMENTS = {"mask": 0, UNTRAINED: 1}
"""How many environments a job has; training has those that it trains in, and as many for evaluations."""
ADDRESS_SPACE = 1550 * MB
"""What a worker reserves besides its run: JAX and its compiler. It uses less than half of it."""
METAWORLD, METAWORLD_MODEL = 72 * MB, 35 * MB
"""Meta-World, imported and used once; and each of its environments in use. Gymnasium's own need almost nothing."""
AGENT_COPIES = 5
"""Copies of the agent while training: the agent, its initial state and its gradients; while saving, its dense weights
(also of a ticket that trains only its survivors), their bytes, and the content of the file."""
SALIENCY_ARRAYS = 6
"""Mask stage: the largest number of weight-sized arrays (gradients, their means, scores) that was measured."""
ACTIVATIONS = 3
"""Each activation of an update, its gradient, and what is computed on the way. Measured at batches of up to 4,096."""


class Memory(NamedTuple):
    """The most bytes that a run uses: its own, and those of a dense replay buffer that it maps read-only."""

    own: float
    mapped: float


class StudyMemory(NamedTuple):
    """The most bytes that a study uses: its command, its workers' own, and memory that the workers share."""

    command: float
    workers: float
    shared: float


def run_memory(job: Job, spec: Spec) -> Memory:
    """Memory of a job, without its worker.

    Training: `AGENT_COPIES` agents, activations, the replay buffer, its environments, and those for evaluations.
    A mask: one agent, `SALIENCY_ARRAYS` arrays of its weights, and activations. Untrained policies: two at a time, and
    an environment.
    """
    at_once = job.config.training_for(job.task).environments
    environments = _ENVIRONMENTS.get(job.stage, at_once + min(at_once, job.config.evaluation.episodes))
    own = sum(_needs(job, spec).values()) + _environment_bytes(job, environments)
    reads_replay = job.stage == "mask" and job.ticket_arm.needs_replay and job.ticket_arm.scores_by is not None
    return Memory(own, replay_bytes(job.config, job.task, spec) if reads_replay else 0.0)


def _memory_of(jobs: Sequence[Job], specs: Sequence[Spec]) -> Iterator[Memory]:
    """The memory of each job. Runs that differ in their seeds alone need the same."""
    known: dict[tuple[int, str, str], Memory] = {}
    for job in jobs:
        kind = job.task_index, job.stage, job.arm_name
        if kind not in known:
            known[kind] = run_memory(job, specs[job.task_index])
        yield known[kind]


def _needs(job: Job, spec: Spec) -> dict[str, float]:
    """Bytes of a job's own memory by the key that decides about them, without those of environments."""
    config, task = job.config, job.task
    agent = agent_bytes(config, task, spec)
    if job.stage == UNTRAINED:
        return {"network": 2 * agent}
    if job.stage == "mask":
        arm = job.ticket_arm
        saliency = SALIENCY_ARRAYS * 4.0 * sum(group_weights(config, task, spec).values())
        batches = {}
        if arm.needs_replay and arm.scores_by is not None:
            key = "pruning.gradient_batch_size" if arm.method else f"batch_size of arm {arm.name}"
            batches = {key: _activation_bytes(job, spec, arm.scores_by.batch_size)} | _rollout_bytes(job, spec)
        return {"network": agent + saliency} | batches
    return {
        "network": AGENT_COPIES * agent,
        f"{config.algorithm}.batch_size": _activation_bytes(
            job, spec, algorithm_of(config).settings(config, task).batch_size
        ),
        **_rollout_bytes(job, spec),
        "training.replay_capacity": _buffer_bytes(job, spec),
    }


def _rollout_bytes(job: Job, spec: Spec) -> dict[str, float]:
    """What preparing a rollout takes, by the key that decides about it; {} for algorithms that learn from replay."""
    config, algorithm = job.config, algorithm_of(job.config)
    rollouts = algorithm.rollouts(algorithm.settings(config, job.task))
    if rollouts is None:
        return {}
    units = max(max(network.sizes) for network in networks_of(config, job.task, spec))
    rows = transition_bytes(config, spec) + 4.0 * 2 * units  # a hidden layer and the next one, without gradients
    number = rollouts.scored if job.stage == "mask" else rollouts.steps
    return {f"{config.algorithm}.rollout_steps": 2 * rows * number}


def study_memory(jobs: Sequence[Job], specs: Sequence[Spec], workers: int, together: int = 1) -> StudyMemory:
    """The most memory that a study uses, whichever of these jobs run at the same time.

    Args:
        specs: of every task of the config.
        together: the most jobs that one worker runs at the same time.
    """
    runs = list(zip(jobs, _memory_of(jobs, specs), strict=True))
    largest = sorted(runs, key=lambda run: -sum(run[1]))[: workers * together]
    buffers: dict[RunFiles, float] = {}
    for job, run in largest:
        buffers[job.dense_files] = max(run.mapped, buffers.get(job.dense_files, 0.0))
    processes = min(workers, len(jobs)) * max((WORKER_BYTES[job.stage] for job in jobs), default=0)
    films = max((_environment_bytes(job, 1) for job in jobs), default=0)
    return StudyMemory(
        command=COMMAND + TEMPLATE + _reported(jobs, specs) + films,
        workers=processes + sum(run.own for _, run in largest),
        shared=LIBRARIES + sum(buffers.values()),
    )


def _reported(jobs: Sequence[Job], specs: Sequence[Spec]) -> float:
    """What the report on the runs of these jobs takes. Masks are remembered with one bit per weight."""
    runs = {job.files: job for job in jobs}
    found = FIGURES * min(len(runs), MOST_IN_FIGURES)
    for index, number in Counter(job.task_index for job in runs.values()).items():
        config, task = jobs[0].config, jobs[0].config.tasks[index]
        evaluations = config.evaluation.number(config.training_for(task).env_steps) + 1
        mask = sum(group_weights(config, task, specs[index]).values()) / 8
        found += number * (REPORTED + mask + evaluations * (EVALUATION + EPISODE * config.evaluation.episodes))
    return found


def memory_warnings(config: Config, jobs: Sequence[Job], workers: int, together: int) -> list[str]:
    """Sentences on what a study may need and may not get: memory, or a worker's address space (`ulimit -v`).

    The estimate of the memory is an upper bound.
    """
    specs, available = [task_spec(task) for task in config.tasks], available_memory()
    warnings = []
    if available and (needed := sum(study_memory(jobs, specs, workers, together))) > available.bytes:
        less = range(1, workers)  # fewer workers never need more
        fit = bisect_right(less, available.bytes, key=lambda n: sum(study_memory(jobs, specs, n, together)))
        smaller = "Even one worker may be too much: set a smaller replay_capacity"
        warnings.append(
            f"This study may need {size(needed)} of memory with {plural(workers, 'worker')}, but only {available} is "
            f"available. {f'Set workers={less[fit - 1]}' if fit else smaller}."
        )
    largest = max(map(sum, _memory_of(jobs, specs)), default=0.0)
    if (allowed := address_space()) < (needed := ADDRESS_SPACE + together * largest):
        warnings.append(
            f"A worker of this study reserves about {size(needed)} of address space, but `ulimit -v` allows only "
            f"{size(allowed)}. Run this first: ulimit -v unlimited"
        )
    return warnings


def check_memory(config: Config, jobs: Sequence[Job], root: Path = Path("/")) -> None:
    """Raise StudyError if one of these jobs alone needs more memory than the whole machine has, swap included."""
    specs = [task_spec(task) for task in config.tasks]
    memory = [of.own for of in _memory_of(jobs, specs)]
    needed = max(memory)
    largest = jobs[memory.index(needed)]
    try:
        lines = _meminfo(root)
        total = sum(int(lines[name].split()[0]) * 1024 for name in ("MemTotal", "SwapTotal"))
    except (OSError, KeyError, ValueError, IndexError):
        return
    if needed > total:
        needs = _needs(largest, specs[largest.task_index])
        key = max(needs, key=needs.__getitem__)
        raise StudyError(
            f"{largest.label} needs about {size(needed)} of memory, {size(needs[key])} of it because of {key}, but "
            f"this machine has {size(total)}. Lower {key}."
        )


class Available(NamedTuple):
    """Bytes of memory that programs may still use, and what limits them."""

    bytes: float
    by: str

    def __str__(self) -> str:
        return f"{size(self.bytes)} ({self.by})"


def available_memory(root: Path = Path("/")) -> Available | None:
    """The memory available to this process and its workers: what the machine has left, or what a control group leaves.

    None if the system doesn't report it.
    """
    found = []
    with contextlib.suppress(OSError, KeyError, ValueError, IndexError):
        found.append(Available(int(_meminfo(root)["MemAvailable"].split()[0]) * 1024, "what this machine has left"))
    if group := memory_left(root):
        found.append(Available(group.value, f"what {group.file} leaves"))
    return min(found, default=None)


def _meminfo(root: Path) -> dict[str, str]:
    return dict(line.split(":", 1) for line in (root / "proc/meminfo").read_text().splitlines())


def _buffer_bytes(job: Job, spec: Spec) -> float:
    """The replay buffer at the end of a run."""
    config = job.config
    steps = job.env_steps if job.stage != "rewind" else max(config.rewind_steps)
    training = config.training_for(job.task).model_copy(update={"env_steps": job.env_steps})
    return transition_bytes(config, spec) * min(training.capacity, steps)


def _activation_bytes(job: Job, spec: Spec, batch_size: int) -> float:
    """Activations of one batch in all networks."""
    units = sum(sum(network.sizes) for network in networks_of(job.config, job.task, spec))
    return ACTIVATIONS * 4.0 * batch_size * units


def _environment_bytes(job: Job, number: int) -> int:
    return METAWORLD + number * METAWORLD_MODEL if envs.is_metaworld(job.task.id) else 0
