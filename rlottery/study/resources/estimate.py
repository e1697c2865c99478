"""The time and disk space that a study will take, estimated from the trials of its tasks and the speed of this machine.

A trial that a study has recorded may have been made on another machine, and one of a slow task sees the start of an
episode only: the time of environment steps is as good as that.
"""

import math
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from rich.console import Group
from rich.text import Text

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.description import Spec
from rlottery.agents.kernels.library import find
from rlottery.config import Config, Task
from rlottery.config.cluster_profile import ClusterProfile
from rlottery.config.recipes import SparseTrainingRecipe
from rlottery.errors import StudyError
from rlottery.processes.children import ChildError, call_in_child, child_environment
from rlottery.report.wording import plural
from rlottery.study.durations import duration, rough_duration
from rlottery.study.execution.bundles import most_together
from rlottery.study.execution.cores import usable_cores
from rlottery.study.execution.executor import worker_count
from rlottery.study.line_tables import RunTable
from rlottery.study.planning.devices import check_device
from rlottery.study.planning.jobs import TRAINING, UNTRAINED, Job, prerequisites
from rlottery.study.planning.plan import JobState, Tracked
from rlottery.study.planning.recipe_warnings import recipe_warnings
from rlottery.study.planning.trials import try_tasks
from rlottery.study.resources.disk_space import disk_use, group_weights, kept_bytes, size
from rlottery.study.resources.memory import available_memory, memory_warnings, study_memory
from rlottery.study.resources.process_limits import address_space, check_process_limits
from rlottery.study.run_rows import rows_of

GEMM_SHARE = {True: 0.88, False: 0.72}
"""Share of NumPy's matrix-multiplication rate that an update reaches, with the compiled kernels and without
(measured by ``benchmarks/speed.py``)."""
SPARSE_SHARE = 0.45
"""The same for a sparse update, with masks that leave few dead units (global allocation)."""
START_SECONDS = 8.0
"""Start of a worker, and compilation."""
UPDATE_SECONDS = 4e-4
"""An update's time outside its matrix products: minibatch, dispatch, small operations, and an action."""
MASK_SECONDS = 10.0
"""A mask job, including its start."""
MEASURING_SECONDS = 120.0
"""The longest that the measurement of this machine may take. It takes about two seconds."""
USUAL_GEMM = 1e11
"""float32 FLOP/s of one core."""
SLOWEST = 0.1
"""Environment steps per second, if the trial of a task shows fewer: it may end before the first step."""
_GEMM_SIZE = 256
_COLUMNS = ("run", "state", "env steps", "time", "disk, MB")


@dataclass(frozen=True)
class Rates:
    """Rates of one core for one task.

    Attributes:
        gemm: float32 FLOP/s of NumPy's matrix product.
        env_steps: environment steps per second, including the reset.
        episode_steps: steps of an episode with random actions, as far as the trial of the task played it.
        spec: sizes of the task's observations and actions.
    """

    gemm: float
    env_steps: float
    episode_steps: float
    spec: Spec


class DaskCores(NamedTuple):
    """The threads of the workers of a Dask cluster, each of which does a run at a time; None if they aren't known."""

    scheduler: str
    threads: int | None


def estimate_table(
    config: Config,
    tracked: list[Tracked],
    cluster: ClusterProfile | DaskCores | None = None,
    other: tuple[str, Sequence[Job]] | None = None,
) -> Group:
    """A table of the runs of a plan with their estimated time and disk space, and the totals for this machine.

    Args:
        cluster: what the totals are for; None: this machine. The cluster's cores are taken to be like this machine's.
        other: the built-in method that is not in the plan, and the jobs that it would add (`left_to_other_method`).
    """
    waiting = [t for t in tracked if t.state is JobState.WAITING]
    rates = measure(config) if waiting else []
    added = [Text(warning) for warning in recipe_warnings(config, [t.job for t in waiting])]
    added += [Text(_added(*other, rates))] if waiting and other and other[1] else []
    rows: list[tuple[str, ...]] = []
    takes = {id(t): job_seconds(t.job, rates[t.job.task_index]) for t in waiting}
    ends: list[float] = []  # when each job would end if it had a worker of its own
    for item, before in zip(tracked, prerequisites([t.job for t in tracked]), strict=True):
        ends.append(max((ends[needed] for needed in before), default=0.0) + takes.get(id(item), 0.0))
    for row in rows_of(tracked):
        name = row.short_label if len(config.tasks) == 1 else row.label
        to_do = [item for item in row.jobs if item.state is JobState.WAITING]
        if not to_do:
            rows.append((name, row.state.value, "", "", ""))
            continue
        seconds = sum(takes[id(item)] for item in to_do)
        megabytes = sum(kept_bytes(item.job, rates[item.job.task_index].spec) for item in to_do) / 1e6
        steps = "".join(f"{item.job.env_steps:,}" for item in to_do if item.job.stage in TRAINING)
        rows.append((name, "to do", steps, duration(seconds), f"{megabytes:,.1f}"))
    table = RunTable(_COLUMNS, rows, to_the_left=_COLUMNS[:1], dispensable=("env steps", "disk, MB"))
    work = sum(takes.values())
    if not waiting:
        return Group(table, Text("\nNothing is left to do."))
    if isinstance(cluster, DaskCores):
        return Group(table, Text(_dask_totals(config, waiting, rates, work, max(ends), cluster)), *added)
    if cluster is not None:
        totals = _slurm_totals(config, waiting, rates, work, max(takes.values()), cluster)
        return Group(table, Text(totals), *added)
    together = most_together(config.device)
    workers = worker_count(config.workers, len(waiting), together)
    elapsed = max(work / workers, *ends)
    todo = [t.job for t in waiting]
    specs = [of_task.spec for of_task in rates]
    disk = disk_use(todo, specs, workers * together)
    memory = sum(study_memory(todo, specs, workers, together))
    check_device(config)
    check_process_limits(config, todo, workers, together)
    here = "; ".join(machine_limits())
    warnings = "".join(f"{warning}\n" for warning in memory_warnings(config, todo, workers, together))
    total = (
        f"\nAbout {work / 3600:.2g} core hours: {duration(elapsed)} with {plural(workers, 'worker')}. "
        f"About {size(disk.kept)} in {config.data}, and {size(disk.working)} more while it runs.\n"
        f"Memory at most {size(memory)} with {plural(workers, 'worker')}.\nThis machine: {here}.\n{warnings}"
        "Nothing was started."
    )
    return Group(table, Text(total), *added)


def _added(method: str, jobs: Sequence[Job], rates: Sequence[Rates]) -> str:
    """What the other built-in method would add to a plan, and how to have it planned."""
    seconds = sum(job_seconds(job, rates[job.task_index]) for job in jobs)
    kept = sum(kept_bytes(job, rates[job.task_index].spec) for job in jobs)
    runs = len({job.files for job in jobs if job.stage in TRAINING})
    return (
        f"To compare both methods, --pruning-method {method} adds {plural(runs, 'run')}: about {seconds / 3600:.2g} "
        f"core hours and {size(kept)}."
    )


def _dask_totals(
    config: Config,
    waiting: Sequence[Tracked],
    rates: Sequence[Rates],
    work: float,
    longest: float,
    cluster: DaskCores,
) -> str:
    """What a study takes on a Dask cluster, and how it is done there."""
    runs = _runs_by_wave(waiting)
    waves = [f"{plural(runs[wave], 'run')} of {wave}" for wave in _WAVES.values() if wave in runs]
    most = max(runs.values())
    if cluster.threads is None:
        at_a_time = f"The scheduler at {cluster.scheduler} doesn't answer, so the number of its threads is unknown."
    elif not cluster.threads:
        at_a_time = f"The scheduler at {cluster.scheduler} has no workers now."
    else:
        most = min(most, cluster.threads)
        elapsed = duration(max(work / cluster.threads, longest))
        at_a_time = f"The cluster has {plural(cluster.threads, 'thread')} now: {elapsed}, if nobody else uses it."
    return (
        f"\nAbout {work / 3600:.2g} core hours at this machine's speed. On Dask: {', then '.join(waves)}, each on a "
        f"thread of a worker. {at_a_time}\n{_disk_on_a_cluster(config, waiting, rates, most)}"
    )


def _slurm_totals(
    config: Config,
    waiting: Sequence[Tracked],
    rates: Sequence[Rates],
    work: float,
    longest: float,
    profile: ClusterProfile,
) -> str:
    """What a study takes on Slurm, and how it is queued there."""
    runs = _runs_by_wave(waiting)
    jobs = {wave: -(-number // profile.cores) for wave, number in runs.items()}
    waves = [f"{plural(jobs[wave], 'job')} of {wave}" for wave in _WAVES.values() if wave in jobs]
    most = min(profile.jobs, max(jobs.values(), default=1))
    limit = profile.time * 60
    sessions = f"The longest run takes about {rough_duration(longest)}; a job may take {rough_duration(limit)}"
    requeued = f", so it is requeued about {plural(math.ceil(longest / limit) - 1, 'time')}" if longest > limit else ""
    return (
        f"\nAbout {work / 3600:.2g} core hours at this machine's speed. On Slurm: {', then '.join(waves)}, "
        f"with {plural(profile.cores, 'core')} each; at most {most:,} in the queue or running "
        f"({most * profile.cores:,} cores).\n{sessions}{requeued}.\n"
        f"{_disk_on_a_cluster(config, waiting, rates, most * profile.cores)}"
    )


_WAVES = {True: "dense agents and untrained policies", False: "tickets and controls with their masks"}
"""The runs of a cluster's first jobs, and of those that they wait for: whether they have no arm."""


def _runs_by_wave(waiting: Sequence[Tracked]) -> Counter[str]:
    """How many runs each of `_WAVES` has."""
    return Counter({t.job.files: _WAVES[t.job.arm is None] for t in waiting}.values())


def _disk_on_a_cluster(config: Config, waiting: Sequence[Tracked], rates: Sequence[Rates], at_a_time: int) -> str:
    """The disk space for so many runs at a time, and the end of a dry run for a cluster."""
    disk = disk_use([t.job for t in waiting], [of_task.spec for of_task in rates], at_a_time)
    return (
        f"About {size(disk.kept)} in {config.data}, and up to {size(disk.working)} more while it runs.\n"
        "Nothing was submitted."
    )


def machine_limits() -> list[str]:
    """The cores and the memory that a study can use here, and what limits them, one phrase each."""
    cores, memory, space = usable_cores(), available_memory(), address_space()
    found = [f"{plural(cores.number, 'core')} ({cores.why})"]
    if memory is not None:
        found.append(f"memory {memory}")
    if space < math.inf:
        found.append(f"address space of a process {size(space)} (`ulimit -v`)")
    return found


def job_seconds(job: Job, rates: Rates) -> float:
    """Estimated seconds on one core."""
    if job.stage == "mask":
        return MASK_SECONDS
    if job.stage == UNTRAINED:
        policies = job.config.evaluation.untrained_policies
        return START_SECONDS + policies * rates.episode_steps / rates.env_steps
    if job.stage == "rewind":  # a dense run that is still to be trained saves them on the way
        steps = max(job.config.rewind_steps) if job.dense_files.manifest.exists() else 0
        return train_seconds(job.config, job.task, rates, steps) if steps else 0.0
    return train_seconds(job.config, job.task, rates, job.env_steps, share_of_dense(job, rates.spec))


def share_of_dense(job: Job, spec: Spec) -> float:
    """Time of the matrix products of a run, as a share of those of the dense agent."""
    arm = job.arm
    pruned = None if arm is None else arm.root.sparsity
    if arm is None or job.stage != "ticket" or pruned is None:
        return 1.0
    operations = _operations(job.config, job.task, spec)
    density = sum(count * (1.0 - pruned[group]) for group, count in operations.items()) / sum(operations.values())
    if arm.has_small_network:
        return density
    starts_dense = isinstance(arm.recipe, SparseTrainingRecipe) and arm.recipe.updates.starts_dense
    if starts_dense or not _has_kernels(job.config):
        return 1.0
    return min(1.0, density * GEMM_SHARE[True] / SPARSE_SHARE)


def train_seconds(config: Config, task: Task, rates: Rates, env_steps: int | None = None, share: float = 1.0) -> float:
    """Estimated seconds on one core for one run: updates, environment steps, evaluations, start.

    Args:
        share: time of an update's matrix products, as a share of a dense agent's.
    """
    training = config.training_for(task)
    env_steps = training.env_steps if env_steps is None else env_steps
    updates = training.updates_by(env_steps)
    evaluations = config.evaluation.number(env_steps) + 1
    steps = env_steps + evaluations * config.evaluation.episodes * rates.episode_steps
    flops = share * update_flops(config, task, rates.spec)
    update = flops / (GEMM_SHARE[_has_kernels(config)] * rates.gemm) + UPDATE_SECONDS
    return START_SECONDS + updates * update + steps / rates.env_steps


def _has_kernels(config: Config) -> bool:
    return config.device == "cpu" and find().usable


def update_flops(config: Config, task: Task, spec: Spec) -> float:
    """Floating-point operations of one dense update in its matrix products."""
    batch_size: int = algorithm_of(config).settings(config, task).batch_size
    return batch_size * sum(_operations(config, task, spec).values())


def _operations(config: Config, task: Task, spec: Spec) -> dict[str, float]:
    """Floating-point operations of a dense update per transition, by group of networks."""
    algorithm = algorithm_of(config)
    per_weight = algorithm.operations(algorithm.settings(config, task))
    return {group: per_weight[group] * float(n) for group, n in group_weights(config, task, spec).items()}


def expected_seconds(config: Config, jobs: Sequence[Job]) -> list[float]:
    """Estimated seconds of each job on a core of usual speed. Their ratios hold on others."""
    rates = _rates(config, USUAL_GEMM)
    return [job_seconds(job, rates[job.task_index]) for job in jobs]


def measure(config: Config) -> list[Rates]:
    """The rates of each of the config's tasks: from its trial, and of one core in a process like a worker.

    Raises:
        TaskError: a task can't be used.
        StudyError: no process can measure this machine.
    """
    function = f"{__name__}:{gemm_rate.__name__}"
    try:
        gemm = call_in_child(function, seconds=MEASURING_SECONDS, environment=child_environment(config.device))
    except (ChildError, OSError) as error:
        raise StudyError(f"The speed of this machine can't be measured: {error}") from None
    return _rates(config, gemm)


def _rates(config: Config, gemm: float) -> list[Rates]:
    trials = try_tasks(config)
    return [
        Rates(gemm, max(of.steps_per_second, SLOWEST), of.steps, Spec.of(of))
        for of in (trials[task.id] for task in config.tasks)
    ]


def gemm_rate(rounds: int = 200) -> float:
    """float32 FLOP/s of NumPy's matrix product in this process."""
    matrix = np.ones((_GEMM_SIZE, _GEMM_SIZE), np.float32)
    out = np.empty_like(matrix)
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        np.dot(matrix, matrix, out=out)
        times.append(time.perf_counter() - began)
    return 2.0 * _GEMM_SIZE**3 / float(np.median(times))
