"""The agent of a job: its settings, RNG streams and initial weights, and the files of other runs that it reads."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.base import Algorithm, from_arrays, functions_of, jax_key
from rlottery.agents.networks import Tree
from rlottery.config import NetworkSettings
from rlottery.errors import StudyError
from rlottery.seeding import Streams
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import check_files
from rlottery.storage.paths import REPLAY_FILES
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.finished_runs import dense_manifest, run_manifest
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.training import replay_buffer as replay


def algorithm_for(job: Job) -> Algorithm:
    """The functions of the algorithm that the job's study trains."""
    return functions_of(algorithm_of(job.config))


def streams_of(job: Job) -> Streams:
    """The RNG streams of the job's run."""
    return Streams(job.config.name, job.task.name, job.seed, job.arm_name)


def settings_of(job: Job, widths: NetworkSettings | None = None) -> Any:
    """The algorithm's settings for the job's task, with the config's hidden widths or with these."""
    return algorithm_of(job.config).settings(job.config, job.task, widths)


def weights_from(job: Job, seed: int, widths: NetworkSettings | None = None) -> Tree:
    """Fresh weights for the job's networks, which depend on `seed` alone."""
    weights: Tree = jax.jit(_init_params(job, widths))(jax_key(seed))
    return weights


def fresh_policies(job: Job) -> Callable[[int], Tree]:
    """A function from a seed to the acting network of a dense agent with fresh weights, as NumPy arrays."""
    initialise, algorithm = _init_params(job), algorithm_for(job)
    # One program for all seeds, which leaves the critics out.
    make = jax.jit(lambda key: algorithm.acting(initialise(key)))

    def policy(seed: int) -> Tree:
        network: Tree = jax.device_get(make(jax_key(seed)))
        return network

    return policy


def initial_weights(job: Job) -> Tree:
    """The dense run's initial weights, from its file."""
    shapes = jax.eval_shape(_init_params(job), jax_key(0))
    weights: Tree = from_arrays(shapes, checked_arrays(job.dense, job.dense_files.initial))
    return weights


def saved_agent(of: Job, path: Path) -> Any:
    """The complete agent that a run saved in `path`, without its masks."""
    settings, algorithm = settings_of(of), algorithm_for(of)
    shapes = jax.eval_shape(lambda key: algorithm.init(_init_params(of)(key), key, settings), jax_key(0))
    return from_arrays(shapes, checked_arrays(of, path))


def checked_arrays(of: Job, path: Path) -> dict[str, np.ndarray]:
    """The arrays of a run's file, verified against the checksum in its manifest."""
    check_files(of.files.folder, run_manifest(of)["files"], path.name)
    return read_arrays(path)


def dense_replay(job: Job) -> Transitions:
    """The dense run's replay buffer, verified to be intact and of this task."""
    check_files(job.dense_files.folder, dense_manifest(job)["files"], *REPLAY_FILES)
    stored, spec = replay.load_replay(job.dense_files.replay), task_spec(job.task)
    if (stored.observations.shape[1], stored.actions.shape[1]) != spec.sizes:
        raise StudyError(
            f"The replay buffer in {job.dense_files.replay} is of another task: its observations have "
            f"{stored.observations.shape[1]} entries and its actions {stored.actions.shape[1]}, but this task has "
            f"{spec.observation_size} and {spec.action_size}."
        )
    return stored


def warmup_replay(job: Job) -> Transitions:
    """The transitions that the dense run's random policy collected before the first update, if the buffer kept them."""
    training = job.config.training_for(job.task)
    if training.capacity < training.env_steps:
        raise StudyError(
            f"{job.arm_name} scores on the transitions of the warm-up, but the replay buffer in "
            f"{job.dense_files.replay} has only the last {training.capacity:,} of {training.env_steps:,} transitions. "
            "Set replay_capacity: all and data=ANOTHER_FOLDER."
        )
    return Transitions(*(field[: training.warmup_steps] for field in dense_replay(job)))


def _init_params(job: Job, widths: NetworkSettings | None = None) -> Callable[[jax.Array], Tree]:
    """A function from a key to fresh weights for the job's networks."""
    return partial(algorithm_for(job).init_params, spec=task_spec(job.task), settings=settings_of(job, widths))
