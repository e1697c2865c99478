"""YAML with the origin of every key, so that errors can name file and line.

The grammar is that of PyYAML's safe loader without anchors, aliases and tags, with which a small file could expand
endlessly or build objects. Numbers follow YAML 1.2: `3e-4` is a number, and `010` and `1:30` are not read in base 8
or 60.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rlottery.errors import ConfigError
from rlottery.safety.file_kind import file_kind
from rlottery.safety.printable import on_one_line
from rlottery.safety.regular_files import FileSizeError, read_bytes

KeyPath = tuple[str | int, ...]
"""The place of a value: `("tasks", 0, "id")`."""

_MAX_DEPTH = 32
_MAX_NODES = 20_000
_MAX_FAULTS = 50
_MAX_BYTES = 2**20
_TAG = "tag:yaml.org,2002:"


class Origin(NamedTuple):
    """The origin of a value: a line of the file, or an override and the key that it sets.

    `line` sorts the origins. Overrides come after all lines that a file can have.
    """

    where: str
    line: int
    override: KeyPath | None = None


@dataclass
class Document:
    """A mapping read from YAML, with the origin of each key and the faults found so far.

    Attributes:
        unquoted: what was written for values that YAML read as a number, true, false or null.
    """

    source: str
    value: dict[str, Any]
    origins: dict[KeyPath, Origin]
    unquoted: dict[KeyPath, str] = field(default_factory=dict)
    faults: list[tuple[Origin, KeyPath, str]] = field(default_factory=list)
    overrides: int = 0

    def origin(self, path: KeyPath) -> Origin:
        """The origin of the innermost given key on the way to `path`, or of the whole file if there is none."""
        for end in range(len(path), 0, -1):
            if (found := self.origins.get(path[:end])) is not None:
                return found
        return Origin(self.source, 0)

    def fault(self, path: KeyPath, problem: str, origin: Origin | None = None) -> None:
        """Record an error at `path`."""
        self.faults.append((origin or self.origin(path), path, problem))

    def message(self) -> str:
        """One line per fault in the order of the file, followed by those of the command line."""
        # Tasks that share a setting find the same fault in it, which is listed once.
        ordered = sorted(dict.fromkeys(self.faults), key=lambda fault: fault[0].line)
        lines = [
            f"{origin.where}: {problem}"
            if path == (origin.override or ())
            else f"{origin.where}: {dotted(path)}: {problem}"
            for origin, path, problem in ordered[:_MAX_FAULTS]
        ]
        if hidden := len(ordered) - len(lines):
            lines.append(f"and {hidden} more faults")
        return "\n".join(lines)

    def override(self, assignment: str) -> None:
        """Override a value by `key.path=value`. If it can't be read, a fault is recorded."""
        self.overrides += 1
        key, equals, text = assignment.partition("=")
        path: KeyPath = tuple(part.strip() for part in key.split("."))
        origin = Origin(f"command line: {on_one_line(_cut(assignment))}", _MAX_BYTES + self.overrides, path)
        if not equals or not all(path):
            self.fault(path, "expected key.path=value, such as sac.batch_size=128", origin)
            return
        try:
            parsed = _parse(text)
        except _InvalidYamlError as error:
            self.fault(path, f"the value is not valid YAML: {error}", origin)
            return
        at = self.value
        for depth, part in enumerate(path[:-1], start=1):
            if isinstance(at.get(str(part)), list):
                whole = dotted(path[:depth])
                self.fault(path, f"{whole} is a list; give the whole list, as {whole}=[...]", origin)
                return
            if not isinstance(at.get(str(part)), dict):
                at[str(part)] = {}
                self.origins[path[:depth]] = origin
            at = at[str(part)]
        at[str(path[-1])] = parsed.value
        for known in [known for known in (*self.origins, *self.unquoted) if known[: len(path)] == path]:
            self.origins.pop(known, None)
            self.unquoted.pop(known, None)
        self.origins |= {path + below: origin for below in [(), *parsed.lines]}
        self.unquoted |= {path + below: written for below, written in parsed.unquoted.items()}
        for below, _, problem in parsed.faults:
            self.fault(path + below, problem, origin)


def read_document(path: Path, example: str = "`rlottery init` writes a commented one") -> Document:
    """Read a YAML file whose top level is a mapping. Faults in single keys are recorded in the document.

    Args:
        example: where to find such a file, for messages.

    Raises:
        ConfigError: the file can't be read, or isn't YAML.
    """
    try:
        if path.is_dir():
            raise ConfigError(f"{path}: this is a folder; give the path of a config file")
        content = read_bytes(path, _MAX_BYTES)
    except FileNotFoundError:
        raise ConfigError(f"{path}: there is no such file; {example}") from None
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}") from None
    except FileSizeError:
        raise ConfigError(f"{path}: larger than 1 MiB, so it isn't a config file") from None
    except ValueError as error:  # a null character in the path
        raise ConfigError(f"{path}: can't be read: {error}") from None
    try:
        value, lines, faults, unquoted = _parse(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        if (kind := file_kind(content)) not in (None, "a text file"):
            raise ConfigError(f"{path}: this is {kind}, not a YAML file; {example}") from None
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{path}:{line}: this is not UTF-8 text; save the file as UTF-8") from None
    except _InvalidYamlError as error:
        raise ConfigError(f"{path}:{error.line}:{error.column}: not valid YAML: {error}") from None
    if value is None:
        raise ConfigError(f"{path}: it has no keys; {example}")
    if not isinstance(value, dict):
        what = f"not {show(value)}" if path.suffix in (".yaml", ".yml") else f"so this isn't a config file; {example}"
        raise ConfigError(f"{path}: the top level must be a mapping of keys to values, {what}")
    origins = {key: Origin(f"{path}:{line}", line) for key, line in lines.items()}
    document = Document(str(path), value, origins, unquoted)
    for key, line, problem in faults:
        document.fault(key, problem, Origin(f"{path}:{line}", line))
    return document


def dotted(path: Iterable[str | int]) -> str:
    """The path in the form `sac.batch_size`, safe for a terminal."""
    return ".".join(on_one_line(_cut(str(part))) for part in path)


def is_number(text: str) -> bool:
    """Whether a text would be read as a number if it had no quotes."""
    return re.fullmatch(f"{_INT}|{_FLOAT}", text) is not None


def show(value: object) -> str:
    """A short text by which the author of a value recognises it."""
    if value is None:
        return "empty (null)"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list" if value else "an empty list"
    if type(value) is float:
        return str(value).removesuffix(".0")
    return repr(_cut(value)) if isinstance(value, str) else _cut(str(value))


def show_keys(value: object) -> str:
    """`show`, but with the keys of a mapping."""
    if isinstance(value, dict) and 0 < len(value) < 9 and all(isinstance(key, str) for key in value):
        shown = (
            f"{key}: {'...' if isinstance(inner, dict | list | tuple) else show(inner)}" for key, inner in value.items()
        )
        return _cut(f"{{{', '.join(shown)}}}")
    return show(value)


def _cut(text: str, width: int = 80) -> str:
    return text if len(text) <= width else text[: width - 3] + "..."


class _InvalidYamlError(ValueError):
    """Text that isn't valid in the restricted grammar; line and column count from 1."""

    def __init__(self, problem: str, line: int, column: int) -> None:
        super().__init__(problem)
        self.line = line
        self.column = column


class _Composer(yaml.SafeLoader):
    """Composes nodes, and refuses what the restricted grammar excludes before it costs anything."""

    # PyYAML's own table reads dates, base 60 and `<<`, so it must not be inherited.
    yaml_implicit_resolvers = {}  # noqa: RUF012

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.depth = 0
        self.nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.depth += 1
        self.nodes += 1
        refusals = {
            "anchors and aliases (& and *) are not supported; write the value out": getattr(event, "anchor", None),
            "tags (!) are not supported; leave the tag out": getattr(event, "tag", None),
            f"nested more than {_MAX_DEPTH} levels deep": self.depth > _MAX_DEPTH,
            f"more than {_MAX_NODES} values": self.nodes > _MAX_NODES,
        }
        for problem, refused in refusals.items():
            if refused:
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


# Twenty digits are enough for any key, and too few for a slow or unprintable integer.
_INT = r"[-+]?(?:0|[1-9][0-9_]{0,20})"
_FLOAT = r"[-+]?(?:[0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?"

for _name, _pattern, _first in [
    ("null", r"~|null|Null|NULL|", ["~", "n", "N", ""]),
    ("bool", r"yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF", "yYnNtTfFoO"),
    ("int", _INT, "-+0123456789"),
    ("float", _FLOAT, "-+.0123456789"),
    ("float", r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", "-+."),
]:
    _Composer.add_implicit_resolver(_TAG + _name, re.compile(f"(?:{_pattern})\\Z"), list(_first))


class _Parsed(NamedTuple):
    value: Any
    lines: dict[KeyPath, int]
    faults: list[tuple[KeyPath, int, str]]
    unquoted: dict[KeyPath, str]


def _parse(text: str) -> _Parsed:
    """Plain values, the line of each key and list item, the faults in single keys, and what was written for scalars."""
    try:
        loader = _Composer(text)
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        problem = f"the character {text[error.position]!a} is not allowed"
        column = error.position - before.rfind("\n")
        raise _InvalidYamlError(problem, before.count("\n") + 1, column) from None
    try:
        node = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        problem = ": ".join(part for part in (error.context, error.problem) if part)
        if "'\\t'" in problem:
            problem += " (a tab: indent with spaces)"
        raise _InvalidYamlError(problem, mark.line + 1, mark.column + 1) from None
    except (ValueError, OverflowError):
        # PyYAML converts the digits of escapes and %YAML directives without checking their range.
        raise _InvalidYamlError("a number out of range", loader.line + 1, loader.column + 1) from None
    parsed = _Parsed(None, {}, [], {})
    return parsed if node is None else parsed._replace(value=_plain(node, (), parsed))


def _plain(node: yaml.Node, path: KeyPath, parsed: _Parsed) -> Any:
    if isinstance(node, yaml.SequenceNode):
        items = []
        for index, item in enumerate(node.value):
            parsed.lines[(*path, index)] = item.start_mark.line + 1
            items.append(_plain(item, (*path, index), parsed))
        return items
    if isinstance(node, yaml.MappingNode):
        mapping: dict[str, Any] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            here = (*path, key.value if isinstance(key, yaml.ScalarNode) else "?")
            if not isinstance(key, yaml.ScalarNode):
                parsed.faults.append((here, line, "a key must be plain text, not a list or a mapping"))
            elif key.tag != f"{_TAG}str":  # it would silently become text, which an environment doesn't expect
                parsed.faults.append((here, line, f"a key must be text; put it in quotes: {str(key.value)!r}"))
            elif key.value in mapping:
                twice = f"given twice, on lines {parsed.lines[here]} and {line}; keep one"
                parsed.faults.append((here, line, twice))
            else:
                parsed.lines[here] = line
                mapping[key.value] = _plain(value, here, parsed)
        return mapping
    kind, text = node.tag.removeprefix(_TAG), str(node.value)
    if kind != "str" and text:
        parsed.unquoted[path] = text
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() in ("yes", "true", "on")
    if kind == "int":
        return int(text.replace("_", ""))
    if kind == "float":
        return float(re.sub(r"\.(?=[inIN])", "", text))
    return text
