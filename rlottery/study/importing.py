"""`rlottery import`: a dense run of a study from an agent that another tool trained, and its replay buffer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np

from rlottery.config import ON_POLICY, Config, Task
from rlottery.envs import ActionBounds, OpenEnvironments
from rlottery.errors import ForeignFileError, StudyError
from rlottery.interop.agent import ForeignAgent, to_unit_actions
from rlottery.interop.library import Library
from rlottery.interop.mapping import read_mapping
from rlottery.interop.read_agent import AgentFile, normalised, read_agent
from rlottery.interop.reconstruction import Reconstruction, check_same, makes_weights_again, reconstructed
from rlottery.interop.replay import ForeignReplay, read_replay
from rlottery.report.wording import plural
from rlottery.storage.disk import write_bytes
from rlottery.storage.manifests import Imported, is_from_seed, write_imported
from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.open_study import check_data_folder
from rlottery.storage.paths import Store
from rlottery.storage.study_record import note_command
from rlottery.storage.transitions import Transitions
from rlottery.storage.trial_record import read_trials
from rlottery.storage.trust import note_run
from rlottery.storage.work_place import WorkPlace
from rlottery.study.planning.import_record import check_is_new_to_study, existing_run, record_of
from rlottery.study.planning.import_request import Request
from rlottery.study.planning.import_target import Target, target_of
from rlottery.study.planning.imported_config import check_algorithm
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.planning.trials import record_trials, try_tasks

AnyPath = str | PathLike[str]


@dataclass(frozen=True)
class ImportedAgent:
    """What an import has made. `print` shows it as the command does.

    Attributes:
        folder: of the dense run, as for `rlottery.load_agent`.
        config: the study's config file, as for `rlottery.main`.
        lines: what was taken over and what wasn't, for people.
    """

    folder: Path
    config: Path
    lines: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(self.lines)


@dataclass(frozen=True)
class _Sources:
    """What was read before anything else is done.

    Attributes:
        initial: the agent before training, from a file.
        made: the same, made again by its library.
    """

    file: AgentFile
    initial: AgentFile | None
    made: Reconstruction | None
    replay: ForeignReplay | None

    @property
    def first(self) -> ForeignAgent | None:
        """The agent before training; None if it isn't known."""
        if self.initial is not None:
            return self.initial.agent
        return None if self.made is None else self.made.agent


def import_agent(
    agent: AnyPath,
    overrides: Sequence[str] = (),
    *,
    task: str | None = None,
    initial: AnyPath | None = None,
    initial_from_seed: bool = False,
    replay: AnyPath | None = None,
    collect: int = 0,
    normalisation: AnyPath | None = None,
    mapping: AnyPath | None = None,
    algorithm: str | None = None,
    seed: int | None = None,
    to: AnyPath = ".",
    study: AnyPath | None = None,
    library_python: AnyPath | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> ImportedAgent:
    """Make a dense run from an agent that another library trained, and the config of its study if there is none yet.

    Nothing is written before everything was read and checked, and the agent was evaluated in the task.

    Args:
        agent: its file: ``.zip``, ``.cleanrl_model``, ``.pth``, ``.safetensors``.
        overrides: ``key.path=value`` for the new config: ``["evaluation.episodes=20"]``.
        task: the id of the task that it was trained on. None: the only one of an existing study.
        initial: the agent as it was before training, saved in the same way.
        initial_from_seed: let its library make these weights again, from the seed in its file. With `initial`: compare.
        replay: its replay buffer, or ``minari:ID``.
        collect: environment steps to take with the agent, in place of a replay buffer.
        normalisation: of PPO, what ``VecNormalize.save`` wrote.
        mapping: of a file of weights, which tensors are which layers.
        algorithm: refuse an agent of another one.
        seed: of the run. None: the agent's own, or 0.
        to: the study's folder, with its config.yaml and data.
        study: the config file of a study that gets the run, instead.
        library_python: a Python that has the agent's library. It may execute what is pickled in the files, in a process
            of its own.
        say: shows a line while something takes long.

    Returns:
        The run and the config.

    Raises:
        RlotteryError: a file can't be read or used, the agent doesn't fit the task or the study, or another run is
            there already. Nothing has been written.

    Example:
        >>> made = rlottery.import_agent("agent.zip", task="Pendulum-v1", to="imported")  # doctest: +SKIP
        >>> policy = rlottery.load_agent(made.folder)  # doctest: +SKIP
    """

    def path(of: AnyPath | None) -> Path | None:
        return None if of is None else Path(of)

    request = Request(
        Path(agent), task, path(initial), path(replay), algorithm, seed, Path(to), path(study), tuple(overrides),
        path(normalisation), collect, path(mapping), initial_from_seed, library_python,
    )  # fmt: skip
    return _import(request, say)


def _import(request: Request, say: Callable[[str], None]) -> ImportedAgent:
    sources = _read(request)
    file, replay = sources.file, sources.replay
    seed = next(of for of in (request.seed, file.agent.seed, 0) if of is not None)
    target = target_of(request, file, seed)
    check_data_folder(target.config.data)
    store = Store(target.config.data)
    store.check_links()
    request.check_collect(target.config.training_for(target.task).environments)
    try_tasks(target.config, say, "Give the task that the agent was trained on: --task ID")
    from rlottery.study.stages.imported_run import (
        check_fits,
        collected,
        config_change,
        make_imported_run,
        write_imported_run,
    )  # imports JAX

    first = sources.first
    for one in (file.agent, first):
        if one is not None:
            check_fits(one, task_spec(target.task), target.task.id)
    file = replace(file, agent=_in_unit_actions(file.agent, target.task))
    first = None if first is None else _in_unit_actions(first, target.task)
    if request.dataset is not None:
        replay = _dataset(request.dataset, target)
    if replay is not None:
        target = target.with_capacity(len(replay.transitions.rewards), replay.capacity)
    job = Job(target.config, "dense", target.config.tasks.index(target.task), seed)
    notes = target.new.notes if target.new else []
    imported = record_of(request, file, sources.initial, sources.made, replay, notes)
    text = partial(target.text, seed)
    text()  # an error in it is known before the agent is evaluated
    found = existing_run(job, imported, file.agent, first)
    check_is_new_to_study(job, imported, file.agent)
    gets_replay = bool(replay is not None or request.collect)
    if found is not None and not (gets_replay and found.get("replay") != "saved"):
        if not job.files.imported.exists():  # an earlier version imported it
            write_imported(job.files, found["imported"])
        with config_change(target.config.data, text) as content:
            if content is not None:
                write_bytes(target.path, content)
        if content is None:
            what = "Nothing was changed."
        else:
            what = f"{target.path} was written." if target.new else f"Its seed was added to {target.path}."
            _note(target.config)
        return ImportedAgent(job.files.folder, target.path, (f"{job.files.folder} has this agent already. {what}",))
    run = make_imported_run(job, file.agent, first)
    transitions = None if replay is None else replay.transitions
    if request.collect:
        transitions = collected(job, file.agent, request.collect)
    with WorkPlace(store, say) as place:
        place.enter([job.files])
        if existing_run(job, imported, file.agent, first) != found:
            raise StudyError(f"Another command has changed {job.files.folder} meanwhile. Run this command again.")
        write_imported_run(job, run, imported, transitions, target.path, text)
        _note(target.config)
    return ImportedAgent(
        job.files.folder, target.path, tuple(_lines(file, imported, transitions, target, job, run.score))
    )


def _note(config: Config) -> None:
    """Record the trials of the study's tasks and this command, which has run the study's code."""
    record_trials(config)
    names = sorted({name for trial in read_trials(config).values() for name in trial.sources})
    note_command(config, has_work=True, ran=note_run(config, names))


def _read(request: Request) -> _Sources:
    """Read all files. Raises RlotteryError if one can't be used, or the request contradicts itself."""
    request.check()
    library = None if request.library_python is None else Library(request.library_python)
    mapping = None if request.mapping is None else read_mapping(request.mapping)
    file = read_agent(request.agent, mapping, library)
    check_algorithm(file, request.algorithm)
    if request.normalisation is not None:
        file = normalised(file, request.normalisation)
    if file.agent.env_steps == 0:
        raise ForeignFileError(
            f"{file.path}: this agent was not trained yet. Give it as --initial, and the agent after training as AGENT."
        )
    request.check_replay(file.agent.algorithm)
    initial = None if request.initial is None else read_agent(request.initial, mapping, library)
    if initial is not None:
        first, last = ((one.agent.algorithm, one.agent.networks, one.agent.activation) for one in (initial, file))
        if first != last:
            raise ForeignFileError(
                f"{initial.path} is no agent that {file.path} can have been at first: its algorithm or its networks "
                "differ."
            )
        before, after = (_weights(one.agent) for one in (initial, file))
        if all(np.array_equal(array, after[name]) for name, array in before.items()):
            raise ForeignFileError(
                f"{initial.path} has the same weights as {file.path}, the trained agent. --initial is for the agent "
                "before training; without it, leave it out."
            )
    made = None
    if request.initial_from_seed and library is not None:
        made = reconstructed(file, library)
        if initial is not None:
            check_same(initial.path, initial.agent, made)
    return _Sources(file, initial, made, _replay(request, file, library))


def _weights(agent: ForeignAgent) -> dict[str, np.ndarray]:
    return {name: array for name, array in agent.arrays.items() if name.startswith("params.")}


def _replay(request: Request, file: AgentFile, library: Library | None) -> ForeignReplay | None:
    """The replay buffer in a file. Of a Minari dataset, only whether it is there."""
    if request.dataset is not None:
        from rlottery.interop.minari import open_dataset

        open_dataset(request.dataset)
    if request.replay is None or request.dataset is not None:
        return None
    agent = file.agent
    sizes = agent.observation_size, agent.action_size
    return read_replay(request.replay, *sizes, discrete=bool(agent.discrete), library=library)


def _in_unit_actions(agent: ForeignAgent, task: Task) -> ForeignAgent:
    """The agent with actions in [-1, 1], if they are in the units of the task."""
    if not agent.in_task_units:
        return agent
    with OpenEnvironments() as environments:
        actions = environments.make(task.id, task.kwargs).actions
    assert isinstance(actions, ActionBounds), "`check_fits` checks the kind of actions"
    arrays = dict(agent.arrays)
    to_unit_actions(arrays, {"action_low": actions.low, "action_high": actions.high})
    return replace(agent, arrays=arrays, in_task_units=False)


def _dataset(name: str, target: Target) -> ForeignReplay:
    """The transitions of a Minari dataset."""
    from rlottery.interop.minari import read_dataset

    with OpenEnvironments() as environments:
        actions = environments.make(target.task.id, target.task.kwargs).actions
    found = read_dataset(name, target.task.id, task_spec(target.task).observation_size, actions)
    return ForeignReplay(found._replace(ends=None), capacity=None)


def _lines(
    file: AgentFile, imported: Imported, replay: Transitions | None, target: Target, job: Job, score: MetricsRow
) -> list[str]:
    """What was done, what is missing, and what to do next."""
    agent, episodes = file.agent, job.config.evaluation.episodes
    steps = "" if agent.env_steps is None else f", trained for {agent.env_steps:,} environment steps"
    hidden = "; ".join(f"{group} {' x '.join(map(str, of)) or 'none'}" for group, of in agent.hidden.items())
    lines = [
        f"Imported {file.path.name}: {agent.algorithm.upper()} of {agent.library}{steps}. Hidden layers: {hidden}, "
        f"with {agent.activation}.",
        f"Run: {job.files.folder}",
        f"Return in {job.task.id}: {score['return']:.6g}, the mean of {plural(episodes, 'episode')}.",
        _initial_line(imported),
    ]
    if replay is not None:
        how = f"collected with the agent in {job.task.id}" if "collected" in imported else "from its replay buffer"
        lines.append(f"Data: {len(replay.rewards):,} transitions, {how}.")
    else:
        have_one = "" if job.config.algorithm in ON_POLICY else " If you have its replay buffer: --replay FILE."
        lines.append(
            f"Data: none. Of the criteria, only those that read nothing but weights can be used.{have_one} To collect "
            "some with the agent: --collect STEPS"
        )
    if target.new is not None and target.new.defaults:
        lines.append(f"Not in the file, so as by default: {', '.join(target.new.defaults)}.")
    lines += [f"Note: {note}" for note in imported["notes"]]
    return [*lines, f"Next: {target.next_command()}"]


def _initial_line(imported: Imported) -> str:
    if "initial" not in imported:
        from_seed = ", or --initial-from-seed" if makes_weights_again(imported["library"]) else ""
        return (
            "Initial weights: not known. Tickets are rewound to the agent's own weights: this is fine-tuning, and no "
            f"evidence about lottery tickets. If you have the agent from before training: --initial FILE{from_seed}"
        )
    if (made := imported.get("reconstructed")) is None:
        return f"Initial weights: {imported['initial']['file']}. Tickets are rewound to them."
    file, by = imported["initial"]["file"], made["by"]
    how = f"reconstructed from {file} by {by}" if is_from_seed(imported) else f"{file}, equal to those that {by} makes"
    return (
        f"Initial weights: {how}. Their correlation with the trained weights is {made['correlation']:.2f}, and would "
        "be about 0 for another seed. Tickets are rewound to them."
    )
