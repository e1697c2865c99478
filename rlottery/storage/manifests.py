"""Manifests: what a run's files were made from, and their checksums. A run without a manifest is not finished.

Manifests, and the JSON files of checkpoints and of the study, contain a checksum of themselves, so that a change to any
byte is found. Files are written in format 2. Format 1 (rlottery 0.1.0) can be read; it has no checksum of the manifest
itself nor of the replay buffer.
"""

import hashlib
import json
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypeVar

from pydantic import Field, ValidationError
from typing_extensions import TypedDict

from rlottery.config import ALGORITHMS, LEFT_OUT
from rlottery.errors import StudyError
from rlottery.storage.disk import file_digest, read_json, write_json
from rlottery.storage.paths import RunFiles
from rlottery.storage.stored_types import (
    MOST_TEXT,
    Count,
    Fingerprint,
    LongText,
    Moment,
    Name,
    Number,
    Recipe,
    Seconds,
    Seed,
    Share,
    validated,
)
from rlottery.storage.syncing import sync_file, writing

MANIFEST_FORMAT = 2
"""What is written, except for manifests that earlier versions would misread."""
ACTIVATION_FORMAT = 3
"""Of manifests of agents whose hidden layers don't have ReLU. Earlier versions would compute ReLU, so they must refuse
these. It is the latest format that is read."""
MAX_MANIFEST_BYTES = 2**24
"""The largest file that is read. A manifest has some kilobytes, a checkpoint some hundred bytes per piece of replay."""
MAX_MANIFEST_VALUES = 500_000
"""The most values in it. A checkpoint has six for each piece of replay."""

ManifestStatus = Literal["done", "failed", "diverged"]
FileName = Annotated[str, Field(pattern=r"^(replay/)?[A-Za-z0-9_]+\.[a-z]+$")]
"""A path below the run's folder. A manifest can't name a file anywhere else."""


class FileEntry(TypedDict):
    """A file's checksum and size. Format 1 has no sizes."""

    sha256: Name
    bytes: Count | None


class Session(TypedDict):
    """One process's stretch of work on a run. The files call it a sitting.

    Attributes:
        started: seconds since 1970, by the machine's clock.
        env_steps: the step where it began: 0, or the checkpoint's.
        notes: the damaged checkpoints that it skipped.
        versions: what it worked with, as a manifest's `versions`. Sessions of earlier versions of rlottery have none.
    """

    started: Moment
    env_steps: Count
    notes: list[LongText]
    versions: NotRequired[dict[Name, LongText]]


class RunSpaces(TypedDict):
    """The sizes and bounds of a task as the run met them: loading its agent then needs no environment.

    Attributes:
        action_low, action_high: the actions that -1 and 1 map to, float32.
    """

    observation_size: Count
    action_low: list[Number]
    action_high: list[Number]


class DiscreteRunSpaces(TypedDict):
    """The same, of a task with discrete actions: how many there are, and the smallest of their integers."""

    observation_size: Count
    actions: Count
    first_action: Annotated[int, Field(strict=True, ge=-(2**62), le=2**62)]


class SourceFile(TypedDict):
    """A file of another tool that a run was made from.

    Attributes:
        file: its name.
        sha256: of its bytes.
        content: SHA-256 of the arrays and settings that were read from it. Versions before this key recorded none.
    """

    file: LongText
    sha256: Name
    content: NotRequired[Name]


class Reconstructed(TypedDict):
    """Initial weights that the agent's library made again.

    Attributes:
        seed: that of the agent.
        by: what made them: "stable-baselines3 2.9.2, torch 2.13.0".
        correlation: with the trained weights, the smallest of all networks.
    """

    seed: Count
    by: LongText
    correlation: float


class Imported(TypedDict):
    """What a dense run was made from that another tool trained.

    Attributes:
        agent: the file of the agent.
        library: what trained it.
        initial: the file of its initial weights, or its seed; without it, they are not known, and the run's are the
            agent's own.
        reconstructed: how they were made from the seed, or that a file has the same.
        replay: the file of its replay buffer.
        collected: how many environment steps were taken with the agent for the replay buffer.
        notes: what could not be taken over, one sentence each.
    """

    agent: SourceFile
    library: LongText
    initial: NotRequired[SourceFile]
    reconstructed: NotRequired[Reconstructed]
    replay: NotRequired[SourceFile]
    collected: NotRequired[Count]
    notes: Annotated[list[LongText], Field(max_length=100)]


class RunFacts(TypedDict, total=False):
    """What a manifest records about what was trained.

    Attributes:
        replay: "saved", or "released" after ``keep_replay: false`` deleted it. Dense runs only.
        method, criterion, sparsity: of a ticket's mask. Only the two built-in methods have a `method`.
        effective: group -> share of the weights that are on no path from an input to an output. Versions before this
            key recorded none.
        units: group -> hidden units on such a path, and all. Versions before this key recorded none.
        rank_one: group -> `pruning.effective.mean_rank_one` of the scores, if a criterion scored the mask.
        recipe: the rest of the arm's entry in the config.
        round_of: the arm that a round of IMP belongs to.
        error: why the run failed or diverged.
        spaces: of its task. Versions before this key recorded none.
        replaced: what the run replaced, if it was trained again and came out with other bits.
        imported: what it was made from, if it was imported. Dense runs only.
    """

    replay: Literal["saved", "released"]
    method: Name
    criterion: Name
    sparsity: dict[Name, Share]
    effective: dict[Name, Share]
    units: dict[Name, Annotated[list[Count], Field(min_length=2, max_length=2)]]
    rank_one: dict[Name, Share]
    recipe: Recipe
    round_of: Name
    error: LongText
    spaces: RunSpaces | DiscreteRunSpaces
    replaced: LongText
    imported: Imported


class Manifest(RunFacts):
    """The manifest of one run.

    Attributes:
        status: "diverged" is a result: a weight, a loss or an action became NaN or infinite.
        fingerprint: what the run was made from.
        seconds: how long the run was worked on, over all sessions.
        checkpoints: how many were written, and the seconds that took.
        env_steps: how many steps it was trained for.
    """

    format_version: int
    status: ManifestStatus
    fingerprint: Fingerprint
    files: dict[FileName, FileEntry]
    stage: NotRequired[Name]
    task: NotRequired[Name]
    task_name: NotRequired[Name]
    seed: NotRequired[Seed]
    arm: NotRequired[Name]
    versions: NotRequired[dict[Name, LongText]]
    started: NotRequired[Moment]
    seconds: NotRequired[Seconds]
    sittings: NotRequired[list[Session]]
    checkpoints: NotRequired[dict[Name, Seconds]]
    env_steps: NotRequired[Count]


_T = TypeVar("_T")


IMPORT_AGAIN = "Import the agent again: rlottery import, as before."
"""How to repair a run of an imported agent. It can't be trained here."""


class DamagedError(StudyError):
    """A file that is missing or not as it was written; `why` says what is wrong with it in a few words."""

    def __init__(self, file: Path, why: str, fix: str = "Run the study again to regenerate it."):
        super().__init__(f"{file} is damaged: {why}. {fix}")
        self.file, self.why = file, why


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON with a checksum of itself, atomically."""
    write_json(path, {**content, "checksum": _checksum(content)})


def read_sealed(path: Path) -> dict[str, Any]:
    """The content that `write_sealed` wrote. Files of format 1 have no checksum.

    Raises FileNotFoundError, DamagedError, or StudyError if a later version of rlottery wrote it.
    """
    try:
        content = read_json(path, MAX_MANIFEST_BYTES, MAX_MANIFEST_VALUES)
    except FileNotFoundError:
        raise
    except (OSError, ValueError) as error:
        raise DamagedError(path, str(getattr(error, "strerror", None) or error)[:200]) from None
    if not isinstance(content, dict):
        raise DamagedError(path, "it is not a JSON object")
    version = content.get("format_version")
    if type(version) is not int or version < 1:
        raise DamagedError(path, f"its format_version is {str(version)[:20]!r}")
    checksum = content.pop("checksum", None)
    if version != 1 and checksum != _checksum(content):
        raise DamagedError(path, "its content differs from its checksum")
    if version > ACTIVATION_FORMAT:
        raise StudyError(
            f"{path} has format {version}, and this version of rlottery reads formats 1 to {ACTIVATION_FORMAT}. "
            "Use the version that wrote it, or another data folder."
        )
    return content


def read_manifest(files: RunFiles) -> Manifest | None:
    """The manifest of a run, or None. Raises DamagedError, or StudyError if a later version of rlottery wrote it."""
    try:
        return _read_manifest(files)
    except FileNotFoundError:
        return None
    except DamagedError as error:
        if not files.imported.exists():
            raise
        raise DamagedError(error.file, error.why, IMPORT_AGAIN) from None


def check_is_not_lost(files: RunFiles) -> None:
    """Raise StudyError if a run has no manifest, and its agent was imported, so that it had one."""
    if files.imported.exists() and not files.manifest.exists():
        raise StudyError(f"{files.manifest} is missing. {IMPORT_AGAIN}")


def _read_manifest(files: RunFiles) -> Manifest:
    content = read_sealed(files.manifest)
    if content["format_version"] == 1 and isinstance(content.get("files"), dict):
        content["files"] = {name: {"sha256": digest, "bytes": None} for name, digest in content["files"].items()}
    content["format_version"] = MANIFEST_FORMAT
    return checked(Manifest, content, files.manifest)


def checked(kind: type[_T], content: object, path: Path) -> _T:
    """The content of a file, if all of its values have the types and ranges of their kind. Raises DamagedError."""
    try:
        return validated(kind, content)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        place = ".".join(map(str, first["loc"]))[:100]
        why = first["msg"].removeprefix("Value error, ")
        raise DamagedError(path, f"{place}: {why[:200]}") from None


def write_imported(files: RunFiles, imported: Imported) -> None:
    """Record what a run was imported from, in a file of its own, so that a lost manifest doesn't lose this."""
    write_sealed(files.imported, {"format_version": MANIFEST_FORMAT, "imported": imported})


def read_imported(files: RunFiles) -> Imported | None:
    """What `imported.json` says of a run; None if another version of rlottery wrote it, or no agent was imported."""
    try:
        return checked(Imported, read_sealed(files.imported).get("imported"), files.imported)
    except (FileNotFoundError, StudyError):
        return None


def is_from_seed(imported: Mapping[str, Any]) -> bool:
    """Whether an agent's initial weights were reconstructed from its seed, and given by no file."""
    initial = imported.get("initial", {})
    return "reconstructed" in imported and initial.get("sha256", "") == initial.get("content")


def write_manifest(files: RunFiles, manifest: Manifest) -> None:
    """Write a run's manifest. From then on the run counts as finished, even if the machine crashes.

    The files that it lists survive a crash already (`file_entry`). Only now may what they replace be removed.
    """
    error = {"error": manifest["error"][:MOST_TEXT]} if "error" in manifest else {}
    other = "activation" in manifest["fingerprint"].get("network", {})
    written = {"format_version": ACTIVATION_FORMAT if other else MANIFEST_FORMAT}
    write_sealed(files.manifest, {**manifest, **error, **written})


def file_entry(path: Path) -> FileEntry:
    """The checksum and size of a file, whose content is put on the disk first.

    A record of a checksum survives a crash of the machine, so what it describes has to as well. Raises WriteError.
    """
    with writing(path):
        sync_file(path)
        return {"sha256": file_digest(path), "bytes": path.stat().st_size}


def find_damage(
    folder: Path, entries: Mapping[str, FileEntry], contents: Iterable[str] | None = None
) -> list[DamagedError]:
    """The files of a manifest that are missing, or have another size or content.

    Args:
        contents: names of the files whose checksums are compared too, not only their sizes. None means all.
    """
    read = set(entries) if contents is None else set(contents)
    wrong = {name: _what_is_wrong(folder / name, expected, name in read) for name, expected in entries.items()}
    return [DamagedError(folder / name, why) for name, why in wrong.items() if why]


def check_files(folder: Path, entries: Mapping[str, FileEntry], *names: str) -> None:
    """Raise DamagedError unless these files have the right size and content. A name without an entry isn't checked."""
    for error in find_damage(folder, {name: entries[name] for name in names if name in entries}):
        raise error


def list_differences(
    asked: Mapping[str, Any], found: Mapping[str, Any], prefix: str = "", asker: str = "this config asks for"
) -> list[str]:
    """The keys in which fingerprints differ, one line each.

    For example ``sac.batch_size: the files have 256, this config asks for 128``. Of two algorithms, only the names
    differ: all their settings do.
    """
    lines = []
    algorithms = algorithm_in(asked), algorithm_in(found)
    if not prefix and None not in algorithms and algorithms[0] != algorithms[1]:
        asked, found = (
            {**{key: value for key, value in of.items() if key != name}, "algorithm": name}
            for of, name in zip((asked, found), algorithms, strict=True)
        )
    for key in sorted(asked.keys() | found.keys()):
        ours, theirs = asked.get(key), found.get(key)
        if isinstance(ours, Mapping) and isinstance(theirs, Mapping):
            if not prefix:
                ours, theirs = (LEFT_OUT.get(key, {}) | dict(of) for of in (ours, theirs))
            lines += list_differences(ours, theirs, f"{prefix}{key}.", asker)
        elif ours != theirs or (key in asked) != (key in found):  # null differs from a missing key
            has, asks = (repr(of[key])[:200] if key in of else "nothing" for of in (found, asked))
            lines.append(f"{prefix}{key}: the files have {has}, {asker} {asks}")
    return lines


def algorithm_in(fingerprint: Mapping[str, Any]) -> str | None:
    """The algorithm that a run was trained with: its settings are under its name. None where there are no settings."""
    return next((name for name in ALGORITHMS if name in fingerprint), None)


def _what_is_wrong(path: Path, expected: FileEntry, compare_content: bool) -> str | None:
    try:
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            return "it is not a regular file"
        if expected["bytes"] is not None and found.st_size != expected["bytes"]:
            return f"it has {found.st_size:,} bytes, not {expected['bytes']:,}"
        if compare_content and file_digest(path) != expected["sha256"]:
            return "its content differs from its checksum"
    except FileNotFoundError:
        return "it is missing"
    except OSError as error:
        return str(error.strerror)
    return None


def _checksum(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, allow_nan=False).encode()).hexdigest()
