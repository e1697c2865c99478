"""The agent of a job: its settings, RNG streams and initial weights, and the files of other runs that it reads."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.base import Algorithm, from_arrays, functions_of, jax_key
from rlottery.agents.networks import Tree, mlp_in_numpy
from rlottery.config import NetworkSettings
from rlottery.errors import StudyError
from rlottery.seeding import Streams
from rlottery.storage.disk import read_arrays
from rlottery.storage.manifests import check_files
from rlottery.storage.paths import REPLAY_FILES
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.finished_runs import collected_data, dense_manifest, run_manifest
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
    algorithm = algorithm_of(job.config)
    return algorithm.fit(algorithm.settings(job.config, job.task, widths), task_spec(job.task))


def weights_from(job: Job, seed: int, widths: NetworkSettings | None = None) -> Tree:
    """Fresh weights for the job's networks, which depend on `seed` alone."""
    initialise = jax.jit(algorithm_for(job).init_params, static_argnames=("spec", "settings"))
    weights: Tree = initialise(jax_key(seed), spec=task_spec(job.task), settings=settings_of(job, widths))
    return weights


def fresh_policies(job: Job) -> Callable[[int], Callable[[np.ndarray], np.ndarray]]:
    """A function from a seed to the deterministic policy of a dense agent with fresh weights: (obs,) -> (act,)."""
    initialise, algorithm, settings, spec = _init_params(job), algorithm_for(job), settings_of(job), task_spec(job.task)
    activation = algorithm.description.acting_activation(spec, settings)

    @jax.jit  # one program for all seeds, which leaves the critics out
    def acting(key: jax.Array) -> tuple[Tree, dict[str, jax.Array]]:
        params = initialise(key)
        return algorithm.acting(params), algorithm.acting_arrays(algorithm.init(params, key, settings))

    def policy(seed: int) -> Callable[[np.ndarray], np.ndarray]:
        network, arrays = jax.device_get(acting(jax_key(seed)))

        def choose(observation: np.ndarray) -> np.ndarray:
            outputs = mlp_in_numpy(network, algorithm.see(observation, arrays), activation)
            return algorithm.deterministic(algorithm.complete(outputs, arrays), spec)

        return choose

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
    """The dense run's replay buffer, verified to be intact and of this task and algorithm."""
    manifest = dense_manifest(job)
    check_files(job.dense_files.folder, manifest["files"], *REPLAY_FILES)
    data = collected_data(manifest["fingerprint"])
    stored, spec = replay.load_replay(job.dense_files.replay), task_spec(job.task)
    if (stored.observations.shape[1], stored.actions.shape[1]) != spec.sizes:
        raise StudyError(
            f"{job.dense_files.replay} holds the {data} of another task: observations have "
            f"{stored.observations.shape[1]} entries and actions {stored.actions.shape[1]}, but this task has "
            f"{spec.observation_size} and {spec.action_size}."
        )
    if (stored.ends is None) != (algorithm_of(job.config).rollouts(settings_of(job)) is None):
        raise StudyError(f"{job.dense_files.replay} doesn't hold {data}: another kind of algorithm saved it.")
    return stored


def scored_replay(job: Job) -> Transitions:
    """What statistics of a trained agent read: the whole replay buffer, or the last rollouts in order of time."""
    stored, training = dense_replay(job), job.config.training_for(job.task)
    rollouts = algorithm_of(job.config).rollouts(settings_of(job))
    if rollouts is None:
        return stored
    size, steps, at_once = len(stored.rewards), training.env_steps, training.environments
    number = min(rollouts.scored, size) // at_once * at_once
    rows = np.arange(steps - number, steps) % size  # where the buffer has them, once it has wrapped around
    return Transitions(*(field[rows] for field in stored))


def first_replay(job: Job) -> Transitions:
    """The transitions before the first update, if the buffer kept them: of the random policy, or the first rollout."""
    training = job.config.training_for(job.task)
    rollouts = algorithm_of(job.config).rollouts(settings_of(job))
    if training.capacity < training.env_steps:
        what = "warm-up" if rollouts is None else "first rollout"
        raise StudyError(
            f"{job.arm_name} scores on the transitions of the {what}, but {job.dense_files.replay} has only the last "
            f"{training.capacity:,} of {training.env_steps:,} transitions. Set replay_capacity: all and "
            "data=ANOTHER_FOLDER."
        )
    number = training.warmup_steps if rollouts is None else rollouts.steps
    return Transitions(**{name: field[:number] for name, field in dense_replay(job).fields.items()})


def _init_params(job: Job) -> Callable[[jax.Array], Tree]:
    """A function from a key to fresh weights for the job's networks."""
    return partial(algorithm_for(job).init_params, spec=task_spec(job.task), settings=settings_of(job))
