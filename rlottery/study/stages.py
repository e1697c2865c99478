"""The stages: train dense, make mask, train ticket. Each reads files, writes files, and does nothing twice."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, cast

import jax
import numpy as np

from rlottery import envs, replay
from rlottery.agents import Algorithm, Spec, Tree, from_arrays, kernels, nest_kernels, to_arrays
from rlottery.agents.sac import SAC
from rlottery.checkpoints import Checkpoints
from rlottery.disk import FULL, read_arrays, remove_partials, write_arrays, write_bytes, write_folder
from rlottery.errors import DivergedError, RlotteryError, StoppedError, StudyError
from rlottery.manifests import FORMAT_VERSION, Manifest, Status, check, entry, write_manifest
from rlottery.metrics import MetricsLog
from rlottery.pruning.criteria import CRITERIA
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import Mask, make_group_mask, make_mask
from rlottery.pruning.saliency import mean_abs_gradients
from rlottery.store import REPLAY_FILES
from rlottery.streams import Streams, evaluation_seeds
from rlottery.study.fingerprints import Fingerprint, dense_fingerprint
from rlottery.study.plan import (
    Job,
    dense_manifest,
    expected_mask_fingerprint,
    expected_ticket_fingerprint,
    matching_manifest,
    own_mask,
    read_ticket_mask,
)
from rlottery.study.progress import ProgressFile
from rlottery.study.versions import versions
from rlottery.training import Loop, Schedule, begin, check_sound, jax_key, train

ALGORITHM: Algorithm = SAC
STALE_SECONDS = 3600.0
"""Age of a half-written mask that nobody will finish; other processes write to the same folder."""


def run_stage(job: Job, stop_wanted: Callable[[], bool] = lambda: False) -> None:
    """Do one job.

    Args:
        stop_wanted: asked where a training episode has ended; then the work is saved and left.

    Raises:
        RlotteryError: it can't be done; for a training stage the manifest says so too.
        StoppedError: it was told to stop.
    """
    remove_partials(job.files.folder)
    if job.stage == "mask":
        remove_partials(job.mask_path.parent, older_than=STALE_SECONDS)
        create_mask(job)
    else:
        {"dense": train_dense, "ticket": train_ticket}[job.stage](job, stop_wanted)


def train_dense(job: Job, stop_wanted: Callable[[], bool]) -> None:
    """Train the dense agent; save its initial weights, itself, its metrics and its replay buffer."""
    params = jax.jit(_init_params(job))(jax_key(_streams(job).for_weights()))
    fingerprint = dense_fingerprint(job.config, job.task, job.seed)

    def train_and_save(checkpoints: Checkpoints) -> Sequence[str]:
        write_arrays(job.files.initial, to_arrays(params))
        loop = _train(job, params, None, checkpoints, stop_wanted)
        write_folder(job.files.replay, loop.replay.save)
        return (*_save_agent(job, loop), job.files.initial.name, *REPLAY_FILES)

    _record(job, fingerprint, {"replay": "saved"}, train_and_save)


def create_mask(job: Job) -> None:
    """Score the trained dense agent's weights; write the mask in the arm's folder and under the method's name.

    Raises:
        DamagedError: a file of the dense agent is not what was written.
        StudyError: the arm's ticket is there, trained with another mask, which stays as it is.
    """
    if own_mask(job) is None:
        mask = _score_and_select(job)
        matching_manifest(job.files, expected_ticket_fingerprint(job, mask))
        write_bytes(job.files.mask, mask_to_bytes(mask))
    write_bytes(job.mask_path, job.files.mask.read_bytes())


def train_ticket(job: Job, stop_wanted: Callable[[], bool]) -> None:
    """Rewind to the initial weights, apply the mask, train with an empty buffer and a fresh optimiser."""
    mask, mask_bytes = read_ticket_mask(job)
    shapes = jax.eval_shape(_init_params(job), jax_key(0))
    rewound = from_arrays(shapes, _dense_arrays(job, job.dense_files.initial))
    facts = {
        "method": mask.metadata["method"],
        "criterion": mask.metadata["criterion"],
        "sparsity": mask.metadata["sparsity_reached"],
    }

    def train_and_save(checkpoints: Checkpoints) -> Sequence[str]:
        write_bytes(job.files.mask, mask_bytes)
        return (*_save_agent(job, _train(job, rewound, mask, checkpoints, stop_wanted)), job.files.mask.name)

    _record(job, expected_ticket_fingerprint(job, mask), facts, train_and_save)


def _train(
    job: Job, params: Tree, masks: Mask | None, checkpoints: Checkpoints, stop_wanted: Callable[[], bool]
) -> Loop:
    """Train from `params`, or from the newest checkpoint. Every arm comes through here; a dense one has no mask."""
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
    loop = begin(state, schedule, *_spec(job))
    position = checkpoints.restore(loop)
    for note in checkpoints.notes:
        print(f"damaged, and passed over: {note}", flush=True)
    if position is not None:
        assert ALGORITHM.masks_hold(loop.state), "a pruned weight came back to life"
        print(f"Goes on at environment step {loop.env_steps:,}.", flush=True)
    progress = ProgressFile(job.files.progress, schedule.training.env_steps, loop.env_steps)
    try:
        with MetricsLog(job.files.metrics, job.files.tensorboard, position, loop.env_steps) as log:

            def write(row: dict[str, Any]) -> None:
                log.write(row)
                progress.saw(row)

            def between_episodes(loop: Loop) -> None:
                stop = stop_wanted()
                if checkpoints.due() or stop:
                    assert ALGORITHM.masks_hold(loop.state), "a pruned weight came back to life"
                    checkpoints.save(loop, log.position())
                if stop:
                    raise StoppedError(f"Stopped at environment step {loop.env_steps:,}; a checkpoint is saved.")

            make_environment = partial(envs.make, job.task.id, job.task.kwargs)
            return train(ALGORITHM, settings, loop, make_environment, schedule, write, progress.tick, between_episodes)
    finally:
        progress.remove()


def _save_agent(job: Job, loop: Loop) -> tuple[str, ...]:
    check_sound(ALGORITHM, loop)
    write_arrays(job.files.agent, to_arrays(loop.state._replace(masks={})))
    return (job.files.agent.name, job.files.metrics.name)


def _dense_arrays(job: Job, path: Path) -> dict[str, np.ndarray]:
    """Arrays of the dense run, once they have been found to be what was written."""
    check(job.dense_files.folder, dense_manifest(job)["files"], path.name)
    return read_arrays(path)


def _dense_replay(job: Job) -> replay.Transitions:
    """The dense run's replay buffer, once it has been found to be what was written, and to be of this task."""
    check(job.dense_files.folder, dense_manifest(job)["files"], *REPLAY_FILES)
    stored, spec = replay.load(job.dense_files.replay), _spec(job)
    if (stored.observations.shape[1], stored.actions.shape[1]) != tuple(spec):
        raise StudyError(
            f"The replay buffer in {job.dense_files.replay} is of another task: its observations have "
            f"{stored.observations.shape[1]} entries and its actions {stored.actions.shape[1]}, "
            f"this task's {spec.observation_size} and {spec.action_size}."
        )
    return stored


def _score_and_select(job: Job) -> Mask:
    arm, settings = job.arm, _settings(job)
    shapes = jax.eval_shape(lambda key: ALGORITHM.init(_init_params(job)(key), key, settings), jax_key(0))
    state = from_arrays(shapes, _dense_arrays(job, job.dense_files.agent))
    saliency: dict[str, dict[str, np.ndarray]] = {}
    if arm.needs_replay:
        saliency = mean_abs_gradients(
            ALGORITHM,
            settings,
            state,
            _dense_replay(job),
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


def _record(
    job: Job, fingerprint: Fingerprint, facts: dict[str, Any], work: Callable[[Checkpoints], Sequence[str]]
) -> None:
    """Do a run's work, then write its manifest and let its checkpoints go; what ended it early is written there too."""
    checkpoints = Checkpoints(job.files, fingerprint, job.config.checkpoint_seconds)
    job.files.manifest.unlink(missing_ok=True)
    job.files.diverged.unlink(missing_ok=True)

    def manifest(status: Status, names: Sequence[str], **more: Any) -> Manifest:
        sittings = checkpoints.sittings
        told: Manifest = {
            "format_version": FORMAT_VERSION,
            "status": status,
            "stage": job.stage,
            "task": job.task.id,
            "task_name": job.task.name,
            "seed": job.seed,
            "arm": job.arm_name,
            "fingerprint": fingerprint,
            "versions": versions(),
            "started": sittings.past[0]["started"],
            "seconds": sittings.worked(),
            "sittings": sittings.past,
            "checkpoints": {"written": sittings.written, "seconds": sittings.cost},
            "files": {name: entry(job.files.folder / name) for name in names},
        }
        return cast(Manifest, told | more)

    try:
        names = work(checkpoints)
        written = manifest("done", names, **facts)
    except DivergedError as error:
        write_arrays(job.files.diverged, error.evidence)
        said = f"{error}\nBatch and agent are in {job.files.diverged}."
        kept = [job.files.metrics.name, job.files.diverged.name]
        write_manifest(job.files, manifest("diverged", kept, **facts | {"replay": "released"}, error=said))
        checkpoints.remove()
        raise
    except Exception as error:
        if isinstance(error, StoppedError) or (isinstance(error, OSError) and error.errno in FULL):
            raise
        said = str(error) if isinstance(error, RlotteryError) else f"{type(error).__name__}: {error}"
        write_manifest(job.files, manifest("failed", (), error=said))
        raise
    write_manifest(job.files, written)
    checkpoints.remove()


def _as_numpy(layers: dict[str, Any]) -> dict[str, np.ndarray]:
    return {path: np.asarray(kernel) for path, kernel in layers.items()}


def _streams(job: Job) -> Streams:
    return Streams(job.config.name, job.task.name, job.seed, job.arm_name)


def _settings(job: Job) -> Any:
    return ALGORITHM.settings(job.config, job.task)


def _init_params(job: Job) -> Callable[[jax.Array], Tree]:
    """From a key to fresh weights of the job's shapes."""
    return partial(ALGORITHM.init_params, spec=_spec(job), settings=_settings(job))


def _spec(job: Job) -> Spec:
    environment = envs.make(job.task.id, job.task.kwargs)
    environment.close()
    return Spec(environment.observation_size, environment.action_size)
