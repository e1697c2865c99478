"""Files that a command keeps in a folder of the user's. It lists them there, and changes no file that it doesn't list.

The listing contains a checksum of itself and of every file, so that a file that the user has edited or put there is
known as such. It lists a file before it is written and until it is removed, so that a crash at any moment leaves every
file of the command's listed.
"""

import hashlib
import os
import re
import stat
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired

from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from rlottery.safety.regular_files import read_bytes, regular
from rlottery.storage.disk import file_digest, write_bytes
from rlottery.storage.locks import one_at_a_time
from rlottery.storage.manifests import MANIFEST_FORMAT, DamagedError, read_sealed, write_sealed
from rlottery.storage.signing import is_signed, signature
from rlottery.storage.stored_types import validated
from rlottery.storage.syncing import sync_folder
from rlottery.version import __version__

_NAME = re.compile(r"(figures/|tables/)?[^./\x00][^/\x00]*")
"""A file in the folder or in one of its two folders. A listing can't name a file anywhere else."""
_MARK_BYTES = 4096


class _Entry(TypedDict):
    """A file's checksum and size, and the version of rlottery that wrote it."""

    sha256: str
    bytes: int
    version: str


class _Listing(TypedDict):
    """The content of a listing. A file that is being replaced has two entries: as it was, and as it will be."""

    format_version: int
    signature: NotRequired[str]
    files: dict[str, Annotated[list[_Entry], Field(max_length=2)]]


@dataclass(frozen=True)
class OwnedFiles:
    """The files of one command in `folder`.

    Attributes:
        listing: the name of the file that lists them.
        always: names of the files that it always writes; folders: of the folders that it fills.
        marks: name -> text near the beginning of that file by which a folder of an earlier version is recognised.
            There, files without a listing are replaced where a new one has the same name, and nothing is removed.
        earlier: a pattern of names that such a folder may have. Files with such names are replaced without a listing,
            whether there is a listing of other files already or not.
        signed: whether the listing is signed, and `read` gives only what this user's commands wrote.
    """

    folder: Path
    listing: str
    always: Sequence[str]
    folders: Sequence[str]
    marks: Mapping[str, str]
    earlier: re.Pattern[str] | None = None
    signed: bool = False

    def foreign(self) -> Path | None:
        """A file where this command would write its own, which it did not write; None if there is none."""
        listed = self._listed()
        if listed is None and self._is_of_an_earlier_version():
            return None
        if os.path.lexists(self.folder) and not self.folder.is_dir():
            return self.folder
        for name in self.always:
            if os.path.lexists(self.folder / name) and name not in (listed or {}):
                return self.folder / name
        for folder in (self.folder / name for name in self.folders):
            if os.path.lexists(folder) and not folder.is_dir():
                return folder
            if listed is None and (inside := next(iter(sorted(folder.glob("*"))), None)):
                return inside
        return None

    def read(self, name: str, limit: int) -> bytes | None:
        """The content of a file that this version of rlottery wrote. None if it isn't listed, or no longer the same."""
        entries = (self._listed() or {}).get(name)
        with suppress(OSError, ValueError):
            if entries and _entry(data := read_bytes(self.folder / name, limit)) in entries:
                return data
        return None

    def names(self) -> frozenset[str]:
        """The names of the files that are listed."""
        return frozenset(self._listed() or {})

    def update(self, files: Mapping[str, bytes], gone: Collection[str] | None = None) -> list[str]:
        """Write files, each atomically, and remove those listed ones that are `gone`; None: all others.

        Returns:
            A line for each file of somebody else's that is in the way: it stays. An edited file stays, too, under
            another name if a new one takes its place.

        Raises:
            OSError: a file can't be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(self.folder / f".{self.listing}.lock"):  # two commands may end at the same time
            known = self._listed()
            listed = known or {}
            adopts = known is None and self._is_of_an_earlier_version()
            outdated = [name for name in listed if name not in files and (gone is None or name in gone)]
            found = {name: _as_listed(self.folder / name, listed.get(name, [])) for name in (*files, *outdated)}
            lines = [
                f"{self.folder / name} stays: it was changed since a report wrote it."
                for name in outdated
                if os.path.lexists(self.folder / name) and found[name] is None
            ]
            new = {}
            for name, data in files.items():
                path, entry = self.folder / name, _entry(data)
                is_earlier = adopts or (name not in listed and self._is_named_as_earlier(name))
                is_foreign = os.path.lexists(path) and found[name] is None and not is_earlier
                if is_foreign and name not in listed:
                    lines.append(f"{path} is not written: there is a file that no report wrote. Move it away.")
                    continue
                if is_foreign and _as_listed(path, [entry]) is None:
                    path.rename(aside := _name_of_no_file(path))
                    lines.append(f"{path} was changed since a report wrote it. The changed file is now {aside}.")
                new[name] = entry
            both = {name: [one for one in (found[name], entry) if one] for name, entry in new.items()}
            self._write({**listed, **both})
            for name in new:
                write_bytes(self.folder / name, files[name])
            removed = [self.folder / name for name in outdated if found[name] is not None]
            for path in removed:
                path.unlink(missing_ok=True)
            for folder in {path.parent for path in removed}:
                sync_folder(folder)  # a power cut must not bring back a file that is no longer listed
            left = {name: entries for name, entries in listed.items() if name not in outdated}
            self._write({**left, **{name: [entry] for name, entry in new.items()}})
        return lines

    def _write(self, files: Mapping[str, list[_Entry]]) -> None:
        of: dict[str, Any] = {"files": dict(sorted(files.items()))}
        signed = {"signature": signature(of) or ""} if self.signed else {}
        write_sealed(self.folder / self.listing, {"format_version": MANIFEST_FORMAT, **of, **signed})

    def _listed(self) -> dict[str, list[_Entry]] | None:
        """The files that are listed; None if there is no listing, or it is damaged.

        Those that a signed listing has from somebody else are listed without a version: they can be removed, not read.
        """
        try:
            listing = validated(_Listing, read_sealed(self.folder / self.listing))
        except (FileNotFoundError, NotADirectoryError, DamagedError, ValidationError):
            return None
        files = {name: entries for name, entries in listing["files"].items() if _NAME.fullmatch(name)}
        if self.signed and not is_signed({"files": listing["files"]}, listing.get("signature", "")):
            for entry in (entry for entries in files.values() for entry in entries):
                entry["version"] = ""
        return files

    def _is_named_as_earlier(self, name: str) -> bool:
        return self.earlier is not None and self.earlier.fullmatch(name) is not None

    def _is_of_an_earlier_version(self) -> bool:
        return any(mark.encode() in _beginning(self.folder / name) for name, mark in self.marks.items())


def _entry(data: bytes) -> _Entry:
    return {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "version": __version__}


def _as_listed(path: Path, entries: Sequence[_Entry]) -> _Entry | None:
    """The entry that says how a file is now. None for other files, and for links, folders and special files."""
    with suppress(OSError):
        found = path.lstat()
        alike = [entry for entry in entries if entry["bytes"] == found.st_size and stat.S_ISREG(found.st_mode)]
        digest = file_digest(path) if alike else ""
        return next((entry for entry in alike if entry["sha256"] == digest), None)
    return None


def _beginning(path: Path) -> bytes:
    with suppress(OSError), open(path, "rb", opener=regular) as file:
        return file.read(_MARK_BYTES)
    return b""


def _name_of_no_file(path: Path) -> Path:
    """A path next to this one at which there is nothing yet."""
    number = 1
    while os.path.lexists(kept := path.with_name(f"{path.name}.changed{'' if number == 1 else f'-{number}'}")):
        number += 1
    return kept
