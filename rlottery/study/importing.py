"""`rlottery import`: a dense run of a study from an agent that another tool trained, and its replay buffer."""

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shlex import quote

import numpy as np

from rlottery.agents.description import Spec
from rlottery.config import ON_POLICY, Config, Task, config_to_dict, load_config
from rlottery.envs import OpenEnvironments
from rlottery.errors import ConfigError, ForeignFileError, StudyError
from rlottery.interop.mapping import read_mapping
from rlottery.interop.read_agent import AgentFile, normalised, read_agent
from rlottery.interop.replay import ForeignReplay, read_replay
from rlottery.report.wording import plural
from rlottery.storage.disk import file_digest, write_bytes
from rlottery.storage.local_modules import allow_local_modules
from rlottery.storage.manifests import Imported, Manifest, SourceFile, find_damage, read_manifest
from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.open_study import check_data_folder, config_to_run
from rlottery.storage.paths import RunFiles, Store
from rlottery.storage.study_record import note_command
from rlottery.storage.transitions import Transitions
from rlottery.storage.trial_record import read_trials
from rlottery.storage.trust import note_run
from rlottery.storage.work_place import WorkPlace
from rlottery.study.planning.fingerprints import dense_fingerprint
from rlottery.study.planning.finished_runs import check_same_study
from rlottery.study.planning.imported_config import ImportedConfig, check_algorithm, contradictions, with_seed
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import task_spec
from rlottery.study.planning.trials import record_trials, try_tasks

CONFIG = "config.yaml"
MOST_COLLECTED = 10_000_000


@dataclass(frozen=True)
class Request:
    """What to import, and where to.

    Attributes:
        agent, initial, replay: the files.
        mapping: which tensors of a file of weights are which layers.
        normalisation: the running statistics of observations and rewards.
        collect: how many environment steps to take with the agent, in place of a replay buffer; 0: none.
        task: the task's id; None for the only one of an existing study.
        algorithm: of the agent, to check it.
        seed: of the run; None for the agent's own, or 0.
        folder: of the study. If it has no config.yaml, one is written.
        study: the config file of an existing study, in place of `folder`.
        overrides: ``key.path=value`` for a new config.
    """

    agent: Path
    task: str | None = None
    initial: Path | None = None
    replay: Path | None = None
    algorithm: str | None = None
    seed: int | None = None
    folder: Path = Path()
    study: Path | None = None
    overrides: Sequence[str] = ()
    normalisation: Path | None = None
    collect: int = 0
    mapping: Path | None = None


@dataclass(frozen=True)
class _Study:
    """The study that gets the run.

    Attributes:
        path: its config file, which is written or changed at the end.
        task: of the run.
        new: the settings of a new study; None if the config exists.
    """

    path: Path
    config: Config
    task: Task
    new: ImportedConfig | None = None

    def text(self, seed: int) -> str | None:
        """What the config file has to have; None if it stays as it is."""
        if self.new is not None:
            return self.new.text(self.config)
        before = self.path.read_text(encoding="utf-8")
        return None if seed in load_config(self.path).seeds else with_seed(before, seed, self.path)


def import_agent(request: Request, say: Callable[[str], None] = lambda line: None) -> str:
    """Make a dense run, and the config of its study if there is none yet. Returns what was done, for people.

    Nothing is written before everything was read and checked, and the agent was evaluated in the task.

    Raises RlotteryError: a file can't be read or used, the agent doesn't fit the task or the study, or another run is
    there already.
    """
    file, initial = _read_agents(request)
    seed = _seed_of(request, file)
    study = _new_study(request, file, seed) if _is_new(request) else _existing_study(request, file, seed)
    check_data_folder(study.config.data)
    store = Store(study.config.data)
    store.check_links()
    try_tasks(study.config, say, "Give the task that the agent was trained on: --task ID")
    from rlottery.study.stages.imported_run import (
        check_fits,
        collected,
        make_imported_run,
        write_imported_run,
    )  # imports JAX

    for one in (file, initial):
        if one is not None:
            check_fits(one.agent, task_spec(study.task), study.task.id)
    study, replay = _with_replay(request, study)
    transitions = None if replay is None else replay.transitions
    job = Job(study.config, "dense", study.config.tasks.index(study.task), seed)
    imported = _imported(request, file, initial, replay, study)
    text = study.text(seed)
    found = _existing_run(job, imported)
    _check_is_new_to_study(job, imported)
    gets_replay = bool(replay is not None or request.collect)
    if found is not None and not (gets_replay and found.get("replay") != "saved"):
        if text is None:
            return f"{job.files.folder} has this agent already. Nothing was changed."
        write_bytes(study.path, text.encode())
        return f"{job.files.folder} has this agent already. Its seed was added to {study.path}."
    run = make_imported_run(job, file.agent, None if initial is None else initial.agent)
    if request.collect:
        transitions = collected(job, file.agent, request.collect)
    with WorkPlace(store, say) as place:
        place.enter([job.files])
        if text is not None:  # before the run: without its config, a new study can't be continued
            write_bytes(study.path, text.encode())
        write_imported_run(job, run, imported, transitions)
        record_trials(study.config)
        sources = sorted({name for trial in read_trials(study.config).values() for name in trial.sources})
        note_command(study.config, has_work=True, ran=note_run(study.config, sources))
    return "\n".join(_lines(file, imported, transitions, study, job, run.score))


def _read_agents(request: Request) -> tuple[AgentFile, AgentFile | None]:
    mapping = None if request.mapping is None else read_mapping(request.mapping)
    file = read_agent(request.agent, mapping)
    check_algorithm(file, request.algorithm)
    if request.normalisation is not None:
        file = normalised(file, request.normalisation)
    if file.agent.env_steps == 0:
        raise ForeignFileError(
            f"{file.path}: this agent was not trained yet. Give it as --initial, and the agent after training as AGENT."
        )
    if request.initial is None:
        return file, None
    initial = read_agent(request.initial, mapping)
    if (initial.agent.algorithm, initial.agent.networks) != (file.agent.algorithm, file.agent.networks):
        raise ForeignFileError(
            f"{initial.path} is no agent that {file.path} can have been at first: its algorithm or its networks' sizes "
            "differ."
        )
    return file, initial


def _seed_of(request: Request, file: AgentFile) -> int:
    if request.seed is not None:
        return request.seed
    return file.agent.seed if file.agent.seed is not None else 0


def _is_new(request: Request) -> bool:
    return request.study is None and not (request.folder / CONFIG).exists()


def _new_study(request: Request, file: AgentFile, seed: int) -> _Study:
    if request.task is None:
        raise ConfigError("--task is missing: the task that the agent was trained on, such as --task Pendulum-v1.")
    path, data = request.folder / CONFIG, request.folder / "data"
    if request.folder.exists() and not request.folder.is_dir():
        raise ConfigError(f"{request.folder} is a file. Choose another folder: --to FOLDER")
    if Store(data).runs.exists():
        raise StudyError(f"{data} has runs already, but {path} is missing. Choose another folder: --to FOLDER")
    allow_local_modules([request.folder, Path.cwd()])
    settings = ImportedConfig(file, request.task, seed, request.overrides)
    config = settings.config(data)
    return _Study(path, config, config.tasks[0], settings)


def _existing_study(request: Request, file: AgentFile, seed: int) -> _Study:
    path = request.study or request.folder / CONFIG
    if request.overrides:
        raise ConfigError(
            f"{path} exists, and its runs have its settings, so {request.overrides[0]} can't be set here. Leave it "
            "out. For a study with other settings, import into another folder: --to FOLDER"
        )
    loaded, overrides = load_config(path), []
    if request.study is None and os.path.realpath(request.folder) != os.path.realpath(Path.cwd()):
        data = request.folder / loaded.data
        if Path(os.path.realpath(data)).is_relative_to(os.path.realpath(request.folder)):
            overrides = [f"data={data}"]
    config = config_to_run(path, overrides)
    if request.task is None and len(config.tasks) > 1:
        raise ConfigError(f"{path} has several tasks. Choose one: --task ID")
    tasks = [task for task in config.tasks if request.task in (None, task.id)]
    if not tasks:
        raise ConfigError(f"{path} has no task {request.task}. It has {', '.join(task.id for task in config.tasks)}.")
    if found := contradictions(file, config, tasks[0]):
        listed = "\n  ".join(found)
        raise ForeignFileError(
            f"{file.path} doesn't fit the study in {path}:\n  {listed}\n"
            "A study compares agents with the same settings. Import it into another folder: --to FOLDER"
        )
    if seed not in config.seeds:
        values = {**config_to_dict(config), "seeds": [*config.seeds, seed], "data": str(config.data)}
        config = Config.model_validate(values)
    return _Study(path, config, next(task for task in config.tasks if task.id == tasks[0].id))


def _with_replay(request: Request, study: _Study) -> tuple[_Study, ForeignReplay | None]:
    """The replay buffer, and the study with its capacity."""
    if request.collect:
        _check_collect(request, study)
    if request.replay is None:
        return study, None
    if study.config.algorithm in ON_POLICY:
        raise ForeignFileError(f"{request.replay}: agents of PPO have no replay buffer. Leave out --replay.")
    spec = task_spec(study.task)
    if (dataset := dataset_of(request.replay)) is not None:
        replay = _dataset(dataset, study, spec)
    else:
        replay = read_replay(request.replay, *spec.sizes, discrete=spec.discrete)
    steps = study.config.training_for(study.task).env_steps
    if study.new is not None and (kept := len(replay.transitions.rewards)) < steps:
        study.new.keep_only(replay.capacity or kept)
        config = study.new.config(study.config.data)
        study = _Study(study.path, config, config.tasks[0], study.new)
    return study, replay


def dataset_of(replay: Path) -> str | None:
    """The id of a Minari dataset that `--replay` names; None if it names a file."""
    kind, colon, name = str(replay).partition(":")
    return name if colon and kind == "minari" else None


def _dataset(name: str, study: _Study, spec: Spec) -> ForeignReplay:
    """The transitions of a Minari dataset."""
    from rlottery.interop.minari import read_dataset

    with OpenEnvironments() as environments:
        actions = environments.make(study.task.id, study.task.kwargs).actions
    found = read_dataset(name, study.task.id, spec.observation_size, actions)
    return ForeignReplay(found._replace(ends=None), capacity=None)


def _check_collect(request: Request, study: _Study) -> None:
    together = study.config.training_for(study.task).environments
    if request.replay is not None:
        raise ConfigError("--collect and --replay exclude each other: leave one of them out.")
    if request.collect < 1 or request.collect % together or request.collect > MOST_COLLECTED:
        raise ConfigError(
            f"--collect {request.collect}: must be a number of environment steps from 1 to {MOST_COLLECTED:,}, and a "
            f"multiple of training.environments ({together})."
        )


def _imported(
    request: Request, file: AgentFile, initial: AgentFile | None, replay: ForeignReplay | None, study: _Study
) -> Imported:
    """What the manifest records."""
    notes = [*file.agent.notes, *(replay.notes if replay else ()), *(study.new.notes if study.new else ())]
    imported: Imported = {
        "agent": SourceFile(file=file.path.name, sha256=file.sha256),
        "library": file.agent.library,
        "notes": notes,
    }
    if initial is not None:
        imported["initial"] = SourceFile(file=initial.path.name, sha256=initial.sha256)
    if request.replay is not None:
        dataset = dataset_of(request.replay)
        imported["replay"] = (
            SourceFile(file=request.replay.name, sha256=file_digest(request.replay))
            if dataset is None
            else SourceFile(file=str(request.replay), sha256=_digest_of(replay))
        )
    if request.collect:
        imported["collected"] = request.collect
    return imported


def _digest_of(replay: ForeignReplay | None) -> str:
    """The SHA-256 of transitions, field by field: a dataset has no file of its own."""
    sha = hashlib.sha256()
    for array in replay.transitions.fields.values() if replay is not None else ():
        sha.update(np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def _existing_run(job: Job, imported: Imported) -> Manifest | None:
    """The manifest of the same run, if it is there and intact.

    Raises StudyError if the folder has another run, one with other data, or one that isn't finished.
    """
    files = job.files
    other = f"Choose another seed or folder: --seed N, --to FOLDER. Or delete {files.folder}."
    manifest = read_manifest(files) if files.manifest.exists() else None
    if manifest is None:
        if files.folder.exists() and any(files.folder.iterdir()):
            raise StudyError(f"{files.folder} has a run that isn't finished. {other}")
        return None
    check_same_study(files, manifest, dense_fingerprint(job.config, job.task, job.seed))
    before = manifest.get("imported")
    if before is None:
        raise StudyError(f"{files.folder} has a dense agent that was trained here. {other}")
    if before["agent"]["sha256"] != imported["agent"]["sha256"]:
        raise StudyError(f"{files.folder} has another agent, imported from {before['agent']['file']}. {other}")
    if before.get("initial", {}).get("sha256") != imported.get("initial", {}).get("sha256"):
        raise StudyError(f"{files.folder} has this agent with other initial weights. {other}")
    if find_damage(files.folder, manifest["files"]):
        return None
    if manifest.get("replay") == "saved" and _data_of(imported) not in (None, _data_of(before)):
        raise StudyError(f"{files.folder} has this agent with other data for criteria. {other}")
    return manifest


def _data_of(imported: Imported) -> str | int | None:
    """Tells the transitions of a run from others: the checksum of a replay buffer, or how many were collected."""
    return imported["replay"]["sha256"] if "replay" in imported else imported.get("collected")


def _check_is_new_to_study(job: Job, imported: Imported) -> None:
    """Raise StudyError if another run of the study has the same agent: seeds would not be independent."""
    for path in sorted(Store(job.config.data).runs.glob("*/seed_*/dense")):
        manifest = read_manifest(RunFiles(path)) if path != job.files.folder else None
        before = manifest.get("imported") if manifest is not None else None
        if before is not None and before["agent"]["sha256"] == imported["agent"]["sha256"]:
            raise StudyError(
                f"{path} has this agent already, and it would count twice. Each seed needs an agent of its own: import "
                "one that was trained with another seed, or delete that folder."
            )


def _lines(
    file: AgentFile, imported: Imported, replay: Transitions | None, study: _Study, job: Job, score: MetricsRow
) -> list[str]:
    """What was done, what is missing, and what to do next."""
    agent, episodes = file.agent, job.config.evaluation.episodes
    steps = "" if agent.env_steps is None else f", trained for {agent.env_steps:,} environment steps"
    hidden = "; ".join(f"{group} {' x '.join(map(str, of)) or 'none'}" for group, of in agent.hidden.items())
    lines = [
        f"Imported {file.path.name}: {agent.algorithm.upper()} of {agent.library}{steps}. Hidden layers: {hidden}.",
        f"Run: {job.files.folder}",
        f"Return in {job.task.id}: {score['return']:.6g}, the mean of {plural(episodes, 'episode')}.",
    ]
    if "initial" in imported:
        lines.append(f"Initial weights: {imported['initial']['file']}. Tickets are rewound to them.")
    else:
        lines.append(
            "Initial weights: not known. Tickets are rewound to the agent's own weights: this is fine-tuning, and no "
            "evidence about lottery tickets. If you have the agent from before training: --initial FILE"
        )
    if replay is not None:
        how = f"collected with the agent in {job.task.id}" if "collected" in imported else "from its replay buffer"
        lines.append(f"Data: {len(replay.rewards):,} transitions, {how}.")
    else:
        have_one = "" if job.config.algorithm in ON_POLICY else " If you have its replay buffer: --replay FILE."
        lines.append(
            f"Data: none. Of the criteria, only those that read nothing but weights can be used.{have_one} To collect "
            "some with the agent: --collect STEPS"
        )
    if study.new is not None and study.new.defaults:
        lines.append(f"Not in the file, so as by default: {', '.join(study.new.defaults)}.")
    lines += [f"Note: {note}" for note in imported["notes"]]
    return [*lines, f"Next: {_next_command(study)}"]


def _next_command(study: _Study) -> str:
    """The command that runs the study. Its data folder is relative to the working directory."""
    folder = study.path.parent
    inside = os.path.realpath(study.config.data).startswith(os.path.realpath(folder))
    if folder == Path() or not inside:
        return f"rlottery run {quote(str(study.path))}"
    return f"cd {quote(str(folder))} && rlottery run {quote(study.path.name)}"
