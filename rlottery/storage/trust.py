"""Whose study it is: what may run code only if the user's own commands ran it, or if the user says so with ``--trust``.

A study is the user's own as far as its record is signed (`rlottery.storage.own_code`). Reading runs nothing; this is
for what can't be done without: making environments to film agents, and scoring weights again.
"""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

from rlottery.config import Config, Task, own_criteria
from rlottery.config.yaml_lines import show
from rlottery.errors import StudyError
from rlottery.storage.local_modules import allow_local_modules
from rlottery.storage.own_code import OwnCode, TaskCode, code_of, code_of_task
from rlottery.storage.paths import Store, data_folder_of
from rlottery.storage.study_record import StudyRecord, own_code_in, read_study_record

MOST_SHOWN = 1_000
"""Characters of a task's arguments that a message shows."""

_ran: dict[Path, OwnCode] = {}
"""What this process itself has run of each data folder, in case that no key can be made to sign it with."""


class UntrustedError(StudyError):
    """Something can't be done without running code that a study of somebody else names."""


def note_run(config: Config, modules: Sequence[str] = ()) -> OwnCode:
    """Note that this process runs the config's tasks and criteria. Returns what of it runs code."""
    _ran[config.data.resolve()] = code = code_of(config, modules)
    return code


def allow_code(data: Path, tasks: Iterable[Task], criteria: Iterable[str] = (), *, trust: bool, what: str) -> None:
    """Let modules of a study be imported, if its code may be run: it is the user's own, or `trust`.

    Args:
        data: the study's data folder.
        tasks, criteria: what would be run.
        trust: whether the user trusts it, whoever made it.
        what: what they are run for, at the start of the message.

    Raises:
        UntrustedError: the user's commands have not run some of them, and not `trust`.
    """
    record = _record(data)
    own = [code for code in (_ran.get(data.resolve()), own_code_in(record) if record else None) if code is not None]
    known_tasks = {_key(task) for code in own for task in code["tasks"]}
    known_criteria = {name for code in own for name in code["criteria"]}
    foreign = [_text(code) for code in map(code_of_task, tasks) if _key(code) not in known_tasks]
    foreign += [f"the criterion {show(name)}" for name in criteria if name not in known_criteria]
    if foreign and not trust:
        named = "; ".join(dict.fromkeys(foreign))
        raise UntrustedError(
            f"{what} would run code that {data} names and that no command of yours has run: {named}. "
            "If you trust whoever made it, add --trust (in Python: trust=True). If the study is your own, "
            "`rlottery run CONFIG` with its config marks it so."
        )
    if not foreign:
        folders = [folder for code in own for folder in code["module_folders"]]
    else:
        folders = record.get("module_folders", []) if record else []
    allow_local_modules(path for path in map(Path, folders) if path.is_absolute() and path.is_dir())


def allow_code_of_run(folder: Path, task: Task, *, trust: bool, what: str) -> None:
    """`allow_code` for the task of one run, whose folder is in the data folder of its study."""
    allow_code(data_folder_of(folder), [task], trust=trust, what=what)


def allow_code_of_study(config: Config, *, trust: bool, what: str) -> None:
    """`allow_code` for all tasks and criteria of a config."""
    allow_code(config.data, config.tasks, own_criteria(config).values(), trust=trust, what=what)


def _record(data: Path) -> StudyRecord | None:
    try:
        return read_study_record(data) if Store(data).record.exists() else None
    except (StudyError, OSError):
        return None


def _key(code: TaskCode) -> str:
    return json.dumps(code, sort_keys=True)  # unlike for Python, 1, 1.0 and true differ


def _text(code: TaskCode) -> str:
    module, colon, _ = code["id"].rpartition(":")
    imports = f", which imports {show(module)}" if colon else ""
    arguments = f", with the arguments {_shortened(json.dumps(code['kwargs']))}" if code["kwargs"] else ""
    return f"the task {show(code['id'])}{imports}{arguments}"


def _shortened(text: str) -> str:
    return (text if len(text) <= MOST_SHOWN else f"{text[:MOST_SHOWN]} ...").replace("\x7f", "\\x7f")
