"""The agent of a job: its settings, its random streams, its first weights, and what others of its study saved."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rlottery.agents.base import Algorithm, Spec, Tree, from_arrays, jax_key
from rlottery.agents.sac import SAC
from rlottery.config import NetworkSettings
from rlottery.errors import StudyError
from rlottery.seeding import Streams
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import check_files
from rlottery.storage.paths import REPLAY_FILES
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.finished_runs import dense_manifest, run_manifest
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.sizes import sizes_of
from rlottery.training import replay_buffer as replay

ALGORITHM: Algorithm = SAC


def streams_of(job: Job) -> Streams:
    """The random streams of the job's run."""
    return Streams(job.config.name, job.task.name, job.seed, job.arm_name)


def settings_of(job: Job, network: NetworkSettings | None = None) -> Any:
    """What the algorithm reads of the config; `network` in the place of the config's."""
    config = job.config if network is None else job.config.model_copy(update={"network": network})
    return ALGORITHM.settings(config, job.task)


def spec_of(job: Job) -> Spec:
    """Sizes of the task's observations and actions."""
    return Spec(*sizes_of(job.task))


def weights_from(job: Job, seed: int, network: NetworkSettings | None = None) -> Tree:
    """Fresh weights of the job's shapes; they follow from `seed` alone."""
    weights: Tree = jax.jit(_init_params(job, network))(jax_key(seed))
    return weights


def initial_weights(job: Job) -> Tree:
    """The dense run's initial weights, from its file."""
    shapes = jax.eval_shape(_init_params(job), jax_key(0))
    weights: Tree = from_arrays(shapes, checked_arrays(job.dense, job.dense_files.initial))
    return weights


def saved_agent(of: Job, path: Path) -> Any:
    """The whole agent that a run saved in `path`, without its masks."""
    settings = settings_of(of)
    shapes = jax.eval_shape(lambda key: ALGORITHM.init(_init_params(of)(key), key, settings), jax_key(0))
    return from_arrays(shapes, checked_arrays(of, path))


def checked_arrays(of: Job, path: Path) -> dict[str, np.ndarray]:
    """Arrays of a run, once they have been found to be what was written."""
    check_files(of.files.folder, run_manifest(of)["files"], path.name)
    return read_arrays(path)


def dense_replay(job: Job) -> Transitions:
    """The dense run's replay buffer, once it has been found to be what was written, and to be of this task."""
    check_files(job.dense_files.folder, dense_manifest(job)["files"], *REPLAY_FILES)
    stored, spec = replay.load(job.dense_files.replay), spec_of(job)
    if (stored.observations.shape[1], stored.actions.shape[1]) != tuple(spec):
        raise StudyError(
            f"The replay buffer in {job.dense_files.replay} is of another task: its observations have "
            f"{stored.observations.shape[1]} entries and its actions {stored.actions.shape[1]}, "
            f"this task's {spec.observation_size} and {spec.action_size}."
        )
    return stored


def warmup_replay(job: Job) -> Transitions:
    """What the dense run's random policy collected before its first update: all the data there is before training.

    Raises:
        StudyError: the buffer was too small to keep it.
    """
    training = job.config.training_for(job.task)
    if training.capacity < training.env_steps:
        raise StudyError(
            f"The replay buffer in {job.dense_files.replay} no longer holds the warm-up's data, which "
            f"{job.arm_name} scores by: it keeps the last {training.capacity:,} of {training.env_steps:,} transitions. "
            "Set replay_capacity: all, with data=ANOTHER_FOLDER."
        )
    return Transitions(*(field[: training.warmup_steps] for field in dense_replay(job)))


def _init_params(job: Job, network: NetworkSettings | None = None) -> Callable[[jax.Array], Tree]:
    """From a key to fresh weights of the job's shapes."""
    return partial(ALGORITHM.init_params, spec=spec_of(job), settings=settings_of(job, network))
