"""The disk space that a study needs, estimated before it starts."""

import contextlib
import os
import shutil
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.description import Spec, kernel_shapes, weight_count
from rlottery.config import ON_POLICY, Config, Task
from rlottery.errors import StudyError
from rlottery.storage.checkpoint_record import KEPT
from rlottery.study.planning.earlier import repeated
from rlottery.study.planning.jobs import UNTRAINED, Job
from rlottery.study.planning.network_sizes import networks_of, task_spec

BYTES_PER_STEP_OF_METRICS = 1.0
"""As JSON lines. TensorBoard files take as much again."""
BYTES_PER_UNTRAINED = 30.0
"""Of each untrained policy: its return and its success."""


class DiskUse(NamedTuple):
    """Bytes that a study keeps, and additional bytes that it needs while it runs."""

    kept: float
    working: float


def disk_use(jobs: Sequence[Job], specs: Sequence[Spec], at_once: int) -> DiskUse:
    """The disk space that these jobs need, of which `at_once` run at the same time. `specs` are those of all tasks."""
    kept = sum(kept_bytes(job, specs[job.task_index]) for job in jobs)
    working = max((working_bytes(job, specs[job.task_index]) for job in jobs), default=0.0)
    return DiskUse(kept, min(at_once, len(jobs)) * working)


def check_room(config: Config, jobs: Sequence[Job], at_once: int) -> None:
    """Raise StudyError unless the disk has room for these jobs, of which `at_once` run at the same time."""
    needed = sum(disk_use(jobs, [task_spec(task) for task in config.tasks], at_once))
    # The files of interrupted runs are there already. Finished results stay next to what is trained again.
    folders = {job.files.folder if repeated(job) is None else job.files.aside.folder for job in jobs}
    needed -= sum(map(_bytes_in, folders))
    folder = next(path for path in (config.data, *config.data.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        buffers = ", or set keep_replay: false" if config.keep_replay else ""
        raise StudyError(
            f"This study needs about {size(needed)} of disk space, but {folder} has only {size(free)} free. "
            f"Free some space, choose another folder with data=FOLDER{buffers}."
        )


def _bytes_in(folder: Path) -> int:
    """Bytes of the files in a folder. Another command may be deleting them at this moment."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):
                status = Path(place, name).stat()
                total += status.st_size * stat.S_ISREG(status.st_mode)
    return total


def kept_bytes(job: Job, spec: Spec) -> float:
    """Bytes of the files that a job leaves behind.

    A mask takes one byte per weight and is stored twice: in the arm's folder, and under its method's name. A run leaves
    its agent and its metrics. A dense run also leaves its initial weights, an agent for each rewind point and, with
    ``keep_replay``, its replay buffer.
    """
    config, agent = job.config, agent_bytes(job.config, job.task, spec)
    weights = sum(group_weights(config, job.task, spec).values())
    if job.stage == "rewind":
        return agent * len(config.rewind_steps) if job.dense_files.manifest.exists() else 0.0
    if job.stage == UNTRAINED:
        return BYTES_PER_UNTRAINED * config.evaluation.untrained_policies
    if job.stage == "mask":
        return 2.0 * weights
    metrics = 2 * BYTES_PER_STEP_OF_METRICS * config.training_for(job.task).env_steps
    if job.stage == "ticket":
        return agent + metrics
    replay = replay_bytes(config, job.task, spec) if config.keep_replay else 0.0
    agents = 1 + len(config.rewind_steps)
    return agents * agent + metrics + 4.0 * weights + replay


def working_bytes(job: Job, spec: Spec) -> float:
    """Additional bytes that a job needs while it runs: its checkpoints, and a replay buffer that is deleted later."""
    config = job.config
    if job.stage in ("mask", "rewind", UNTRAINED):
        return 0.0
    replay = replay_bytes(config, job.task, spec)
    temporary = 0.0 if config.keep_replay else replay
    return (KEPT + 1) * agent_bytes(config, job.task, spec) + replay + temporary


def agent_bytes(config: Config, task: Task, spec: Spec) -> float:
    """Bytes of a saved agent: weights, targets and optimiser moments. Biases are not counted."""
    copies = algorithm_of(config).copies
    return 4.0 * sum(copies[group] * weights for group, weights in group_weights(config, task, spec).items())


def replay_bytes(config: Config, task: Task, spec: Spec) -> float:
    """Bytes of a replay buffer at the end of a run."""
    training = config.training_for(task)
    return transition_bytes(config, spec) * min(training.capacity, training.env_steps)


def transition_bytes(config: Config, spec: Spec) -> float:
    """Bytes of one transition: two observations, an action, a reward, a termination; on-policy, an episode's end."""
    return 4.0 * (2 * spec.observation_size + spec.action_size + 2 + (config.algorithm in ON_POLICY))


def group_weights(config: Config, task: Task, spec: Spec) -> dict[str, int]:
    """Number of kernel weights of each group of networks."""
    shapes = kernel_shapes(networks_of(config, task, spec))
    return {group: weight_count(layers) for group, layers in shapes.items()}


def size(number: float) -> str:
    """A number of bytes as text: ``8.2 kB``, ``12.3 MB``, ``1.2 GB``."""
    if number >= 1e9:
        return f"{number / 1e9:,.1f} GB"
    return f"{number / 1e6:,.1f} MB" if number >= 1e5 else f"{number / 1e3:,.1f} kB"
