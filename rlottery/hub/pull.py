"""Fetches what `rlottery push` has sent. Nothing of it is executed, and no file is kept whose checksum differs."""

import contextlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rlottery.errors import StudyError
from rlottery.hub.bundle import MOST_BYTES, MOST_FILES
from rlottery.hub.names import (
    CARD,
    CHECKSUMS,
    HubError,
    check_repository,
    check_revision,
    connect,
    is_safe_file,
    plain_hub_errors,
)
from rlottery.report.wording import plural
from rlottery.storage.disk import file_digest
from rlottery.storage.temporary_files import temporary_path

_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_MOST_LIST_BYTES = 8 * 2**20


def pull(repository: str, to: Path | None, revision: str | None, say: Callable[[str], None]) -> Path:
    """Fetch a run or a study into a new folder, which is a data folder then.

    Args:
        repository: OWNER/NAME.
        to: the folder, which must not exist; None for NAME in the working directory.
        revision: a branch, a tag or a commit; None for the newest.

    Returns:
        The folder.

    Raises:
        HubError: the repository can't be reached, was not made by `rlottery push`, or a file is not as its checksum
            says. Nothing is written then.
        StudyError: the folder exists, or can't be written.
    """
    check_repository(repository)
    if revision is not None:
        check_revision(revision)
    folder = to or Path(repository.rpartition("/")[2])
    if folder.exists() or folder.is_symlink():
        raise StudyError(f"{folder} already exists and was not changed. Give another name: --to FOLDER")
    api = connect()
    partial = temporary_path(folder)
    shutil.rmtree(partial, ignore_errors=True)
    missing = [parent for parent in folder.parents if not parent.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir()
        with plain_hub_errors(f"{repository} can't be pulled"):
            commit, names = _fetch(api, repository, revision, partial)
        shutil.rmtree(partial / ".cache", ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise StudyError(f"{folder} can't be written: {error.strerror}. Give another name: --to FOLDER") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        if not folder.exists():
            for parent in missing:  # from the innermost on
                with contextlib.suppress(OSError):
                    parent.rmdir()
    size = sum((folder / name).stat().st_size for name in names)
    say(f"Fetched {plural(len(names), 'file')}, {size:,} bytes, of {repository} at revision {commit} to {folder}.")
    say("All files have the checksums that were pushed with them.")
    return folder


def _fetch(api: Any, repository: str, revision: str | None, folder: Path) -> tuple[str, list[str]]:
    """Download and check everything. Returns the commit and the names of the files."""
    about = api.model_info(repository, revision=revision, files_metadata=True)
    sizes = {file.rfilename: file.size or 0 for file in about.siblings or ()}
    if CHECKSUMS not in sizes or sizes[CHECKSUMS] > _MOST_LIST_BYTES:
        raise HubError(f"{repository} has no {CHECKSUMS}, so it wasn't made by `rlottery push`. Nothing was written.")

    def download(name: str) -> Path:
        return Path(api.hf_hub_download(repository, name, revision=about.sha, local_dir=folder))

    listed = _listed(repository, download(CHECKSUMS).read_bytes())
    total = sum(sizes.get(name, 0) for name in listed)
    if total > min(MOST_BYTES, shutil.disk_usage(folder).free):
        raise HubError(f"{repository} has {total:,} bytes, for which there is no room. Nothing was written.")
    for name, digest in listed.items():
        if name not in sizes:
            raise HubError(f"{repository} lacks {name}, which its {CHECKSUMS} lists. Nothing was written.")
        if file_digest(download(name)) != digest:
            raise HubError(
                f"{name} of {repository} isn't the file that was pushed: its checksum differs. Nothing was written. "
                "Try again, or another --revision."
            )
    names = [*listed, CHECKSUMS]
    if CARD in sizes:  # people edit it on the Hub
        download(CARD)
        names.append(CARD)
    return str(about.sha), names


def _listed(repository: str, content: bytes) -> dict[str, str]:
    """Name -> SHA-256, as a repository lists them. Raises HubError if a file would be written elsewhere."""
    lines = content.decode(errors="replace").splitlines()
    found: dict[str, str] = {}
    for line in lines[: MOST_FILES + 1]:
        match = _LINE.fullmatch(line)
        if match is None or not is_safe_file(match[2]) or match[2] in found or len(found) == MOST_FILES:
            raise HubError(f"The {CHECKSUMS} of {repository} is not as `rlottery push` writes it. Nothing was written.")
        found[match[2]] = match[1]
    return found
