"""Manifests: what made a run's files, and their checksums. A run without one is not done.

Manifests, and the manifests of checkpoints, are JSON that ends in a checksum over itself, so that a change to any
byte is found. Format 2 is written; format 1 (rlottery 0.1.0: no checksum over itself, none of the replay buffer) is
read.
"""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired

from pydantic import Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from rlottery.errors import StudyError
from rlottery.storage.disk import file_digest, read_json, write_json
from rlottery.storage.paths import RunFiles

MANIFEST_FORMAT = 2
MAX_MANIFEST_BYTES = 2**24
"""A manifest has a few thousand bytes, a checkpoint's a few hundred for each piece of replay."""

ManifestStatus = Literal["done", "failed", "diverged"]
FileName = Annotated[str, Field(pattern=r"^(replay/)?[A-Za-z0-9_]+\.[a-z]+$")]
"""Below the run's folder. Nothing that a manifest names can lie elsewhere."""


class FileEntry(TypedDict):
    """A file's checksum and size; format 1 knew no sizes."""

    sha256: str
    bytes: int | None


class Session(TypedDict):
    """One stretch of a run's work, between two kills.

    Attributes:
        started: seconds since 1970, by the machine's clock.
        env_steps: where it began: 0, or the checkpoint's step.
        notes: what was found damaged, and how it was mended.
    """

    started: float
    env_steps: int
    notes: list[str]


class Manifest(TypedDict):
    """Of one run.

    Attributes:
        status: "diverged" is a result: a weight, loss or action became NaN or infinite.
        seconds: of work, over all sittings.
        checkpoints: how many were written, and the seconds that took.
        error: why it failed or diverged.
        replay: "saved", or "released" by ``keep_replay: false``; dense runs only.
        method, criterion, sparsity: of a ticket's mask; the method is given where it is one of the guide's two.
        recipe: what else the arm's entry in the config says.
        env_steps: that it trained for.
        round_of: the arm that a round of iterative pruning belongs to.
    """

    format_version: int
    status: ManifestStatus
    fingerprint: dict[str, Any]
    files: dict[FileName, FileEntry]
    stage: NotRequired[str]
    task: NotRequired[str]
    task_name: NotRequired[str]
    seed: NotRequired[int]
    arm: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    started: NotRequired[float]
    seconds: NotRequired[float]
    sittings: NotRequired[list[Session]]
    checkpoints: NotRequired[dict[str, float]]
    error: NotRequired[str]
    replay: NotRequired[Literal["saved", "released"]]
    method: NotRequired[str]
    criterion: NotRequired[str]
    sparsity: NotRequired[dict[str, float]]
    recipe: NotRequired[dict[str, Any]]
    env_steps: NotRequired[int]
    round_of: NotRequired[str]


_MANIFEST = TypeAdapter(Manifest)


class DamagedError(StudyError):
    """A file that is not what was written. `file` and `why` name it in a few words."""

    def __init__(self, file: Path, why: str):
        super().__init__(f"{file} is damaged: {why}. Run the study again: what is damaged is made anew.")
        self.file, self.why = file, why


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a checksum over itself, whole or not at all."""
    write_json(path, {**content, "checksum": _checksum(content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """What `write_sealed` wrote, without the checksum; format 1 had none.

    Raises:
        FileNotFoundError: there is no such file.
        DamagedError: it is not what was written.
        StudyError: its format is a later one.
    """
    try:
        content = read_json(path, MAX_MANIFEST_BYTES)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(path, str(getattr(error, "strerror", None) or error)[:200]) from None
    if not isinstance(content, dict):
        raise DamagedError(path, "it is no JSON object")
    version = content.get("format_version")
    if type(version) is not int or version < 1:
        raise DamagedError(path, f"its format_version is {str(version)[:20]!r}")
    checksum = content.pop("checksum", None)
    if version != 1 and checksum != _checksum(content):
        raise DamagedError(path, "its content differs from its checksum")
    if version > MANIFEST_FORMAT:
        raise StudyError(
            f"{path} has format {version}; this version of rlottery reads formats 1 to {MANIFEST_FORMAT}. "
            "Use the version that wrote it, or another data folder."
        )
    return content


def read_manifest(files: RunFiles) -> Manifest | None:
    """The manifest of a run, or None where there is none.

    Raises:
        DamagedError: it is not what was written.
        StudyError: its format is a later one.
    """
    try:
        content = read_sealed(files.manifest)
    except FileNotFoundError:
        return None
    if content["format_version"] == 1:
        content = _from_format_1(content)
    try:
        return _MANIFEST.validate_python(content)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(map(str, first["loc"]))[:100]
        raise DamagedError(files.manifest, f"{place}: {first['msg'][:200]}") from None


def write_manifest(files: RunFiles, manifest: Manifest) -> None:
    """Write a run's manifest, which makes the run's files count."""
    write_sealed(files.manifest, {**manifest, "format_version": MANIFEST_FORMAT})


def file_entry(path: Path) -> FileEntry:
    """Checksum and size of a file as it is."""
    return {"sha256": file_digest(path), "bytes": path.stat().st_size}


def find_damage(
    folder: Path, entries: Mapping[str, FileEntry], contents: Iterable[str] | None = None
) -> list[DamagedError]:
    """What is wrong with files that a manifest names: missing, another size, another content.

    Args:
        folder: where they lie.
        contents: names of the files whose content is compared too; None for all. Sizes are always.
    """
    found = []
    read = set(entries) if contents is None else set(contents)
    for name, expected in entries.items():
        if why := _what_is_wrong(folder / name, expected, name in read):
            found.append(DamagedError(folder / name, why))
    return found


def check_files(folder: Path, entries: Mapping[str, FileEntry], *names: str) -> None:
    """Make sure of files before they are used: sizes and contents. A name that has no entry can't be compared.

    Raises:
        DamagedError: the first that is not what was written.
    """
    for error in find_damage(folder, {name: entries[name] for name in names if name in entries}):
        raise error


def list_differences(asked: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two fingerprints differ, a line a key: ``sac.batch_size: the files have 256, the config asks for 128``."""
    lines = []
    for key in sorted(asked.keys() | found.keys()):
        ours, theirs = asked.get(key), found.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            lines += list_differences(ours, theirs, f"{prefix}{key}.")
        elif ours != theirs or (key in asked) != (key in found):  # null is not the same as no such key
            has, asks = (repr(of[key])[:200] if key in of else "nothing" for of in (found, asked))
            lines.append(f"{prefix}{key}: the files have {has}, this config asks for {asks}")
    return lines


def _what_is_wrong(path: Path, expected: FileEntry, compare_content: bool) -> str | None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is no regular file"
        size = found.st_size
        if expected["bytes"] is not None and size != expected["bytes"]:
            return f"it has {size:,} bytes of {expected['bytes']:,}"
        if compare_content and file_digest(path) != expected["sha256"]:
            return "its content differs from its checksum"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return str(error.strerror)
    return None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()


def _from_format_1(content: dict[str, Any]) -> dict[str, Any]:
    """Format 1 had a file's digest in the place of its entry."""
    files = content.get("files")
    if isinstance(files, dict):
        files = {name: {"sha256": digest, "bytes": None} for name, digest in files.items()}
    return content | {"format_version": MANIFEST_FORMAT, "files": files}
