"""The record of a study: its settings, and the commands that worked on it. What reads a data folder alone reads it.

`study.json` is sealed as manifests are. Every `run` that has something to do, or whose settings differ, adds a command.
Where there is none, a report of a config file begins it.
"""

import shlex
import sys
import time
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from rlottery.config import Config, config_to_dict
from rlottery.errors import StudyError
from rlottery.storage.locks import one_at_a_time
from rlottery.storage.manifests import MANIFEST_FORMAT, DamagedError, read_sealed, write_sealed
from rlottery.storage.paths import Store
from rlottery.version import __version__

MOST_COMMANDS = 1_000
"""Commands that a record keeps, the latest ones: a script may call thousands."""


class RecordedCommand(TypedDict):
    """One command that worked on the study.

    Attributes:
        when: seconds since 1970.
        line: as it was typed.
        version: of rlottery.
        seeds: that its config asked for.
    """

    when: float
    line: str
    version: str
    seeds: list[int]


class StudyRecord(TypedDict):
    """What is known of a study as a whole.

    Attributes:
        config: the last command's settings; its tasks and seeds are joined by those of all commands before.
        seeds_added: how many commands asked for seeds beyond those of the commands before them, when there were
            results already.
    """

    format_version: int
    config: dict[str, Any]
    commands: Annotated[list[RecordedCommand], Field(max_length=MOST_COMMANDS)]
    seeds_added: Annotated[int, Field(ge=0)]


_RECORD = TypeAdapter(StudyRecord)


def note_command(config: Config, *, has_work: bool) -> None:
    """Add this process's command to the record, unless it has nothing to do and the settings are known already.

    Raises:
        StudyError: the record is of a later version of rlottery.
        OSError: it can't be written.
    """
    store = Store(config.data)
    with one_at_a_time(store.record_lock):  # jobs of an array start at once
        _note(store, config, has_work)


def _note(store: Store, config: Config, has_work: bool) -> None:
    try:
        known = _read(store)
    except (FileNotFoundError, DamagedError):
        known = None  # made anew: the runs don't depend on it
    joined, added = _joined(known["config"] if known else None, config)
    if known is not None and not has_work and joined == known["config"]:
        return
    commands = known["commands"] if known else []
    line = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])
    command: RecordedCommand = {
        "when": time.time(),
        "line": line[:2_000],
        "version": __version__,
        "seeds": list(config.seeds),
    }
    record: StudyRecord = {
        "format_version": MANIFEST_FORMAT,
        "config": joined,
        "commands": [*commands, command][-MOST_COMMANDS:],
        "seeds_added": (known["seeds_added"] if known else 0) + (added and _has_results(store)),
    }
    write_sealed(store.record, record)


def read_study_record(data: Path) -> StudyRecord:
    """The record of the study in a data folder.

    Raises:
        StudyError: there is no such folder or no record in it, or it is damaged.
    """
    if not data.is_dir():
        raise StudyError(f"There is no study at {data}: give a study's data folder, or its config file.")
    store = Store(data)
    try:
        record = _read(store)
    except FileNotFoundError:
        if not any(data.iterdir()):
            raise StudyError(f"{data} is empty: give a study's data folder, or its config file.") from None
        if not store.runs.is_dir():
            raise StudyError(f"{data} holds no study: give a study's data folder, or its config file.") from None
        raise StudyError(
            f"{data} has runs, but no {store.record.name} that says what the study asked for. A report of its config "
            f"file writes it: rlottery report CONFIG data={shlex.quote(str(data))}"
        ) from None
    return record


def config_from_record(record: StudyRecord, data: Path) -> Config:
    """The settings that a record holds, with the data folder where it lies now.

    Raises:
        StudyError: this version of rlottery can't read them.
    """
    try:
        return Config.model_validate({**record["config"], "data": str(data)})
    except ValidationError as error:
        raise StudyError(
            f"The settings in {Store(data).record} can't be read by rlottery {__version__} "
            f"({error.errors()[0]['msg']}). Give the study's config file in the place of the folder."
        ) from None


def _read(store: Store) -> StudyRecord:
    content = read_sealed(store.record)
    try:
        return _RECORD.validate_python(content)
    except ValidationError:
        raise DamagedError(store.record, "it is no record of a study") from None


def _has_results(store: Store) -> bool:
    """Whether any run is done or has failed: before that, further seeds were not added to anything."""
    return any(store.runs.glob("*/seed_*/*/manifest.json"))


def _joined(known: dict[str, Any] | None, config: Config) -> tuple[dict[str, Any], bool]:
    """The settings with the known tasks and seeds beside their own, and whether seeds came to those known."""
    told = config_to_dict(config)
    if known is None:
        return told, False
    seeds = list(dict.fromkeys([*known.get("seeds", []), *told["seeds"]]))
    tasks = {_id(task): task for task in [*known.get("tasks", []), *told["tasks"]]}
    return {**told, "seeds": seeds, "tasks": list(tasks.values())}, len(seeds) > len(known.get("seeds", []))


def _id(task: Any) -> str:
    return str(task["id"] if isinstance(task, dict) else task)
