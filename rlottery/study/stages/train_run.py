"""Training one run, from its start or its newest checkpoint to the end of its plan. Every arm uses it."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.base import Algorithm, jax_key, nest_masks, to_arrays
from rlottery.envs import DiscreteActions, Environment, OpenEnvironments
from rlottery.errors import StoppedError
from rlottery.processes.user_code import check_jax_settings, jax_settings
from rlottery.safety.printable import on_one_line
from rlottery.seeding import evaluation_seeds
from rlottery.storage.disk import write_arrays
from rlottery.storage.made_with import session_changes
from rlottery.storage.manifests import DiscreteRunSpaces, RunSpaces
from rlottery.storage.metrics_log import MetricsLog, MetricsRow, Position
from rlottery.storage.paths import RunFiles
from rlottery.storage.progress import Phase, ProgressFile
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.stages.agents import algorithm_for, settings_of, streams_of
from rlottery.study.stages.starts import Start
from rlottery.training.checkpoints import Checkpoints
from rlottery.training.learner import Learner
from rlottery.training.loop import Loop, TrainingPlan, action_noise, begin, check_sound, train
from rlottery.training.rewind_points import RewindPoints


def train_run(
    job: Job,
    files: RunFiles,
    start: Start,
    checkpoints: Checkpoints,
    stop_wanted: Callable[[], bool],
    make_learner: Callable[..., Learner],
    environments: OpenEnvironments,
) -> Loop:
    """Train a run to its end, from its newest checkpoint if there is one, else from `start`.

    Writes metrics and checkpoints to `files` as it goes, and progress to the run's own folder. Raises DivergedError if
    a loss, a weight or an action became NaN or infinite, and StoppedError if `stop_wanted`, once a checkpoint is saved.
    """
    plan = training_plan(job, start)
    loop = first_loop(job, start, plan, make_learner)
    position = _restore(loop, checkpoints)
    progress = ProgressFile(job.files.progress, plan.training.env_steps, loop.env_steps)
    try:
        with MetricsLog(files.metrics, files.tensorboard, position, loop.env_steps) as log:
            rewind_points = RewindPoints(files, start.saves, checkpoints.points)
            make_environment, recorder = environment_maker(job, environments), RunRecorder(log.write, progress)
            settings = jax_settings()
            for _ in train(loop, plan, make_environment, recorder, rewind_points):
                check_jax_settings(settings, job.task.id)
                stop = stop_wanted()
                if checkpoints.due() or stop:
                    _check_masks_hold(loop)
                    checkpoints.save(loop, log.position())
                if stop:
                    raise StoppedError(f"Stopped at environment step {loop.env_steps:,}. A checkpoint is saved.")
            check_jax_settings(settings, job.task.id)
            return loop
    finally:
        progress.remove()


def first_loop(job: Job, start: Start, plan: TrainingPlan, make_learner: Callable[..., Learner]) -> Loop:
    """The training loop of a run before its first step."""
    settings, spec, noise = settings_of(job, start.network), task_spec(job.task), action_noise(streams_of(job))
    masks_change = start.dynamic is not None and start.dynamic.counts_change
    state = _first_state(job, start, settings)
    return begin(make_learner(algorithm_for(job), settings, state, spec, noise, masks_change=masks_change), plan, spec)


def training_plan(job: Job, start: Start) -> TrainingPlan:
    """How a run is trained: for how long, with which data, evaluated when."""
    config, settings = job.config, settings_of(job)
    return TrainingPlan(
        training=config.training_for(job.task).model_copy(update={"env_steps": job.env_steps}),
        batch_size=settings.batch_size,
        evaluation_interval=config.evaluation.interval,
        evaluation_seeds=evaluation_seeds(config.name, job.task.name, config.evaluation.episodes),
        streams=streams_of(job),
        warms_up_at_random=start.agent is None,
        steps_before=job.steps_before,
        dynamic=start.dynamic,
        rollouts=algorithm_of(config).rollouts(settings),
    )


def environment_maker(job: Job, environments: OpenEnvironments) -> Callable[[], Environment]:
    """A function that makes an environment of the job's task, which `environments` closes."""
    return partial(environments.make, job.task.id, job.task.kwargs)


def recorded_spaces(job: Job, environments: OpenEnvironments) -> RunSpaces | DiscreteRunSpaces:
    """The sizes and bounds of the job's task, from an environment that it was trained in."""
    environment = environments.opened(job.task.id)
    size, actions = environment.observation_size, environment.actions
    if isinstance(actions, DiscreteActions):
        return {"observation_size": size, "actions": actions.size, "first_action": actions.first}
    return {"observation_size": size, "action_low": actions.low.tolist(), "action_high": actions.high.tolist()}


def save_agent(files: RunFiles, loop: Loop) -> tuple[str, ...]:
    """Write the trained agent, once it has been checked. Returns the names of the run's files up to here."""
    check_sound(loop)
    write_arrays(files.agent, to_arrays(loop.learner.state._replace(masks={})))
    return (files.agent.name, files.metrics.name)


@dataclass(frozen=True)
class RunRecorder:
    """Keeps a run's metrics by calling `keep` with each row, and shows its progress."""

    keep: Callable[[MetricsRow], None]
    progress: ProgressFile

    def write(self, row: MetricsRow) -> None:
        self.keep(row)
        self.progress.saw(row)

    def tick(self, step: int) -> None:
        self.progress.tick(step)

    def enter(self, phase: Phase | None) -> None:
        self.progress.enter(phase)


def _restore(loop: Loop, checkpoints: Checkpoints) -> Position | None:
    """Set `loop` to the newest intact checkpoint. Returns where its metrics ended, or None if there is none."""
    position = checkpoints.restore(loop)
    for note in checkpoints.notes:
        print(on_one_line(f"Skipped a damaged checkpoint: {note}"), flush=True)
    if position is not None:
        _check_masks_hold(loop)
        print(f"Continuing from environment step {loop.env_steps:,}.", flush=True)
        if found := session_changes([one["versions"] for one in checkpoints.sessions.past[-2:] if "versions" in one]):
            print(f"The versions have changed since the last session: {', '.join(found)}.", flush=True)
    return position


def _check_masks_hold(loop: Loop) -> None:
    assert loop.learner.algorithm.masks_hold(loop.learner.state), "a pruned weight is no longer zero"


def _first_state(job: Job, start: Start, settings: Any) -> Any:
    """The agent's state before its first step."""
    key = jax_key(streams_of(job).for_purpose("updates"))
    algorithm = algorithm_for(job)
    # One jitted program: compiling each small operation alone would take longer. JAX keeps it for other runs like this.
    make = jax.jit(algorithm.init if start.agent is None else algorithm.rewind, static_argnames="settings")
    state = make(start.weights if start.agent is None else start.agent, key=key, settings=settings)
    if start.masks is not None:
        put_on = jax.jit(Algorithm.with_masks, static_argnums=0)
        state = put_on(algorithm, state, nest_masks(start.masks.groups))
    return state if start.dynamic is None else start.dynamic.start(state)
