"""What of a study runs code of other people: its tasks, its own criteria, and the folders of their modules.

A study's record has the part that this user's own commands have run, with a signature (`rlottery.storage.signing`).
"""

import json
from collections.abc import Sequence
from typing import Any

from typing_extensions import TypedDict

from rlottery.config import Config, Task, own_criteria
from rlottery.storage.local_modules import folders_of
from rlottery.storage.signing import is_signed, signature
from rlottery.storage.stored_types import LongText, Name


class TaskCode(TypedDict):
    """A task as it is made: its id may name a module, and its arguments may name files."""

    id: Name
    kwargs: dict[str, Any]


class OwnCode(TypedDict):
    """The part of a study that runs code, as far as this user has run it.

    Attributes:
        criteria: import paths.
        module_folders: where the last command found the modules of tasks and criteria.
        signature: of the rest, with the user's key.
    """

    tasks: list[TaskCode]
    criteria: list[Name]
    module_folders: list[LongText]
    signature: Name


def code_of_task(task: Task) -> TaskCode:
    """What of a task runs code."""
    return {"id": task.id, "kwargs": json.loads(json.dumps(task.kwargs))}


def code_of(config: Config, modules: Sequence[str] = ()) -> OwnCode:
    """What of a config runs code, not signed yet.

    Args:
        modules: of the user's own, besides those that the config names: what they import.
    """
    criteria = sorted(set(own_criteria(config).values()))
    named = [name.rpartition(":")[0] for name in (*(task.id for task in config.tasks), *criteria)]
    folders = folders_of(name for name in (*named, *modules) if name)
    return {
        "tasks": [code_of_task(task) for task in config.tasks],
        "criteria": criteria,
        "module_folders": folders,
        "signature": "",
    }


def joined(known: OwnCode | None, more: OwnCode) -> OwnCode:
    """What either of them has, signed; the module folders are those of the second. Without a key it isn't signed."""
    tasks = [*(known["tasks"] if known else []), *more["tasks"]]
    found: OwnCode = {
        "tasks": [task for index, task in enumerate(tasks) if task not in tasks[:index]],
        "criteria": sorted({*(known["criteria"] if known else []), *more["criteria"]}),
        "module_folders": more["module_folders"],
        "signature": "",
    }
    return {**found, "signature": signature(_content(found)) or ""}


def is_own(code: OwnCode) -> bool:
    """Whether this user's commands signed it."""
    return bool(code["signature"]) and is_signed(_content(code), code["signature"])


def _content(code: OwnCode) -> dict[str, Any]:
    return {"rlottery": "code that was run", **{key: value for key, value in code.items() if key != "signature"}}
