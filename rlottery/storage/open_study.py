"""Opening a study: its settings, from its config file or from its data folder."""

import contextlib
from collections.abc import Sequence
from pathlib import Path

from rlottery.config import Config, load_config
from rlottery.errors import ConfigError, StudyError
from rlottery.storage.local_modules import allow_local_modules
from rlottery.storage.paths import Store
from rlottery.storage.study_record import config_from_record, read_study_record


def config_from_file(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The settings in a config file. Its own tasks (module:Id) and criteria may be modules next to it.

    Args:
        overrides: `key.path=value`, as on the command line.
    """
    allow_local_modules([path.parent])
    return load_config(path, overrides)


def config_from_study(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The settings of a study, which may not have been started yet, from its config file or its data folder.

    Raises ConfigError if the config file has an error, or overrides are given for a data folder; StudyError if the
    folder holds no study, or no record of its settings.
    """
    if path.is_dir():
        if overrides:
            raise ConfigError(
                f"{path} is a data folder, and keys can be set only for a config file. Give the study's config file "
                f"instead: config.yaml data={path} {overrides[0]}"
            )
        record = read_study_record(path)
        allow_local_modules(map(Path, record.get("module_folders", [])))
        return config_from_record(record, path)
    allow_local_modules([path.parent])
    if not path.exists() and not path.suffix:
        raise StudyError(f"There is no study at {path}. Give a study's data folder or its config file.")
    return load_config(path, overrides)


def config_from_started_study(path: Path, overrides: Sequence[str] = ()) -> Config:
    """As `config_from_study`, but raises StudyError if the data folder of a config file has no runs."""
    config = config_from_study(path, overrides)
    if path.is_dir():
        return config
    check_data_folder(config.data)
    if not Store(config.data).runs.is_dir():
        raise StudyError(
            f"{config.data} has no runs yet. Start with `rlottery run {path}`. If the runs are in another folder, give "
            f"that folder instead of {path}."
        )
    return config


def check_data_folder(folder: Path) -> None:
    """Raises StudyError if the data folder isn't a folder and can't be made, because a part of its path is a file."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise StudyError(f"The data folder can't be accessed: {error}. Choose another: data=FOLDER.") from None
    if not nearest.is_dir():
        raise StudyError(f"The data folder {folder} can't be made: {nearest} is a file. Choose another: data=FOLDER.")


def allow_modules_of_run(run_folder: Path) -> None:
    """Let the modules be imported that a run of a study may need: those of the study's record, if it has one."""
    folders: list[str] = []
    with contextlib.suppress(StudyError, IndexError):
        folders = read_study_record(run_folder.absolute().parents[3]).get("module_folders", [])
    allow_local_modules(map(Path, folders))
