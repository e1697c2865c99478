"""The reference pages. They are generated from the code, so that the two can't disagree."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import typer
import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

import rlottery
from rlottery.cli import app
from rlottery.config.fields import Section, Sparsity
from rlottery.config.models import Config
from rlottery.config.recipe_keys import Allocation, Rewind, Transfer
from rlottery.config.recipes import ControlRecipe, SparseTrainingRecipe, TicketRecipe, TransferRecipe
from rlottery.config.schedules import PruningSchedule
from rlottery.config.updates import Updates

NO_SUCH_VALUE = "\N{SNOWMAN}"
"""No key accepts it, so the message about it says what is accepted."""
KINDS = {str: "text", Path: "a path", int: "a whole number", float: "a number", bool: "true or false"}
"""What to call values of keys that have no message of their own."""
VALUES = (Sparsity, Updates, Allocation, Rewind, PruningSchedule)
"""Sections that a config writes as one value."""
ARMS = {
    "A ticket": TicketRecipe,
    "Sparse training": SparseTrainingRecipe,
    "A control": ControlRecipe,
    "A transferred mask": TransferRecipe,
}


def command_line() -> str:
    """A section for each command: its usage, arguments and options."""
    group = typer.main.get_command(app)
    commands: dict[str, Any] = group.commands  # type: ignore[attr-defined]
    sections = [_command(name, command) for name, command in commands.items()]
    listed = "\n".join(
        f"- [`rlottery {name}`](#rlottery-{name}): {_plain(command.help).split(chr(10))[0]}"
        for name, command in commands.items()
    )
    codes = _plain(commands["run"].epilog).removeprefix("Exit codes: ")
    introduction = f"# Command line\n\nEvery command answers `--help`. Exit codes: {codes}\n"
    return "\n".join([introduction, listed + "\n", *sections])


def _command(name: str, command: Any) -> str:
    arguments = [one for one in command.params if not one.opts[0].startswith("-")]
    options = [one for one in command.params if one.opts[0].startswith("-")]
    usage = " ".join(["rlottery", name, *map(_placeholder, arguments), *(["[OPTIONS]"] if options else [])])
    parts = [f"## rlottery {name}\n", _plain(command.help) + "\n", f"```text\n{usage}\n```\n"]
    if arguments:
        parts.append(_table(("Argument", "Default", "Meaning"), map(_parameter, arguments)))
    if options:
        parts.append(_table(("Option", "Default", "Meaning"), map(_parameter, options)))
    return "\n".join(parts)


def _placeholder(argument: Any) -> str:
    name = (argument.metavar or argument.name.upper()) + ("..." if argument.nargs == -1 else "")
    name = name.replace(" ......", "...")
    return name if argument.required else f"[{name}]"


def _parameter(parameter: Any) -> tuple[str, str, str]:
    if parameter.opts[0].startswith("-"):
        names = ", ".join(f"`{name}`" for name in (*parameter.opts, *parameter.secondary_opts))
        name = names if parameter.is_flag or not parameter.metavar else f"{names} `{parameter.metavar}`"
    else:
        name = f"`{parameter.metavar or parameter.name.upper()}`"
    default = "" if parameter.default in (None, False) or parameter.required else f"`{parameter.default}`"
    return name, default, _plain(parameter.help or "")


def _plain(text: str) -> str:
    """Help as Markdown: without Rich's markup, with links to pages, one line for each paragraph."""
    text = re.sub(r"\[/?(?:bold)?\]", "", text).replace("<", "&lt;")
    text = re.sub(r"docs/([a-z-]+)\.md", r"[\1](../\1.md)", text)
    return "\n\n".join(" ".join(part.split()) for part in re.split(r"\n\s*\n", text.strip()))


def config_keys() -> str:
    """A table for the keys of a study, one for each of their sections, and one for each kind of arm."""
    parts = [
        "# Config keys\n",
        "A study is one YAML file. Only `tasks` and `seeds` must be given. "
        "[The file with every key](../../config.yaml) has them all with comments. "
        "`rlottery run sac.batch_size=128` overrides one for a single command.\n",
        "## The study\n",
        _keys(Config),
    ]
    for name, section in _sections(Config):
        parts += [f"## {name}\n", _summary(section) + "\n", _keys(section)]
    parts.append(
        "## arms\n\nThe entries of `arms` are of four kinds. [Arms and controls](../arms.md) explains them, and "
        "`rlottery arms` lists the criteria, schedules and controls.\n"
    )
    for title, recipe in ARMS.items():
        parts += [f"### {title}\n", _summary(recipe) + "\n", _keys(recipe)]
    parts += ["### transfer\n", _summary(Transfer) + "\n", _keys(Transfer)]
    return "\n".join(parts)


def _summary(section: type[Section]) -> str:
    return " ".join((section.__doc__ or "").split("\n\n")[0].split())


def _sections(section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    """Name and class of every section below one, in the order of the keys; each class once."""
    found = {name: inner for name, field in section.model_fields.items() if (inner := _section_of(field))}
    for name, inner in found.items():
        yield name, inner
        yield from ((deeper, below) for deeper, below in _sections(inner) if below not in found.values())


def _section_of(field: FieldInfo) -> type[Section] | None:
    """The section that a key has, directly or as the entries of a list; None for keys with values."""
    found = [one for one in _classes(field.annotation) if issubclass(one, Section) and one not in VALUES]
    return found[0] if len(found) == 1 else None


def _classes(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not get_args(annotation):
        yield annotation
    for inner in get_args(annotation):
        yield from _classes(inner)


def _keys(section: type[Section]) -> str:
    rows = [
        (f"`{name}`", _values(name, field), _default(field), field.description or "")
        for name, field in section.model_fields.items()
    ]
    return _table(("Key", "Values", "Default", "Meaning"), rows)


def _values(name: str, field: FieldInfo) -> str:
    """What a key accepts."""
    if name == "arms":
        return "a list of [arms](#arms)"
    if get_origin(field.annotation) is dict:
        return "names with values"
    entry = "a list; each entry " if get_origin(field.annotation) is tuple else ""
    said = _accepted(field) or entry + " or ".join(KINDS[one] for one in _classes(field.annotation) if one in KINDS)
    if not _section_of(field):
        return said
    keys = f"the keys of [`{name}`](#{name})"
    return f"{said}, or {keys}" if _accepted(field) else (entry and "a list; each entry has ") + keys


def _accepted(field: FieldInfo) -> str | None:
    """The values that a key accepts, in the words of the message that refuses another; None if there are none."""
    annotation = Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation
    for wrong, words in ((NO_SUCH_VALUE, ""), ([NO_SUCH_VALUE], "a list; each entry ")):
        try:
            TypeAdapter(annotation).validate_python(wrong)
        except ValidationError as error:
            for problem in error.errors(include_url=False):
                if found := re.match(r"must be (.*?),? not ", problem["msg"]):
                    return found[1] if found[1] == "text" else words + found[1]
    return None


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "must be given"
    value = field.get_default(call_default_factory=True)
    if value is None or (isinstance(value, Section) and _section_of(field)):
        return ""
    shown = TypeAdapter(Any).dump_python(value, mode="json")
    text = yaml.safe_dump(shown, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return "" if text == "null" else f"`{text}`"


def _table(header: tuple[str, ...], rows: Any) -> str:
    """A Markdown table without the columns that are empty."""
    lines = [tuple(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    kept = [index for index in range(len(header)) if any(row[index] for row in lines)]
    shown = [[row[index] for index in kept] for row in (header, ("---",) * len(header), *lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in shown) + "\n"


def python_api() -> str:
    """The public names of the package, for mkdocstrings to fill in."""
    names = [name for name in rlottery.__all__ if not name.startswith("__")]
    functions = [name for name in names if not name[0].isupper()]
    objects = [f"::: rlottery.{name}\n" for name in [*functions, *(name for name in names if name[0].isupper())]]
    return "\n".join(
        [
            "# Python API\n",
            "These are the names that `import rlottery` gives. They are imported at first use. Everything else in the "
            "package can change between versions.\n",
            *objects,
        ]
    )
