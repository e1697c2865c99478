"""Training one run, from its start or its newest checkpoint to the end of its plan. Every arm uses it."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np

from rlottery import envs
from rlottery.agents.base import jax_key, nest_masks, to_arrays
from rlottery.envs import Environment
from rlottery.errors import StoppedError
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import write_arrays
from rlottery.storage.manifests import FileEntry, file_entry
from rlottery.storage.metrics_log import MetricsLog, MetricsRow, Position
from rlottery.storage.progress import ProgressFile
from rlottery.storage.transitions import columns
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.agents import ALGORITHM, settings_of, spec_of, streams_of
from rlottery.study.stages.starts import Start
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.learner import Learner
from rlottery.training.loop import Loop, TrainingPlan, action_noise, begin, check_sound, train


def train_run(
    job: Job,
    start: Start,
    checkpoints: Checkpoints,
    stop_wanted: Callable[[], bool],
    make_learner: Callable[..., Learner],
) -> Loop:
    """Train a run to its end, from its newest checkpoint if there is one, else from `start`.

    Writes metrics, progress and checkpoints as it goes.

    Raises:
        DivergedError: a loss, a weight or an action became NaN or infinite.
        StoppedError: `stop_wanted` returned True; a checkpoint is saved.
    """
    plan = training_plan(job, start)
    loop = first_loop(job, start, plan, make_learner)
    position = _restore(loop, checkpoints)
    progress = ProgressFile(job.files.progress, plan.training.env_steps, loop.env_steps)
    try:
        with MetricsLog(job.files.metrics, job.files.tensorboard, position, loop.env_steps) as log:

            def write(row: MetricsRow) -> None:
                log.write(row)
                progress.saw(row)

            def between_episodes(loop: Loop) -> None:
                stop = stop_wanted()
                if checkpoints.due() or stop:
                    _check_masks_hold(loop)
                    checkpoints.save(loop, log.position())
                if stop:
                    raise StoppedError(f"Stopped at environment step {loop.env_steps:,}. A checkpoint is saved.")

            return train(
                loop,
                environment_maker(job),
                plan,
                write,
                tick=progress.tick,
                after_step=AfterStep(job, start, checkpoints.points),
                between_episodes=between_episodes,
            )
    finally:
        progress.remove()


def first_loop(job: Job, start: Start, plan: TrainingPlan, make_learner: Callable[..., Learner]) -> Loop:
    """The training loop of a run before its first step."""
    settings = settings_of(job, start.network)
    learner = make_learner(
        ALGORITHM,
        settings,
        _first_state(job, start, settings),
        spec_of(job),
        action_noise(streams_of(job)),
        masks_change=start.dynamic is not None and start.dynamic.counts_change,
    )
    return begin(learner, plan, spec_of(job))


def training_plan(job: Job, start: Start) -> TrainingPlan:
    """How a run is trained: for how long, with which data, evaluated when."""
    config = job.config
    return TrainingPlan(
        training=config.training_for(job.task).model_copy(update={"env_steps": job.env_steps}),
        batch_size=settings_of(job).batch_size,
        evaluation_interval=config.evaluation.interval,
        evaluation_seeds=evaluation_seeds(config.name, job.task.name, config.evaluation.episodes),
        streams=streams_of(job),
        warms_up_at_random=start.agent is None,
    )


def environment_maker(job: Job) -> Callable[[], Environment]:
    """A function that makes an environment of the job's task."""
    return partial(envs.make, job.task.id, job.task.kwargs)


class AfterStep:
    """Called by the training loop after each environment step: changes the masks, and saves rewind points.

    Args:
        saved: receives an entry for each rewind point that is saved.
    """

    def __init__(self, job: Job, start: Start, saved: dict[str, FileEntry]):
        self._files, self._spec = job.files, spec_of(job)
        self._dynamic, self._steps, self._saved = start.dynamic, frozenset(start.saves), saved

    def __call__(self, loop: Loop, rows: np.ndarray | None) -> None:
        """Change `loop.state`, or save it, if it is time.

        Args:
            rows: the transitions of the step's last update, or None if there was no update.
        """
        if self._dynamic is not None and rows is not None and self._dynamic.due(loop.env_steps):
            loop.state = self._dynamic.update(loop.state, loop.env_steps, columns(rows, *self._spec))
        if loop.env_steps in self._steps:
            check_sound(loop)
            path = self._files.rewind_point(loop.env_steps)
            write_arrays(path, to_arrays(loop.state._replace(masks={})))
            self._saved[path.name] = file_entry(path)


def save_agent(job: Job, loop: Loop) -> tuple[str, ...]:
    """Write the trained agent, once it has been checked. Returns the names of the run's files up to here."""
    check_sound(loop)
    write_arrays(job.files.agent, to_arrays(loop.state._replace(masks={})))
    return (job.files.agent.name, job.files.metrics.name)


def _restore(loop: Loop, checkpoints: Checkpoints) -> Position | None:
    """Set `loop` to the newest intact checkpoint. Returns where its metrics ended, or None if there is none."""
    position = checkpoints.restore(loop)
    for note in checkpoints.notes:
        print(f"Skipped a damaged checkpoint: {note}", flush=True)
    if position is not None:
        _check_masks_hold(loop)
        print(f"Continuing from environment step {loop.env_steps:,}.", flush=True)
    return position


def _check_masks_hold(loop: Loop) -> None:
    assert ALGORITHM.masks_hold(loop.state), "a pruned weight is no longer zero"


def _first_state(job: Job, start: Start, settings: Any) -> Any:
    """The agent's state before its first step."""
    key = jax_key(streams_of(job).for_purpose("updates"))
    make = ALGORITHM.init if start.agent is None else ALGORITHM.rewind
    # One jitted program: compiling each small operation alone would take longer.
    state = jax.jit(partial(make, settings=settings))(start.weights if start.agent is None else start.agent, key=key)
    if start.masks is not None:
        state = jax.jit(ALGORITHM.with_masks)(state, nest_masks(start.masks.groups))
    return state if start.dynamic is None else start.dynamic.start(state)
