"""A study by its config file or its data folder: its settings, checked, begun or not."""

import sys
from collections.abc import Sequence
from pathlib import Path

from rlottery.config import Config, load_config
from rlottery.errors import ConfigError, StudyError
from rlottery.storage.paths import Store
from rlottery.storage.study_record import config_from_record, read_study_record


def config_from_file(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The config, with its tasks written as module:Id importable from the working directory.

    Raises:
        ConfigError: names key, file and line of every fault.
    """
    allow_local_tasks()
    return load_config(path, overrides)


def config_from_study(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The settings of a study, begun or not, from its config file or its data folder.

    Raises:
        ConfigError: of a config file, as `config_at`; of a folder, keys to set, which only a file takes.
        StudyError: a folder without a study, or without a record of its settings.
    """
    allow_local_tasks()
    if path.is_dir():
        if overrides:
            raise ConfigError(
                f"{path} is a data folder: keys are set on a config file. Give the study's in its place: "
                f"config.yaml data={path} {overrides[0]}"
            )
        return config_from_record(read_study_record(path), path)
    if not path.exists() and not path.suffix:
        raise StudyError(f"There is no study at {path}: give a study's data folder, or its config file.")
    return load_config(path, overrides)


def config_from_started_study(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The same of a study that has been begun.

    Raises:
        ConfigError: as `settings_of`.
        StudyError: as `settings_of`, or a config file's data folder has nothing yet.
    """
    config = config_from_study(path, overrides)
    if path.is_dir():
        return config
    check_data_folder(config.data)
    if not Store(config.data).runs.is_dir():
        raise StudyError(
            f"{config.data} holds no runs yet. Begin with `rlottery run {path}`; if they lie elsewhere, give their "
            f"data folder in the place of {path}."
        )
    return config


def check_data_folder(folder: Path) -> None:
    """Raises StudyError if the data folder is none, and can't be made: something on the way to it is a file."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise StudyError(f"The data folder can't be reached: {error}. Choose another: data=FOLDER.") from None
    if not nearest.is_dir():
        raise StudyError(f"The data folder {folder} can't be made: {nearest} is a file. Choose another: data=FOLDER.")


def allow_local_tasks() -> None:
    """Make tasks that are written as module:Id importable from the working directory."""
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
