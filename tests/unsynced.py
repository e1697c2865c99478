"""A file layer that withholds what was not synced: every state in which a power cut may leave a folder.

While code writes to a folder, a `Layer` follows it: which names and contents are visible, and which of them a file
system has to keep, because the file or the folder was synced. It needs no privileges and no other file system. Python's
audit hook reports each operation, and the folder is looked at before each of them.

What may be left is defined by four models of a file system:

- strict: contents as of each file's last sync, and names as of their folder's last sync. POSIX promises no more.
- journal: all names as they are, and of what was not synced in a file nothing, half of it, or zeros.
- prefix: names as they were at any moment since the last sync, and all contents.
- single: as strict, but one name that was not synced has survived; or all of them have except for one.
"""

import builtins
import io
import os
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

MODELS = ("strict", "journal", "prefix", "single")
OPERATIONS = {"open": 3, "os.rename": 2, "os.remove": 1, "os.mkdir": 2, "os.rmdir": 1, "os.link": 2}
"""Events of Python's audit hook, and how many arguments come before descriptors of folders that paths start from."""
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC

Names = dict[int, dict[str, int]]
"""Folder -> the file or folder of each name. Files and folders are numbered in the order in which they were first seen,
because an inode's number is used again. The folder that is followed has number 0."""
State = dict[str, bytes | None]
"""The content of each file by its path, and None for a folder."""


class Moment(NamedTuple):
    """What is visible just before an operation, and what would survive.

    Attributes:
        operation: the operation in words.
        names, contents: what is visible.
        synced_names, synced_contents: what was synced.
        folders: all that there have been until now.
        syncs: how often something was synced before.
        claim: what the code claims to have finished here, or "".
    """

    operation: str
    names: Names
    contents: dict[int, bytes]
    synced_names: Names
    synced_contents: dict[int, bytes]
    folders: frozenset[int]
    syncs: int
    claim: str


@dataclass
class Layer:
    """Follows a folder within a `with` block, in the thread that entered it.

    Attributes:
        fail: called before each operation, sync and write with its description; it may raise an OSError.
        moments: what was seen.
    """

    root: Path
    fail: Callable[[str], None] = lambda operation: None
    records: bool = True
    moments: list[Moment] = field(default_factory=list)

    def __enter__(self) -> "Layer":
        self._thread, self._busy, self._syncs, self._next = threading.get_ident(), False, 0, 1
        self._numbers: dict[int, int] = {self.root.stat().st_ino: 0}
        self._folders: frozenset[int] = frozenset()
        self._kept: dict[int, tuple[tuple[int, ...], bytes]] = {}
        self._synced_names: Names = {}
        self._synced_contents: dict[int, bytes] = {}
        if self.records:
            names, contents = self._look()
            self._synced_names, self._synced_contents = names, contents  # all that was there before
        self._originals = (os.fsync, builtins.open, io.open)
        os.fsync = os.fdatasync = self._sync
        if not self.records:
            builtins.open = io.open = self._open  # type: ignore[assignment]
        _active.append(self)
        if not _installed:
            sys.addaudithook(_hear)
            _installed.append(True)
        return self

    def __exit__(self, *exception: object) -> None:
        _active.remove(self)
        os.fsync, builtins.open, io.open = self._originals  # type: ignore[assignment]
        os.fdatasync = os.fsync
        self._note("the end")

    def claim(self, what: str) -> None:
        """Note that the code claims to have finished something, which therefore has to be durable now."""
        self._note("nothing", claim=what)

    def heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Handle an event of Python's audit hook."""
        if event not in OPERATIONS or self._busy or threading.get_ident() != self._thread:
            return
        if event == "open" and not (isinstance(arguments[2], int) and arguments[2] & _WRITES):
            return
        places = [_text(place) for place in arguments[:2] if isinstance(place, str | bytes | os.PathLike)]
        places += [str(self.root / self._path_of(number)) for number in arguments[OPERATIONS[event] :] if number >= 0]
        if not any(place.startswith(f"{self.root}/") for place in places):
            return
        self._before(f"{event} {' '.join(place.removeprefix(f'{self.root}/') for place in places)}")

    def _before(self, operation: str) -> None:
        self._note(operation)
        self.fail(operation)

    def _sync(self, descriptor: int) -> None:
        place = self._path_of(descriptor)
        if threading.get_ident() == self._thread and not place.startswith("/"):
            self._before(f"fsync {place}")
            number = self._numbers.get(os.fstat(descriptor).st_ino) if self.records else None
            if number is not None:
                names, contents = self.moments[-1].names, self.moments[-1].contents
                if number in names:
                    self._synced_names = self._synced_names | {number: names[number]}
                elif number in contents:
                    self._synced_contents = self._synced_contents | {number: contents[number]}
                self._syncs += 1

    def _path_of(self, descriptor: int) -> str:
        """The path of an open file or folder: below the folder that is followed, or an absolute one."""
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return str(path.relative_to(self.root) if path.is_relative_to(self.root) else path)

    def _open(self, file: Any, mode: str = "r", *arguments: Any, **more: Any) -> Any:
        """`open`, whose files report each write."""
        opened = self._originals[1](file, mode, *arguments, **more)
        is_ours = isinstance(file, str | os.PathLike) and str(file).startswith(f"{self.root}/")
        return _Written(opened, self, str(file)) if is_ours and set(mode) & set("wa+x") else opened

    def _note(self, operation: str, claim: str = "") -> None:
        if not self.records or self._busy:
            return
        self._busy = True
        try:
            names, contents = self._look()
        finally:
            self._busy = False
        self.moments.append(
            Moment(
                operation,
                names,
                contents,
                self._synced_names,
                self._synced_contents,
                self._folders,
                self._syncs,
                claim,
            )
        )

    def _look(self) -> tuple[Names, dict[int, bytes]]:
        """All names and contents that are visible."""
        names: Names = {}
        contents: dict[int, bytes] = {}
        seen: dict[int, int] = {}

        def walk(folder: Path, number: int) -> None:
            names[number] = {}
            with os.scandir(folder) as entries:
                found = sorted(entries, key=lambda entry: entry.name)
            for entry in found:
                inode = entry.inode()
                child = self._numbers.get(inode)
                if child is None:
                    child, self._next = self._next, self._next + 1
                seen[inode] = child
                self._numbers[inode] = child
                names[number][entry.name] = child
                if entry.is_dir(follow_symlinks=False):
                    walk(Path(entry.path), child)
                else:
                    contents[child] = self._content(child, Path(entry.path))

        walk(self.root, 0)
        self._numbers = {self.root.stat().st_ino: 0} | seen
        self._folders = self._folders | names.keys()
        return names, contents

    def _content(self, number: int, path: Path) -> bytes:
        status = path.stat()
        mark = (status.st_size, status.st_mtime_ns, status.st_ctime_ns)
        if number not in self._kept or self._kept[number][0] != mark:
            self._kept[number] = (mark, path.read_bytes())
        return self._kept[number][1]


class _Written:
    """A file that is open for writing, and reports each write before it happens."""

    def __init__(self, file: Any, layer: Layer, name: str):
        self._file, self._layer = file, layer
        self._name = name.removeprefix(f"{layer.root}/")

    def write(self, data: Any) -> Any:
        if threading.get_ident() == self._layer._thread:
            self._layer.fail(f"write {self._name}")
        return self._file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> "_Written":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._file)


_active: list[Layer] = []
_installed: list[bool] = []
"""An audit hook can't be removed, so one serves all layers."""


def _hear(event: str, arguments: tuple[Any, ...]) -> None:
    for layer in tuple(_active):
        layer.heard(event, arguments)


def states_left(moments: list[Moment], models: tuple[str, ...] = MODELS) -> Iterator[tuple[int, str, State]]:
    """Every state in which a power cut may leave the folder: the moment of the cut, the model, and the state."""
    for index, moment in enumerate(moments):
        if "strict" in models:
            yield index, "strict", strict_state(moment)
        if "journal" in models:
            for keep in (_nothing, _half, _zeros):
                yield index, "journal", _state(moment.names, _cut(moment, keep), moment)
        if "prefix" in models:
            later = index + 1 < len(moments) and moments[index + 1].syncs == moment.syncs
            for earlier in () if later else _window(moments, index):
                yield index, "prefix", _state(earlier.names, earlier.contents | moment.contents, moment)
        if "single" in models:
            for names in _single_changes(moment):
                yield index, "single", _state(names, _cut(moment, _nothing), moment)


def strict_state(moment: Moment) -> State:
    """What a power cut leaves for certain."""
    return _state(moment.synced_names, moment.synced_contents, moment)


def visible_state(moment: Moment) -> State:
    """What is there without a power cut."""
    return _state(moment.names, moment.contents, moment)


def _state(names: Names, contents: Mapping[int, bytes], moment: Moment) -> State:
    """The folder with these names and contents. A file of which no content is known is empty, and so is a folder."""
    found: State = {}

    def walk(folder: int, prefix: str, folders: frozenset[int]) -> None:
        for name, child in names.get(folder, {}).items():
            if child in moment.folders:
                found[prefix + name] = None
                if child not in folders:
                    walk(child, f"{prefix}{name}/", folders | {child})
            else:
                found[prefix + name] = contents.get(child, b"")

    walk(0, "", frozenset({0}))
    return found


def write_state(state: State, folder: Path) -> None:
    """Write a state to an empty folder."""
    for path, content in state.items():
        if content is None:
            (folder / path).mkdir(parents=True, exist_ok=True)
    for path, content in state.items():
        if content is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)


def _window(moments: list[Moment], index: int) -> Iterator[Moment]:
    """The moments since the last sync, the one at `index` included."""
    for earlier in range(index, -1, -1):
        if moments[earlier].syncs != moments[index].syncs:
            return
        yield moments[earlier]


def _cut(moment: Moment, keep: Callable[[bytes, bytes], bytes]) -> dict[int, bytes]:
    """Contents of which only what was synced has survived, and what `keep` leaves of the rest."""
    return moment.synced_contents | {
        number: keep(moment.synced_contents.get(number, b""), content)
        for number, content in moment.contents.items()
        if moment.synced_contents.get(number) != content
    }


def _nothing(synced: bytes, visible: bytes) -> bytes:
    return synced


def _half(synced: bytes, visible: bytes) -> bytes:
    kept = len(synced) if visible.startswith(synced) else 0
    return visible[: kept + (len(visible) - kept) // 2]


def _zeros(synced: bytes, visible: bytes) -> bytes:
    kept = len(synced) if visible.startswith(synced) else 0
    return visible[:kept] + bytes(len(visible) - kept)


def _single_changes(moment: Moment) -> Iterator[Names]:
    """Names where one that was not synced has survived, and where all have but one."""
    synced, visible = moment.synced_names, moment.names
    folders = {folder: {} for folder in visible.keys() - synced.keys()} | synced
    for folder in visible:
        before, now = folders.get(folder, {}), visible[folder]
        for name in before.keys() | now.keys():
            if before.get(name) != now.get(name):
                yield folders | {folder: _with(before, name, now.get(name))}
                yield folders | visible | {folder: _with(now, name, before.get(name))}


def _with(names: dict[str, int], name: str, child: int | None) -> dict[str, int]:
    rest = {other: number for other, number in names.items() if other != name}
    return rest if child is None else rest | {name: child}


def _text(place: Any) -> str:
    return os.fsdecode(place)
