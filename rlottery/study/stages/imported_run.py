"""A dense run made from an agent that another tool trained: the files that `rlottery run` would have left."""

import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import jax
import numpy as np

from rlottery.agents.base import from_arrays, jax_key, to_arrays
from rlottery.agents.description import Spec
from rlottery.envs import DiscreteActions, OpenEnvironments
from rlottery.errors import ForeignFileError
from rlottery.interop.agent import ForeignAgent
from rlottery.storage.disk import write_arrays, write_bytes, write_folder
from rlottery.storage.manifests import Imported, Manifest, file_entry, write_imported, write_manifest
from rlottery.storage.metrics_log import MetricsLog, MetricsRow
from rlottery.storage.paths import REPLAY_FILES, RunFiles, Store
from rlottery.storage.study_record import one_command_at_a_time
from rlottery.storage.syncing import make_folder, sync_folder, writing
from rlottery.storage.temporary_files import discard_folder, temporary_path
from rlottery.storage.transitions import Transitions
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.finished_runs import manifest_head
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.planning.versions_now import code_versions
from rlottery.study.stages.agents import algorithm_for, settings_of, streams_of, weights_from
from rlottery.study.stages.starts import Start
from rlottery.study.stages.train_run import environment_maker, recorded_spaces, save_agent, training_plan
from rlottery.study.versions import versions
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import Loop, action_noise, begin, check_sizes, collect, evaluation_row


@dataclass(frozen=True)
class ImportedRun:
    """A dense run before it is written.

    Attributes:
        loop: with the agent, at the end of its training.
        initial: its initial weights.
        rows: its metrics: an evaluation of the initial agent, if that is known, and one of the agent.
    """

    loop: Loop
    initial: Any
    rows: tuple[MetricsRow, ...]
    spaces: Any

    @property
    def score(self) -> MetricsRow:
        """The evaluation of the agent."""
        return self.rows[-1]


def make_imported_run(job: Job, agent: ForeignAgent, initial: ForeignAgent | None) -> ImportedRun:
    """Build the agent, and evaluate it in the task.

    Raises:
        ForeignFileError: the task has other sizes or bounds of actions than the agent.
        TaskError: as `train`.
    """
    spec = task_spec(job.task)
    check_fits(agent, spec, job.task.id)
    state = state_of(job, agent)
    with OpenEnvironments() as environments:
        make_environment = environment_maker(job, environments)
        environment = make_environment()
        check_sizes(environment, spec)
        _check_bounds(agent, environment.actions, job.task.id)
        rows = []
        if initial is not None:
            rows.append(_evaluated(job, state_of(job, initial), 0, environment)[1])
        loop, row = _evaluated(job, state, job.env_steps, environment)
        spaces = recorded_spaces(job, environments)
    first = loop.learner.state.params if initial is None else state_of(job, initial).params
    return ImportedRun(loop, jax.device_get(first), (*rows, row), spaces)


def collected(job: Job, agent: ForeignAgent, steps: int) -> Transitions:
    """So many transitions of the agent's own exploring policy in the task, as the replay buffer of its run.

    They count as the last ones of its training: transition t is in row t modulo their number.
    """
    state, spec = state_of(job, agent), task_spec(job.task)
    plan = training_plan(job, Start(agent=state))
    training = plan.training.model_copy(update={"env_steps": steps, "replay_capacity": "all"})
    plan = replace(plan, training=training, steps_before=job.env_steps)
    learner = CpuLearner(algorithm_for(job), settings_of(job), state, spec, action_noise(streams_of(job)))
    loop = begin(learner, plan, spec)
    with OpenEnvironments() as environments:
        collect(loop, plan, environment_maker(job, environments))
    return Transitions(
        **{name: np.roll(field, job.env_steps % steps, axis=0) for name, field in loop.replay.stored().fields.items()}
    )


def check_fits(agent: ForeignAgent, spec: Spec, task: str) -> None:
    """Raise ForeignFileError unless an agent has the sizes of a task."""
    kinds = {True: "discrete actions", False: "continuous actions", None: "actions"}
    kind = kinds[agent.discrete]
    if (agent.observation_size, agent.action_size) != spec.sizes or agent.discrete not in (None, spec.discrete):
        raise ForeignFileError(
            f"The agent doesn't fit {task}: it reads {agent.observation_size} observations and has "
            f"{agent.action_size} {kind}, but the task has {spec.observation_size} and {spec.action_size} "
            f"{kinds[spec.discrete]}. Give the task that it was trained on: --task ID"
        )


def state_of(job: Job, agent: ForeignAgent) -> Any:
    """The whole agent. What its file doesn't have is as in a fresh agent."""
    algorithm, settings = algorithm_for(job), settings_of(job)
    fresh = algorithm.init(weights_from(job, streams_of(job).for_weights()), jax_key(0), settings)
    arrays = to_arrays(fresh)
    given = {name: np.asarray(array, arrays[name].dtype) for name, array in agent.arrays.items() if name in arrays}
    if lost := [name for name in agent.arrays if name not in arrays]:
        raise ForeignFileError(f"The agent has {lost[0]!r}, and agents of this study have no such part.")
    targets = _targets(arrays, agent.arrays)
    if "updates" in arrays and "updates" not in given:  # those of its whole run
        given["updates"] = np.asarray(getattr(settings, "updates", 0), np.int32)
    return from_arrays(fresh, {**arrays, **targets, **given})


def _targets(arrays: Mapping[str, np.ndarray], given: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The agent's own networks in place of targets that its file doesn't have."""
    places = {"target_critic.": "params.critic.", "targets.": "params.", "target.": "params.q."}
    return {
        name: given[f"{ours}{name.removeprefix(prefix)}"]
        for name in arrays
        for prefix, ours in places.items()
        if name.startswith(prefix) and f"{ours}{name.removeprefix(prefix)}" in given
    }


def _check_bounds(agent: ForeignAgent, actions: Any, task: str) -> None:
    if isinstance(actions, DiscreteActions) or agent.action_low is None or agent.action_high is None:
        return
    pairs = ((agent.action_low, actions.low), (agent.action_high, actions.high))
    if not all(np.allclose(own, wanted, rtol=1e-5) for own, wanted in pairs):  # which may have been computed
        raise ForeignFileError(
            f"The agent doesn't fit {task}: it acts from {agent.action_low.tolist()} to {agent.action_high.tolist()}, "
            f"and the task from {actions.low.tolist()} to {actions.high.tolist()}. A wrapper may have changed its "
            "actions; make a task of your own with it: module:Id"
        )


def _evaluated(job: Job, state: Any, env_steps: int, environment: Any) -> tuple[Loop, MetricsRow]:
    """The loop with an agent at a step of its training, and its evaluation."""
    plan, spec = training_plan(job, Start(agent=state)), task_spec(job.task)
    learner = CpuLearner(algorithm_for(job), settings_of(job), state, spec, action_noise(streams_of(job)))
    loop = begin(learner, plan, spec)
    loop.env_steps = env_steps
    return loop, evaluation_row(loop, plan, [environment])


def write_imported_run(
    job: Job,
    run: ImportedRun,
    imported: Imported,
    replay: Transitions | None,
    path: Path,
    text: Callable[[], str | None],
) -> None:
    """Write the run's folder, and then the config. Of a run that is there, all files are replaced.

    A process that is killed in between leaves a run that no config asks for, and the same import finds it. The other
    way round, `rlottery run` would find a config without its run, and train an agent of its own.

    Args:
        path, text: of the config file, as of `config_change`.
    """
    folder = job.files.folder
    files = RunFiles(temporary_path(folder))
    shutil.rmtree(files.folder, ignore_errors=True)
    began = time.time()
    try:
        with writing(files.folder):
            make_folder(files.folder)
        write_arrays(files.initial, to_arrays(run.initial))
        with MetricsLog(files.metrics, files.tensorboard) as log:
            for row in run.rows:
                log.write(row)
        names = [*save_agent(files, run.loop), files.initial.name]
        if replay is not None:
            write_folder(files.replay, lambda at: _save_replay(at, replay.fields))
            names += [name for name in REPLAY_FILES if (files.folder / name).exists()]
        write_imported(files, imported)
        names.append(files.imported.name)
        manifest: Manifest = {
            **manifest_head(job, "done", dense_fingerprint(job.config, job.task, job.seed)),
            "env_steps": job.env_steps,
            "versions": versions() | code_versions(job.task),
            "started": began,
            "replay": "released" if replay is None else "saved",
            "spaces": run.spaces,
            "imported": imported,
            "files": {name: file_entry(files.folder / name) for name in names},
        }
        write_manifest(files, manifest)
        is_new = not folder.exists()
        with config_change(job.config.data, text) as content:
            _put_in_place(files, job.files)
            try:
                if content is not None:
                    write_bytes(path, content)
            except OSError:
                if is_new:
                    discard_folder(folder)
                raise
    finally:
        shutil.rmtree(files.folder, ignore_errors=True)


def _save_replay(folder: Any, fields: Mapping[str, np.ndarray]) -> None:
    for name, array in fields.items():
        np.save(folder / f"{name}.npy", array, allow_pickle=False)


@contextmanager
def config_change(data: Path, text: Callable[[], str | None]) -> Iterator[bytes | None]:
    """What a config file has to contain; None if it stays as it is. Meanwhile no other command on its data changes it.

    Args:
        text: returns what it has to have, at the moment when it is called; None if it stays as it is.
    """
    if text() is None:
        yield None
        return
    with one_command_at_a_time(Store(data)):
        content = text()
        yield None if content is None else content.encode()


def _put_in_place(new: RunFiles, files: RunFiles) -> None:
    """Move a complete run to its folder. Of one that is there, all files are replaced but what trackers know of it.

    The manifest comes last. Until then, files that differ from the one that is there count as damaged, and not as
    missing, so that nothing trains the agent again.
    """
    with writing(files.folder):
        if not files.folder.exists():
            new.folder.replace(files.folder)
            sync_folder(files.folder.parent)
            return
        has_replay = new.replay.exists()
        for path in sorted(new.folder.iterdir(), key=lambda path: path == new.manifest):
            place = files.folder / path.name
            if place.is_dir() and not place.is_symlink():
                discard_folder(place)
            elif path.is_dir():
                place.unlink(missing_ok=True)
            if path == new.manifest:
                sync_folder(files.folder)
            path.replace(place)
        if not has_replay:
            discard_folder(files.replay)
        sync_folder(files.folder)
