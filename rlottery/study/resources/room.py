"""How much disk a study needs: known before it starts."""

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlottery.config import Config, Task
from rlottery.errors import StudyError
from rlottery.storage.checkpoint_record import KEPT
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.shapes import count, kernel_shapes
from rlottery.study.planning.sizes import Sizes, sizes_of

BYTES_PER_STEP_OF_METRICS = 1.0
"""As JSON lines; as much again for TensorBoard."""


class Room(NamedTuple):
    """Bytes that a study leaves, and bytes that it needs besides while it runs."""

    kept: float
    working: float


def room_for(jobs: Sequence[Job], sizes: Sequence[Sizes], at_once: int) -> Room:
    """What these jobs need of the disk.

    Args:
        sizes: of every task of the config.
        at_once: how many jobs run at once.
    """
    kept = sum(kept_bytes(job, sizes[job.task_index]) for job in jobs)
    working = max((working_bytes(job, sizes[job.task_index]) for job in jobs), default=0.0)
    return Room(kept, min(at_once, len(jobs)) * working)


def check_room(config: Config, jobs: Sequence[Job], at_once: int) -> None:
    """Make sure that the disk has room for these jobs, so many of them at once.

    Raises:
        StudyError: it has not; says how much is missing.
    """
    needed = sum(room_for(jobs, [sizes_of(task) for task in config.tasks], at_once))
    needed -= sum(_bytes_below(folder) for folder in {job.files.folder for job in jobs})
    folder = next(path for path in (config.data, *config.data.absolute().parents) if path.exists())
    free = shutil.disk_usage(folder).free
    if needed > free:
        buffers = ", or set keep_replay: false" if config.keep_replay else ""
        raise StudyError(
            f"This study needs about {size(needed)} of disk, and {size(free)} are free in {folder}. "
            f"Free some, choose another folder with data=FOLDER{buffers}."
        )


def _bytes_below(folder: Path) -> int:
    """What is there already of a run that was cut short."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kept_bytes(job: Job, sizes: Sizes) -> float:
    """Bytes that a job leaves.

    A mask lies there twice, as the arm's own and under its method's name, a byte a weight. A run leaves its agent,
    metrics, and, if it is dense, the initial weights, an agent for each point that some arm goes back to and, with
    ``keep_replay``, the replay buffer.
    """
    config, weights = job.config, sum(weight_counts(job.config, sizes))
    if job.stage == "rewind":
        return agent_bytes(config, sizes) * len(config.rewind_steps) if job.dense_files.manifest.exists() else 0.0
    if job.stage == "mask":
        return 2.0 * weights
    metrics = 2 * BYTES_PER_STEP_OF_METRICS * config.training_for(job.task).env_steps
    if job.stage == "ticket":
        return agent_bytes(config, sizes) + metrics
    replay = replay_bytes(config, job.task, sizes) if config.keep_replay else 0.0
    agents = 1 + len(config.rewind_steps)
    return agents * agent_bytes(config, sizes) + metrics + 4.0 * weights + replay


def working_bytes(job: Job, sizes: Sizes) -> float:
    """Bytes that a job needs besides while it runs: its checkpoints, and a buffer that is let go later."""
    config = job.config
    if job.stage in ("mask", "rewind"):
        return 0.0
    replay = replay_bytes(config, job.task, sizes)
    passing = 0.0 if config.keep_replay else replay
    return (KEPT + 1) * agent_bytes(config, sizes) + replay + passing


def agent_bytes(config: Config, sizes: Sizes) -> float:
    """A saved agent: weights, their moments, the critics' targets. Biases are left out."""
    actor, critics = weight_counts(config, sizes)
    return 4.0 * (3 * actor + 4 * critics)


def replay_bytes(config: Config, task: Task, sizes: Sizes) -> float:
    """A replay buffer at its largest."""
    training = config.training_for(task)
    return 4.0 * (2 * sizes.observation + sizes.action + 2) * min(training.capacity, training.env_steps)


def weight_counts(config: Config, sizes: Sizes) -> tuple[int, int]:
    """Kernel weights of the actor, and of both critics together."""
    shapes = kernel_shapes(config.network, sizes.observation, sizes.action)
    return count(shapes["actor"]), count(shapes["critic"])


def size(number: float) -> str:
    """Bytes as a person says them: ``12.3 MB``, ``1.2 GB``."""
    return f"{number / 1e9:,.1f} GB" if number >= 1e9 else f"{number / 1e6:,.1f} MB"
