"""The study that an imported agent becomes a run of: a new one with the agent's settings, or one that exists."""

import os
from dataclasses import dataclass, replace
from pathlib import Path
from shlex import quote

from rlottery.config import Config, Task, config_to_dict, load_config
from rlottery.errors import ConfigError, ForeignFileError, StudyError
from rlottery.interop.read_agent import AgentFile
from rlottery.storage.local_modules import allow_local_modules
from rlottery.storage.open_study import config_to_run, data_override
from rlottery.storage.paths import CONFIG, DENSE, Store
from rlottery.study.planning.import_request import Request
from rlottery.study.planning.imported_config import ImportedConfig, contradictions, with_seed


@dataclass(frozen=True)
class Target:
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
        """What the config file has to have; None if it stays as it is.

        It is that of this moment: another import may have added a seed. Raises ConfigError if `seeds` can't be changed,
        and StudyError if another command has made a new study's config meanwhile.
        """
        if self.new is not None:
            if self.path.exists():
                raise StudyError(
                    f"Another command has made {self.path} meanwhile. To import into that study, run this command "
                    "again without KEY=VALUE."
                )
            return self.new.text(self.config)
        before = self.path.read_text(encoding="utf-8")
        return None if seed in load_config(self.path).seeds else with_seed(before, seed, self.path)

    def with_capacity(self, transitions: int, capacity: int | None) -> "Target":
        """The study, where a new one's replay buffers hold as much as that of the agent.

        Args:
            transitions: in the agent's replay buffer.
            capacity: of it; None if it isn't full.
        """
        if self.new is None or transitions >= self.config.training_for(self.task).env_steps:
            return self
        self.new.keep_only(capacity or transitions)
        config = self.new.config(self.config.data)
        return replace(self, config=config, task=config.tasks[0])

    def next_command(self) -> str:
        """The command that runs the study. Its data folder is relative to the working directory."""
        folder = self.path.parent
        inside = os.path.realpath(self.config.data).startswith(os.path.realpath(folder))
        if folder == Path() or not inside:
            return f"rlottery run {quote(str(self.path))}"
        return f"cd {quote(str(folder))} && rlottery run {quote(self.path.name)}"


def target_of(request: Request, file: AgentFile, seed: int) -> Target:
    """The study that gets an agent as its run of a seed. Nothing is written.

    Raises RlotteryError: the request lacks something, the config has an error, or the agent doesn't fit the study.
    """
    if request.study is None and not (request.folder / CONFIG).exists():
        return _new_study(request, file, seed)
    return _existing_study(request, file, seed)


def _new_study(request: Request, file: AgentFile, seed: int) -> Target:
    if request.task is None:
        raise ConfigError("--task is missing: the task that the agent was trained on, such as --task Pendulum-v1.")
    path, data = request.folder / CONFIG, request.folder / "data"
    if request.folder.exists() and not request.folder.is_dir():
        raise ConfigError(f"{request.folder} is a file. Choose another folder: --to FOLDER")
    allow_local_modules([request.folder, Path.cwd()])
    settings = ImportedConfig(file, request.task, seed, request.overrides)
    config = settings.config(data)
    # An import that was killed before it wrote the config has left this run, and is finished now.
    own = Store(data).run(config.tasks[0].name, seed, DENSE).folder
    if any(not run.name.startswith(".") and run != own for run in Store(data).runs.glob("*/seed_*/*")):
        raise StudyError(f"{data} has runs already, but {path} is missing. Choose another folder: --to FOLDER")
    return Target(path, config, config.tasks[0], settings)


def _existing_study(request: Request, file: AgentFile, seed: int) -> Target:
    path = request.study or request.folder / CONFIG
    if request.overrides:
        raise ConfigError(
            f"{path} exists, and its runs have its settings, so {request.overrides[0]} can't be set here. Leave it "
            "out. For a study with other settings, import into another folder: --to FOLDER"
        )
    loaded, overrides = load_config(path), list[str]()
    if request.study is None and os.path.realpath(request.folder) != os.path.realpath(Path.cwd()):
        data = request.folder / loaded.data
        if Path(os.path.realpath(data)).is_relative_to(os.path.realpath(request.folder)):
            overrides = [data_override(data)]
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
    return Target(path, config, next(task for task in config.tasks if task.id == tasks[0].id))
