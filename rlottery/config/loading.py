"""Loading settings: from YAML with overrides, with the file, line and key of every fault."""

import importlib.resources
import json
import re
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from rlottery.config.fields import Section
from rlottery.config.groups import ALGORITHMS, DEFAULT_ALGORITHM
from rlottery.config.models import Config, config_to_dict
from rlottery.config.recipes import KEYS, PrunedRecipe
from rlottery.config.tracking import Tracking
from rlottery.config.training import unread_keys
from rlottery.config.yaml_lines import Document, KeyPath, dotted, read_document, show
from rlottery.errors import ConfigError, MaskError, or_closest

Settings = TypeVar("Settings", bound=BaseModel)
_SEEDS_SPELT_OUT = 20
"""Up to so many seeds, a message writes out the list."""
_LISTS = ("tasks", "arms", "contrasts")
"""Keys whose entries have keys: no place for one that has no entry."""
_LONGEST_EXAMPLE = 200
"""The longest value that a message repeats."""


def load_config(path: str | Path, overrides: Sequence[str] = (), *, runs_code: bool = False) -> Config:
    """Read a study's YAML file and apply `overrides`, each in the form `key.path=value` with a YAML value.

    Args:
        runs_code: whether to import the config's own criteria (``module:function``), and to check the arms that use
            them against what they read. Without it, nothing that a config says is imported.

    Raises:
        ConfigError: the message has one line per fault: file and line (or the override), key, what is wrong, and what
            is allowed.
    """
    document = read_document(Path(path))
    for override in overrides:
        document.override(override)
    _leave_out_other_algorithms(document)
    config = _checked(document, Config)
    if runs_code and (own := own_criteria(config)):
        for place, name in own.items():
            try:
                _import_criterion(name)
            except MaskError as error:
                document.fault(place, str(error))
        config = _checked(document, Config)
    return config


def _leave_out_other_algorithms(document: Document) -> None:
    """Leave out what the file says about other algorithms if the command line chooses the algorithm.

    These are their sections and networks, and for an algorithm that learns from rollouts the keys of training that are
    for replay.
    """
    chosen = document.value.get("algorithm")
    if document.origin(("algorithm",)).override is None or chosen not in ALGORITHMS:
        return
    tasks = document.value.get("tasks")
    places: list[tuple[KeyPath, Any]] = [((), document.value)]
    places += [(("tasks", index), task) for index, task in enumerate(tasks if isinstance(tasks, list) else ())]
    for place, section in places:
        for key in unread_keys(chosen):
            path, holder = (*place, *key), section
            for part in key[:-1]:
                holder = holder.get(part) if isinstance(holder, dict) else None
            asked_for = any(o.override is not None for at, o in document.origins.items() if at[: len(path)] == path)
            if isinstance(holder, dict) and not asked_for:
                holder.pop(key[-1], None)


def load_settings(path: Path, model: type[Settings], example: str) -> Settings:
    """Read a YAML file with other settings than a study's; `example` says where to find one. Raises ConfigError."""
    return _checked(read_document(path, example), model)


def settings_from(overrides: Sequence[str], model: type[Settings]) -> Settings:
    """Settings from the command line alone, each in the form `key.path=value`. Raises ConfigError."""
    document = Document("command line", {}, {})
    for override in overrides:
        document.override(override)
    return _checked(document, model)


class _TrackingAlone(Section):
    """What the command line can say about the study in a data folder."""

    tracking: Tracking = Tracking()


def load_tracking(overrides: Sequence[str]) -> Tracking:
    """The trackers that overrides such as ``tracking.wandb.project=x`` choose. Raises ConfigError."""
    return settings_from(overrides, _TrackingAlone).tracking


def own_criteria(config: Config) -> dict[KeyPath, str]:
    """The import paths of the config's own criteria, by the place of their keys."""
    recipes = enumerate(config.arms)
    own = {index: recipe.own_criterion for index, recipe in recipes if isinstance(recipe, PrunedRecipe)}
    return {("arms", index, "criterion"): name for index, name in own.items() if name is not None}


def import_criteria(config: Config) -> None:
    """Import the config's own criteria, unless they are, and check the arms that use them. Raises ConfigError."""
    own = own_criteria(config)
    if not own:
        return
    from rlottery.pruning.criteria import known_criterion  # here, so that `import rlottery.config` needs no NumPy

    try:
        missing = [name for name in own.values() if known_criterion(name) is None]
        for name in missing:
            _import_criterion(name)
        if missing:
            Config.model_validate(config_to_dict(config))
    except MaskError as error:
        raise ConfigError(str(error)) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"{dotted(first['loc'])}: {first['msg']}") from None


def _import_criterion(name: str) -> None:
    from rlottery.pruning.criteria import find_criterion  # as above

    try:
        find_criterion(name)
    except MaskError as error:
        raise MaskError(" ".join(str(error).split())) from None  # one in the user's module may have several lines


def _checked(document: Document, model: type[Settings]) -> Settings:
    """The settings in a document. Raises ConfigError if it has faults."""
    config = None
    try:
        config = model.model_validate(document.value)
    except ValidationError as error:
        for details in error.errors(include_url=False):
            place = _place(details, document)
            hint = _quotes(details, place, document) or _in_brackets(details, place, document, model)
            document.fault(place, _problem(details, model, document.value.get("algorithm", DEFAULT_ALGORITHM)) + hint)
    if config is None or document.faults:
        raise ConfigError(document.message())
    return config


def default_config_text() -> str:
    """The commented YAML of the default study."""
    return (importlib.resources.files("rlottery.config") / "default_config.yaml").read_text(encoding="utf-8")


def _place(details: ErrorDetails, document: Document) -> KeyPath:
    """The key at fault. If several keys disagree, the one from the command line."""
    places: list[KeyPath] = details.get("ctx", {}).get("places", [details["loc"]])
    return next((place for place in places if document.origin(place).override is not None), places[0])


def _problem(details: ErrorDetails, model: type[BaseModel], algorithm: object) -> str:
    """What is wrong, in words. Keys that this algorithm doesn't read are not suggested."""
    value = show(details["input"])
    match details["type"]:
        case "extra_forbidden":
            return _unknown_key(details["loc"], model, algorithm)
        case "missing":
            return "missing; it has no default"
        case "model_type" | "dict_type":
            return f"must be a mapping of keys, not {value}"
        case "tuple_type":
            return f"must be a list, not {value}"
    return details["msg"]


def _quotes(details: ErrorDetails, place: KeyPath, document: Document) -> str:
    """How to write a value that is text, but that YAML reads as something else."""
    written = document.unquoted.get(place)
    if details.get("ctx", {}).get("wants") != "text" or written is None:
        return ""
    quoted = f'"{written}"' if isinstance(place[-1], int) else f'{place[-1]}: "{written}"'
    if document.origin(place).override == place:
        quoted = f"{dotted(place)}='\"{written}\"'"
    return f"; put it in quotes: {quoted}"


def _in_brackets(details: ErrorDetails, place: KeyPath, document: Document, model: type[BaseModel]) -> str:
    """How to write the list that one value should be; "" if the value isn't an item of such a list."""
    value = details["input"]
    if details["type"] != "tuple_type" or isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""

    def written(items: str) -> str:
        if document.origin(place).override is not None:
            return f"{dotted(place)}={shlex.quote(f'[{items}]')}"
        return f"{place[-1]}: [{items}]"

    if place == ("arms",):
        return f", such as {written('{criterion: magnitude, sparsity: 0.8}')}"
    text = " ".join(document.unquoted.get(place, str(value)).splitlines()).strip()
    quoted = json.dumps(text, ensure_ascii=False)
    takes = partial(_takes, model, document, place)
    items = next((items for items in (text, quoted) if text and len(text) <= _LONGEST_EXAMPLE and takes(items)), None)
    if place == ("seeds",):
        if items is None:
            return f", such as {written('0, 1, 2, 3, 4')}"
        if re.fullmatch("[1-9][0-9_]*", items):
            count = int(items)
            number = "1 seed" if count == 1 else f"{count} seeds"
            out = count <= _SEEDS_SPELT_OUT
            seeds = ", ".join(map(str, range(count))) if out else "0, 1, 2, ..."
            how = "; write" if out else ", such as"
            return f"{how} {written(seeds)} for {number}, or {written(items)} for seed {count}"
    return "" if items is None else f"; write {written(items)}"


def _takes(model: type[BaseModel], document: Document, place: KeyPath, items: str) -> bool:
    """Whether a list with these items, as YAML, has no fault at that place."""
    alone = Document("", {}, {})
    alone.override(f"items=[{items}]")
    if alone.faults:
        return False
    value: Any = alone.value["items"]
    for part in reversed(place):
        value = [value] if isinstance(part, int) else {part: value}
    others = {key: other for key, other in document.value.items() if not isinstance(other, dict | list)}
    try:
        model.model_validate(others | value)
    except ValidationError as error:
        here = tuple(0 if isinstance(part, int) else part for part in place)
        return all(details["loc"][: len(here)] != here for details in error.errors(include_url=False))
    return True


def _unknown_key(path: KeyPath, model: type[BaseModel], algorithm: object) -> str:
    fields = dict(model.model_fields)
    for part in path[:-1]:
        if isinstance(part, str):
            fields = _fields_of(fields[part].annotation)
    key = str(path[-1])
    unread = {path[-1] for path in unread_keys(algorithm)} if algorithm in ALGORITHMS else set[str]()
    here = [name for name in KEYS if name in fields] if fields.keys() == set(KEYS) else list(fields)
    here = [name for name in here if name not in unread]
    others = [name for name in model.model_fields if name not in (*ALGORITHMS, *_LISTS)]
    elsewhere = [
        name
        for name in (algorithm, *others)
        if isinstance(name, str) and name in model.model_fields and path[0] not in ("arms", name)
        if key in set(_fields_of(model.model_fields[name].annotation)) - unread
    ]
    hint = or_closest(key, here)
    # An exact key of the algorithm's section is preferred over a similar one here.
    if elsewhere and (elsewhere[0] == algorithm or not hint):
        hint = f"; did you mean '{dotted((elsewhere[0], key))}'?"
    if hint:
        return f"unknown key{hint}"
    if "." in key:
        return "unknown key; in a file keys are nested, not joined by dots"
    return f"unknown key; the keys here are {', '.join(here)}"


def _fields_of(annotation: Any) -> dict[str, FieldInfo]:
    """The fields of all models inside an annotation such as `tuple[Task, ...]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation.model_fields
    return {name: field for inside in get_args(annotation) for name, field in _fields_of(inside).items()}
