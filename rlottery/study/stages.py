"""The stages: train dense, make mask, train ticket. Each reads files, writes files, and does nothing twice."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from rlottery import envs, replay
from rlottery.agents import Algorithm, Spec, Tree, from_arrays, kernels, nest_kernels, to_arrays
from rlottery.agents.sac import SAC
from rlottery.errors import RlotteryError
from rlottery.metrics import MetricsLog
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import Mask, make_group_mask, make_mask
from rlottery.pruning.saliency import mean_abs_gradients
from rlottery.store import (
    FORMAT_VERSION,
    file_digest,
    read_arrays,
    write_arrays,
    write_bytes,
    write_folder,
    write_json,
)
from rlottery.streams import Streams, evaluation_seeds
from rlottery.study.fingerprints import Fingerprint, dense_fingerprint
from rlottery.study.plan import (
    Job,
    expected_mask_fingerprint,
    expected_ticket_fingerprint,
    load_ticket_mask,
    matching_manifest,
    own_mask,
)
from rlottery.study.progress import ProgressFile
from rlottery.study.versions import versions
from rlottery.training import Schedule, Trained, jax_key, train

ALGORITHM: Algorithm = SAC


def run_stage(job: Job) -> None:
    """Do one job.

    Raises:
        RlotteryError: it can't be done; for a training stage the manifest says so too.
    """
    {"dense": train_dense, "mask": create_mask, "ticket": train_ticket}[job.stage](job)


def train_dense(job: Job) -> None:
    """Train the dense agent; save its initial weights, itself, its metrics and its replay buffer."""
    params = jax.jit(_init_params(job))(jax_key(_streams(job).for_weights()))
    fingerprint = dense_fingerprint(job.config, job.task, job.seed)

    def train_and_save() -> Sequence[str]:
        write_arrays(job.files.initial, to_arrays(params))
        trained = _train(job, params, masks=None)
        write_folder(job.files.replay, trained.replay.save)
        return (*_save_agent(job, trained), job.files.initial.name)

    _record(job, fingerprint, {"replay": "saved"}, train_and_save)


def create_mask(job: Job) -> None:
    """Score the trained dense agent's weights; write the mask in the arm's folder and under the method's name.

    Raises:
        StudyError: the arm's ticket is there, trained with another mask, which stays as it is.
    """
    if own_mask(job) is None:
        mask = _score_and_select(job)
        matching_manifest(job.files, expected_ticket_fingerprint(job, mask))
        write_bytes(job.files.mask, mask_to_bytes(mask))
    write_bytes(job.mask_path, job.files.mask.read_bytes())


def train_ticket(job: Job) -> None:
    """Rewind to the initial weights, apply the mask, train with an empty buffer and a fresh optimiser."""
    mask = load_ticket_mask(job)
    shapes = jax.eval_shape(_init_params(job), jax_key(0))
    rewound = from_arrays(shapes, read_arrays(job.dense_files.initial))
    facts = {
        "method": mask.metadata["method"],
        "criterion": mask.metadata["criterion"],
        "sparsity": mask.metadata["sparsity_reached"],
    }

    def train_and_save() -> Sequence[str]:
        write_bytes(job.files.mask, mask_to_bytes(mask))
        return (*_save_agent(job, _train(job, rewound, masks=mask)), job.files.mask.name)

    _record(job, expected_ticket_fingerprint(job, mask), facts, train_and_save)


def _train(job: Job, params: Tree, masks: Mask | None) -> Trained:
    """Train from `params`. Every arm comes through here; a dense one has no mask."""
    config, streams, settings = job.config, _streams(job), _settings(job)
    state = ALGORITHM.init(params, jax_key(streams.for_purpose("updates")), settings)
    if masks is not None:
        state = ALGORITHM.with_masks(state, {g: nest_kernels(layers) for g, layers in masks.groups.items()})
    schedule = Schedule(
        training=config.training_for(job.task),
        batch_size=config.sac_for(job.task).batch_size,
        evaluation_interval=config.evaluation.interval,
        evaluation_seeds=evaluation_seeds(config.name, job.task.name, config.evaluation.episodes),
        streams=streams,
    )
    make_environment = partial(envs.make, job.task.id, job.task.kwargs)
    progress = ProgressFile(job.files.progress, schedule.training.env_steps)
    try:
        with MetricsLog(job.files.metrics, job.files.tensorboard) as log:

            def write(row: dict[str, Any]) -> None:
                log.write(row)
                progress.saw(row)

            return train(ALGORITHM, settings, state, make_environment, schedule, write, progress.tick)
    finally:
        progress.remove()


def _save_agent(job: Job, trained: Trained) -> tuple[str, ...]:
    assert ALGORITHM.masks_hold(trained.state), "a pruned weight came back to life"
    write_arrays(job.files.agent, to_arrays(trained.state._replace(masks={})))
    return (job.files.agent.name, job.files.metrics.name)


def _score_and_select(job: Job) -> Mask:
    arm, settings = job.arm, _settings(job)
    shapes = jax.eval_shape(lambda key: ALGORITHM.init(_init_params(job)(key), key, settings), jax_key(0))
    state = from_arrays(shapes, read_arrays(job.dense_files.agent))
    saliency: dict[str, dict[str, np.ndarray]] = {}
    if arm.needs_replay:
        saliency = mean_abs_gradients(
            ALGORITHM,
            settings,
            state,
            replay.load(job.dense_files.replay),
            jax_key(_streams(job).for_purpose("saliency noise")),
            _streams(job).generator("saliency batches"),
            batches=arm.batches,
            batch_size=arm.batch_size,
        )
    weights = {group: _as_numpy(kernels(tree)) for group, tree in state.params.items()}
    groups = {
        group: make_group_mask(arm.criterion, weights[group], arm.sparsity[group], saliency.get(group), group=group)
        for group in ("actor", "critic")
    }
    return make_mask(
        **groups,
        task=job.task.id,
        seed=job.seed,
        method=arm.method,
        criterion=arm.criterion,
        estimator=CRITERIA[arm.criterion].estimator,
        sparsity=arm.sparsity,
        fingerprint=expected_mask_fingerprint(job),
    )


def _record(job: Job, fingerprint: Fingerprint, facts: dict[str, Any], work: Callable[[], Sequence[str]]) -> None:
    """Do a run's work, then write its manifest; what stopped it is written there too."""
    job.files.manifest.unlink(missing_ok=True)
    began = time.time()
    manifest = {
        "format_version": FORMAT_VERSION,
        "stage": job.stage,
        "task": job.task.id,
        "task_name": job.task.name,
        "seed": job.seed,
        "arm": job.arm_name,
        "fingerprint": fingerprint,
        "versions": versions(),
        "started": began,
        **facts,
    }
    try:
        files = work()
    except Exception as error:
        said = str(error) if isinstance(error, RlotteryError) else f"{type(error).__name__}: {error}"
        manifest |= {"status": "failed", "error": said, "files": {}, "seconds": time.time() - began}
        write_json(job.files.manifest, manifest)
        raise
    digests = {name: file_digest(job.files.folder / name) for name in files}
    manifest |= {"status": "done", "files": digests, "seconds": time.time() - began}
    write_json(job.files.manifest, manifest)


def _as_numpy(layers: dict[str, Any]) -> dict[str, np.ndarray]:
    return {path: np.asarray(kernel) for path, kernel in layers.items()}


def _streams(job: Job) -> Streams:
    return Streams(job.config.name, job.task.name, job.seed, job.arm_name)


def _settings(job: Job) -> Any:
    return ALGORITHM.settings(job.config, job.task)


def _init_params(job: Job) -> Callable[[jax.Array], Tree]:
    """From a key to fresh weights of the job's shapes."""
    environment = envs.make(job.task.id, job.task.kwargs)
    environment.close()
    spec = Spec(environment.observation_size, environment.action_size)
    return partial(ALGORITHM.init_params, spec=spec, settings=_settings(job))
