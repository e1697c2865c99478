"""Opening a study: its settings, from its config file or from its data folder."""

import json
import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rlottery.config import Config, load_config
from rlottery.errors import ConfigError, StudyError
from rlottery.storage.local_modules import allow_local_modules
from rlottery.storage.paths import CONFIG, Store
from rlottery.storage.study_record import config_from_record, read_study_record


def config_to_run(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The settings in a config file, to run them. Its criteria are imported.

    Its own tasks (module:Id) and criteria may be modules next to it, or in the working directory.

    Args:
        path: the file, or the folder of the study, which has it and its data (`_opened`).
        overrides: `key.path=value`, as on the command line.

    Raises ConfigError if the file has an error, or `check_may_write` does.
    """
    path, found, config = _opened(path, overrides)
    check_may_write(config or load_config(path, found), path, overrides)  # before anything is imported
    allow_local_modules([path.parent, Path.cwd()])
    return load_config(path, found, runs_code=True)


def config_from_study(path: Path, overrides: Sequence[str] = ()) -> Config:
    """The settings of a study, which may not have been started yet.

    They are those of its config file, its data folder, or the folder with both (`_opened`). Nothing that the study
    names is imported.

    Raises ConfigError if the config file has an error, or overrides are given for a data folder; StudyError if the
    folder holds no study, or no record of its settings.
    """
    path, found, config = _opened(path, overrides)
    if path.is_dir():
        if overrides:
            raise ConfigError(
                f"{path} is a data folder, and keys can be set only for a config file. Give the study's config file "
                f"instead: config.yaml data={path} {overrides[0]}"
            )
        return config_from_record(read_study_record(path), path)
    if not path.exists() and not path.suffix:
        raise StudyError(f"There is no study at {path}. Give a study's data folder or its config file.")
    return config or load_config(path, found)


class _Opened(NamedTuple):
    """A study's config file, or its data folder, and the overrides; and the settings if they have been read."""

    path: Path
    overrides: list[str]
    config: Config | None = None


def _opened(path: Path, overrides: Sequence[str]) -> _Opened:
    """The config file of a study that may be given by the folder with its config and its data, and its overrides.

    A `data` folder is relative to the working directory. One that is next to the config is taken if the study is given
    by its folder, or if only that one has runs: the config is used from another folder than usual.

    Raises ConfigError if the config file has an error.
    """
    is_folder = (path / CONFIG).is_file() and not Store(path).runs.is_dir()
    path = path / CONFIG if is_folder else path
    if any(override.partition("=")[0].strip() == "data" for override in overrides) or not path.is_file():
        return _Opened(path, list(overrides))
    config = load_config(path, overrides)
    next_to_config = path.parent / config.data
    is_taken = is_folder or (Store(next_to_config).runs.is_dir() and not Store(config.data).runs.is_dir())
    if not is_taken or not Path(os.path.realpath(next_to_config)).is_relative_to(os.path.realpath(path.parent)):
        return _Opened(path, list(overrides), config)
    return _Opened(path, [data_override(next_to_config), *overrides])


def data_override(folder: Path) -> str:
    """The override that sets a data folder of any name."""
    return f"data={json.dumps(str(folder), ensure_ascii=False)}"


def config_from_started_study(path: Path, overrides: Sequence[str] = (), *, writes: bool = False) -> Config:
    """As `config_from_study`, but raises StudyError if the data folder of a config file has no runs.

    Args:
        writes: whether files are written to the data folder; then `check_may_write`.
    """
    config = config_from_study(path, overrides)
    path, *_ = _opened(path, overrides)
    if path.is_dir():
        return config
    if writes:
        check_may_write(config, path, overrides)
    check_data_folder(config.data)
    if not Store(config.data).runs.is_dir():
        raise StudyError(
            f"{config.data} has no runs yet. Start with `rlottery run {path}`. If the runs are in another folder, give "
            f"that folder instead of {path}."
        )
    return config


def check_may_write(config: Config, path: Path, overrides: Sequence[str]) -> None:
    """Raise ConfigError if a config file has a data folder outside the working directory that nobody has confirmed.

    ``..`` and links are followed. An override of `data`, or the key `data_anywhere`, confirms it.
    """
    named = any(override.partition("=")[0].strip() == "data" for override in overrides)
    here, folder = Path.cwd(), config.data
    if named or config.data_anywhere or Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(here)):
        return
    raise ConfigError(
        f"{path}: data: {folder} is outside the working directory ({here}), and this command writes there. If you want "
        f"that, name the folder on the command line: data={shlex.quote(str(folder))}; or add this key to the config: "
        "data_anywhere: true"
    )


def check_data_folder(folder: Path) -> None:
    """Raises StudyError if the data folder isn't a folder and can't be made, because a part of its path is a file."""
    try:
        nearest = next(path for path in (folder, *folder.parents) if path.exists())
    except OSError as error:
        raise StudyError(f"The data folder can't be accessed: {error}. Choose another: data=FOLDER.") from None
    if not nearest.is_dir():
        raise StudyError(f"The data folder {folder} can't be made: {nearest} is a file. Choose another: data=FOLDER.")
