"""The stages: train dense, make mask, train ticket. Each reads files, writes files, and does nothing twice."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, cast

import jax
import numpy as np

from rlottery import envs
from rlottery.agents.base import jax_key, nest_masks, to_arrays
from rlottery.config import NetworkSettings
from rlottery.config.recipes import ROUND
from rlottery.errors import DivergedError, RlotteryError, StoppedError, StudyError
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import FULL, remove_partials, write_arrays, write_bytes, write_folder
from rlottery.storage.manifests import (
    MANIFEST_FORMAT,
    FileEntry,
    Manifest,
    ManifestStatus,
    file_entry,
    find_damage,
    write_manifest,
)
from rlottery.storage.metrics_log import WALL_CLOCK, MetricsLog, read_metrics
from rlottery.storage.paths import REPLAY_FILES
from rlottery.storage.progress import ProgressFile
from rlottery.storage.transitions import columns
from rlottery.study.planning.arms import comparable_method
from rlottery.study.planning.fingerprints import Fingerprint, dense_fingerprint
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.plan import (
    dense_manifest,
    expected_ticket_fingerprint,
    missing_rewind_points,
    read_ticket_mask,
)
from rlottery.study.planning.shapes import count, kernel_shapes
from rlottery.study.stages.agents import (
    ALGORITHM,
    settings_of,
    spec_of,
    streams_of,
    weights_from,
)
from rlottery.study.stages.masking import create_mask, described
from rlottery.study.stages.starts import Start, start_of
from rlottery.study.versions import versions
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.dynamic_sparsity import masks_of
from rlottery.training.learner import CpuLearner, Learner
from rlottery.training.loop import Loop, TrainingPlan, action_noise, begin, check_sound, train

STALE_SECONDS = 3600.0
"""Age of a half-written mask that nobody will finish; other processes write to the same folder."""


def run_stage(
    job: Job, stop_wanted: Callable[[], bool] = lambda: False, make_learner: Callable[..., Learner] = CpuLearner
) -> None:
    """Do one job.

    Args:
        stop_wanted: asked where a training episode has ended; then the work is saved and left.
        make_learner: what trains a dense agent or a ticket, made with the arguments of `CpuLearner`.

    Raises:
        RlotteryError: it can't be done; for a training stage the manifest says so too.
        StoppedError: it was told to stop.
    """
    remove_partials(job.files.folder)
    if job.stage == "mask":
        remove_partials(job.mask_path.parent, older_than=STALE_SECONDS)
        create_mask(job)
    elif job.stage == "rewind":
        add_rewind_points(job, stop_wanted)
    else:
        {"dense": train_dense, "ticket": train_ticket}[job.stage](job, stop_wanted, make_learner)


def train_dense(job: Job, stop_wanted: Callable[[], bool], make_learner: Callable[..., Learner]) -> None:
    """Train the dense agent; save its initial weights, itself, its metrics, its replay buffer and its rewind points."""
    weights = weights_from(job, streams_of(job).for_weights())
    fingerprint = dense_fingerprint(job.config, job.task, job.seed)
    steps = job.config.rewind_steps

    def train_and_save(checkpoints: Checkpoints) -> Sequence[str]:
        write_arrays(job.files.initial, to_arrays(weights))
        loop = _train(job, Start(weights, saves=steps), checkpoints, stop_wanted, make_learner)
        write_folder(job.files.replay, loop.replay.save)
        # A run that was cut short may have passed by a point that was asked for, or damaged, since.
        damaged = {error.file.name for error in find_damage(job.files.folder, checkpoints.points)}
        points = [name for name in checkpoints.points if name not in damaged]
        return (*_save_agent(job, loop), job.files.initial.name, *REPLAY_FILES, *points)

    _record(job, fingerprint, {"replay": "saved"}, train_and_save)


def add_rewind_points(job: Job, stop_wanted: Callable[[], bool]) -> None:
    """Save the agents that arms go back to and that the finished dense run has none of.

    The dense agent is trained once more up to the last of them: to the same bits, which its metrics vouch for.

    Raises:
        StudyError: this machine computes other numbers than the one that trained it; nothing is left then.
        StoppedError: it was told to stop; it begins again.
    """
    finished = dense_manifest(job)
    steps = missing_rewind_points(job, finished)
    if not steps:
        return
    start = Start(weights_from(job, streams_of(job).for_weights()), saves=steps)
    # The buffer and all that follows from settings stay as they were; only the end comes sooner.
    settings, schedule = settings_of(job), replace(_schedule(job, start), stop_at=max(steps))
    loop = begin(_learner(job, start, settings, CpuLearner), schedule, spec_of(job))
    rows: list[dict[str, Any]] = []
    added: dict[str, FileEntry] = {}
    progress = ProgressFile(job.files.progress, max(steps))

    def between_episodes(loop: Loop) -> None:
        if stop_wanted():
            raise StoppedError(f"Stopped at environment step {loop.env_steps:,} on the way to {max(steps):,}.")

    try:
        train(
            loop,
            partial(envs.make, job.task.id, job.task.kwargs),
            schedule,
            rows.append,
            tick=progress.tick,
            after_step=_after_step(job, start, added),
            between_episodes=between_episodes,
        )
    finally:
        progress.remove()

    def told(of: Sequence[Mapping[str, Any]]) -> dict[tuple[str, int], dict[str, Any]]:
        """By kind and step, what doesn't tell of time."""
        return {
            (row["kind"], row["env_steps"]): {key: row[key] for key in row.keys() - WALL_CLOCK}
            for row in of
            if row["env_steps"] <= max(steps)
        }

    # Where training stops there may be rows more, as at the end of every run.
    if not told(read_metrics(job.files.metrics)).items() <= told(rows).items():
        for step in steps:
            job.files.rewind_point(step).unlink(missing_ok=True)
        raise StudyError(
            f"{job.dense.label} can't be taken back to step {max(steps):,}: trained again here, it comes to other "
            "numbers than its metrics hold, as on another machine or version. Train it anew, with data=ANOTHER_FOLDER."
        )
    write_manifest(job.files, {**finished, "files": {**finished["files"], **added}})


def train_ticket(job: Job, stop_wanted: Callable[[], bool], make_learner: Callable[..., Learner]) -> None:
    """Train a ticket or a control: an empty buffer, a fresh optimiser, and whatever its recipe starts from."""
    arm = job.ticket_arm
    mask, mask_bytes = read_ticket_mask(job) if "mask" in arm.stages else (None, b"")
    start = start_of(job, mask)
    facts: dict[str, Any] = {"criterion": arm.recipe.criterion or arm.kind, "recipe": arm.told()}
    if ROUND in arm.name:
        facts["round_of"] = arm.name.partition(ROUND)[0]
    if (method := comparable_method(arm)) is not None:
        facts["method"] = method
    if mask is not None:
        facts |= {"criterion": mask.metadata["criterion"], "sparsity": mask.metadata["sparsity_reached"]}
    if start.network is not None:
        facts["sparsity"] = _share_saved(job, start.network)

    def train_and_save(checkpoints: Checkpoints) -> Sequence[str]:
        loop = _train(job, start, checkpoints, stop_wanted, make_learner)
        names = _save_agent(job, loop)
        made = mask_bytes
        if arm.is_dynamic:
            last = described(job, masks_of(loop.state), arm.sparsity or {})
            facts["sparsity"] = last.metadata["sparsity_reached"]
            made = mask_to_bytes(last)
        if made:
            write_bytes(job.files.mask, made)
            names = (*names, job.files.mask.name)
        return names

    _record(job, expected_ticket_fingerprint(job, mask), facts, train_and_save)


def _train(
    job: Job,
    start: Start,
    checkpoints: Checkpoints,
    stop_wanted: Callable[[], bool],
    make_learner: Callable[..., Learner],
) -> Loop:
    """Train from where `start` says, or from the newest checkpoint. Every arm comes through here."""
    settings, schedule = settings_of(job, start.network), _schedule(job, start)
    loop = begin(_learner(job, start, settings, make_learner), schedule, spec_of(job))
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
            after_step = _after_step(job, start, checkpoints.points)
            return train(
                loop,
                make_environment,
                schedule,
                write,
                tick=progress.tick,
                after_step=after_step,
                between_episodes=between_episodes,
            )
    finally:
        progress.remove()


def _learner(job: Job, start: Start, settings: Any, make_learner: Callable[..., Learner]) -> Learner:
    changes = start.dynamic is not None and start.dynamic.counts_change
    noise = action_noise(streams_of(job))
    return make_learner(ALGORITHM, settings, _state(job, start, settings), spec_of(job), noise, masks_change=changes)


def _state(job: Job, start: Start, settings: Any) -> Any:
    key = jax_key(streams_of(job).for_purpose("updates"))
    begin = ALGORITHM.init if start.agent is None else ALGORITHM.rewind
    # One program: each small operation alone would be one to compile.
    state = jax.jit(partial(begin, settings=settings))(start.weights if start.agent is None else start.agent, key=key)
    if start.masks is not None:
        state = jax.jit(ALGORITHM.with_masks)(state, nest_masks(start.masks.groups))
    return state if start.dynamic is None else start.dynamic.start(state)


def _schedule(job: Job, start: Start) -> TrainingPlan:
    config = job.config
    return TrainingPlan(
        training=config.training_for(job.task).model_copy(update={"env_steps": job.env_steps}),
        batch_size=config.sac_for(job.task).batch_size,
        evaluation_interval=config.evaluation.interval,
        evaluation_seeds=evaluation_seeds(config.name, job.task.name, config.evaluation.episodes),
        streams=streams_of(job),
        warms_up_at_random=start.agent is None,
    )


def _after_step(job: Job, start: Start, saved: dict[str, FileEntry]) -> Callable[[Loop, np.ndarray | None], None]:
    """What happens to a run after each step, beside its updates: masks change, points to go back to are saved.

    Args:
        saved: takes the entries of those points.
    """
    saves, spec = frozenset(start.saves), spec_of(job)

    def after_step(loop: Loop, rows: np.ndarray | None) -> None:
        if start.dynamic is not None and rows is not None and start.dynamic.due(loop.env_steps):
            batch = columns(rows, *spec)
            loop.state = start.dynamic.update(loop.state, loop.env_steps, batch)
        if loop.env_steps in saves:
            check_sound(loop)
            path = job.files.rewind_point(loop.env_steps)
            write_arrays(path, to_arrays(loop.state._replace(masks={})))
            saved[path.name] = file_entry(path)

    return after_step


def _save_agent(job: Job, loop: Loop) -> tuple[str, ...]:
    check_sound(loop)
    write_arrays(job.files.agent, to_arrays(loop.state._replace(masks={})))
    return (job.files.agent.name, job.files.metrics.name)


def _share_saved(job: Job, small: NetworkSettings) -> dict[str, float]:
    """Share of the dense agent's kernel weights that a smaller network does without, by group."""
    dense, sparse = (kernel_shapes(network, *spec_of(job)) for network in (job.config.network, small))
    return {group: 1 - count(sparse[group]) / count(layers) for group, layers in dense.items()}


def _record(
    job: Job, fingerprint: Fingerprint, facts: dict[str, Any], work: Callable[[Checkpoints], Sequence[str]]
) -> None:
    """Do a run's work, then write its manifest and let its checkpoints go; what ended it early is written there too."""
    checkpoints = Checkpoints(job.files, fingerprint, job.config.checkpoint_seconds)
    job.files.manifest.unlink(missing_ok=True)
    job.files.diverged.unlink(missing_ok=True)

    def manifest(status: ManifestStatus, names: Sequence[str], **more: Any) -> Manifest:
        sittings = checkpoints.sittings
        told: Manifest = {
            "format_version": MANIFEST_FORMAT,
            "status": status,
            "stage": job.stage,
            "task": job.task.id,
            "task_name": job.task.name,
            "seed": job.seed,
            "arm": job.arm_name,
            "env_steps": job.env_steps,
            "fingerprint": fingerprint,
            "versions": versions(),
            "started": sittings.past[0]["started"],
            "seconds": sittings.worked(),
            "sittings": sittings.past,
            "checkpoints": {"written": sittings.written, "seconds": sittings.cost},
            "files": {name: file_entry(job.files.folder / name) for name in names},
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
        known = {name: facts[name] for name in ("round_of",) if name in facts}
        write_manifest(job.files, manifest("failed", (), error=said, **known))
        raise
    write_manifest(job.files, written)
    checkpoints.remove()
