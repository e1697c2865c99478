"""The record of a study: its settings, and the commands that were run. It makes a data folder readable on its own.

`study.json` contains a checksum, as manifests do. Every `run` that has work to do, or whose settings differ, adds a
command. If the record is missing, a report from a config file creates it.
"""

import contextlib
import shlex
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import AfterValidator, Field, ValidationError
from typing_extensions import TypedDict

from rlottery.config import DEFAULT_ALGORITHM, Config, recorded_settings
from rlottery.config.yaml_lines import dotted
from rlottery.errors import StudyError
from rlottery.pruning.prune import Twins
from rlottery.storage.local_modules import local_folders
from rlottery.storage.locks import one_at_a_time, one_machine_at_a_time
from rlottery.storage.manifests import MANIFEST_FORMAT, DamagedError, checked, read_sealed, write_sealed
from rlottery.storage.own_code import OwnCode, is_own
from rlottery.storage.own_code import joined as join_code
from rlottery.storage.paths import Store
from rlottery.storage.stored_types import Count, LongText, Moment, Name, Seed, validated
from rlottery.storage.twins import twins_of_masks
from rlottery.version import __version__

MOST_COMMANDS = 1_000
"""How many of the latest commands a record keeps. A script may run thousands."""


class RecordedCommand(TypedDict):
    """A command that was run: when (seconds since 1970), its command line, and the version of rlottery."""

    when: Moment
    line: LongText
    version: Name
    seeds: list[Seed]


class RecordedClaim(TypedDict):
    """A contrast that the config registers: as its text, when it was first recorded, and how many runs had ended then.

    With `measure` and text, a claim is one of `Config.registered_contrasts`.
    """

    claim: LongText
    measure: Literal["score", "area"]
    when: Moment
    ended: Count


def _with_runs(config: dict[str, Any]) -> dict[str, Any]:
    """The settings, if it is clear which runs they ask for. Their other keys may be those of another version."""
    for task in validated(list[str | dict[str, Any]], config.get("tasks")):
        if isinstance(task, dict) and not isinstance(task.get("id"), str):
            raise ValueError("has a task without an id")
    validated(list[Seed], config.get("seeds"))
    return config


class StudyRecord(TypedDict):
    """The content of `study.json`.

    Attributes:
        config: the last command's settings, with the tasks and seeds of all commands.
        seeds_added: how many commands added seeds when there were results already.
        module_folders: where the last command imported modules of the user's own from.
        own_code: the part of the settings that runs code, as far as this user's commands have run it, signed.
        claims: the contrasts that were ever registered, in order; those of the last command are in `config`.
        twins: whether each twin critic has a budget of its own under `allocation: global` in all masks of the study.
            Versions without this key shared one.
    """

    format_version: int
    config: Annotated[dict[str, Any], AfterValidator(_with_runs)]
    commands: Annotated[list[RecordedCommand], Field(max_length=MOST_COMMANDS)]
    seeds_added: Count
    module_folders: NotRequired[list[LongText]]
    own_code: NotRequired[OwnCode]
    claims: NotRequired[list[RecordedClaim]]
    twins: NotRequired[Twins]


@contextlib.contextmanager
def one_command_at_a_time(store: Store) -> Iterator[None]:
    """While this lasts, no other command changes the study's record, or the config that it adds a seed to."""
    with one_at_a_time(store.record_lock), one_machine_at_a_time(store.record_lease):
        yield


def note_command(config: Config, *, has_work: bool, ran: OwnCode | None = None) -> None:
    """Add this process's command to the record, unless it has no work to do and doesn't change the settings.

    Args:
        ran: what of the config this command has run or is about to. It is signed, whether there is work or not.

    Raises StudyError if a later version of rlottery wrote the record, or if it is of a study that trains with another
    algorithm; and OSError if it can't be written.
    """
    store = Store(config.data)
    with one_command_at_a_time(store):  # the jobs of an array start at once
        try:
            known = _read(store)
        except (FileNotFoundError, DamagedError):
            known = None  # a new record is written: no run depends on it
        if known and (other := known["config"].get("algorithm", DEFAULT_ALGORITHM)) != config.algorithm:
            raise StudyError(
                f"The study in {config.data} trains with {other}, and this config with {config.algorithm}. "
                "A folder holds one study: use data=ANOTHER_FOLDER."
            )
        joined, added = _joined(known["config"] if known else None, config)
        own = own_code_in(known) if known else None
        signed = own if ran is None else join_code(own, ran)
        if known is not None and not has_work and joined == known["config"]:
            if signed is not None and signed != own:
                write_sealed(store.record, {**known, "own_code": signed})
            return
        line = shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])[:2_000]
        command = RecordedCommand(when=time.time(), line=line, version=__version__, seeds=list(config.seeds))
        # Before any run has ended, more seeds don't count as added.
        ended = sum(1 for _ in store.runs.glob("*/seed_*/*/manifest.json"))
        added = added and ended > 0
        record: StudyRecord = {
            "format_version": MANIFEST_FORMAT,
            "config": joined,
            "commands": [*(known["commands"] if known else []), command][-MOST_COMMANDS:],
            "seeds_added": (known["seeds_added"] if known else 0) + added,
            "module_folders": local_folders(),
            "twins": _twins(known, store),
        }
        if claims := _claims(known, config, command["when"], ended):
            record["claims"] = claims
        if signed is not None:
            record["own_code"] = signed
        write_sealed(store.record, record)


def twins_of(data: Path) -> Twins:
    """Whether each twin critic has a budget of its own under `allocation: global` in this study.

    A new study has separate budgets. One whose masks an earlier version made continues with the shared budget, so that
    all its masks are made alike. The record says so; if it doesn't, the masks do.
    """
    store = Store(data)
    try:
        return _twins(_read(store), store)
    except (FileNotFoundError, StudyError):
        return _twins(None, store)


def _twins(record: StudyRecord | None, store: Store) -> Twins:
    return twins_of_masks(store) if record is None or "twins" not in record else record["twins"]


def own_code_in(record: StudyRecord) -> OwnCode | None:
    """The part of a study that runs code and that this user's commands have run; None if they signed nothing."""
    code = record.get("own_code")
    return code if code is not None and is_own(code) else None


def read_study_record(data: Path) -> StudyRecord:
    """The record of the study in a data folder. Raises StudyError if the folder or its record is missing or damaged."""
    if not data.is_dir():
        raise StudyError(f"There is no study at {data}. Give a study's data folder or its config file.")
    store = Store(data)
    try:
        return _read(store)
    except FileNotFoundError:
        if not any(data.iterdir()):
            raise StudyError(f"{data} is empty. Give a study's data folder or its config file.") from None
        if not store.runs.is_dir():
            raise StudyError(f"{data} holds no study. Give a study's data folder or its config file.") from None
        raise StudyError(
            f"{data} has runs, but no {store.record.name} with the study's settings. A report from the study's config "
            f"file creates it: rlottery report CONFIG data={shlex.quote(str(data))}"
        ) from None


def config_from_record(record: StudyRecord, data: Path) -> Config:
    """The settings in a record, with `data` set to where the folder is now. Raises StudyError if they can't be read."""
    settings = {**record["config"], "data": str(data)}
    settings.pop("tracking", None)  # somebody else's record could send what is measured here anywhere
    if isinstance(pruning := settings.get("pruning"), dict):
        settings["pruning"] = {"controls": [], **pruning}  # versions without this key trained none
    try:
        return Config.model_validate(settings)
    except ValidationError as error:
        first = error.errors()[0]
        raise StudyError(
            f"The settings in {Store(data).record} can't be read by rlottery {__version__} "
            f"({dotted(first['loc'])}: {first['msg']}). Give the study's config file instead of the folder."
        ) from None


def _claims(known: StudyRecord | None, config: Config, now: float, ended: int) -> list[RecordedClaim]:
    """The claims on record, and those that the config registers now, when so many runs have ended."""
    claims = list(known.get("claims", [])) if known else []
    recorded = {(claim["claim"], claim["measure"]) for claim in claims}
    for contrast in config.registered_contrasts:
        if (str(contrast), contrast.measure) not in recorded:
            claims.append(RecordedClaim(claim=str(contrast), measure=contrast.measure, when=now, ended=ended))
    return claims


def _read(store: Store) -> StudyRecord:
    return checked(StudyRecord, read_sealed(store.record), store.record)


def _joined(known: dict[str, Any] | None, config: Config) -> tuple[dict[str, Any], bool]:
    """The settings with the known tasks and seeds added, and whether the config has seeds that were not known."""
    settings = recorded_settings(config)
    if known is None:
        return settings, False
    seeds = list(dict.fromkeys([*known.get("seeds", []), *settings["seeds"]]))
    tasks = [*known.get("tasks", []), *settings["tasks"]]
    by_id = {str(task["id"] if isinstance(task, dict) else task): task for task in tasks}
    return {**settings, "seeds": seeds, "tasks": list(by_id.values())}, len(seeds) > len(known.get("seeds", []))
