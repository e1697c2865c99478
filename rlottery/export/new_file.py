"""Writes the files of exporters, which never replace an existing one."""

from pathlib import Path

from rlottery.errors import StudyError
from rlottery.storage.disk import write_bytes


def check_new(file: Path, option: str = "--to FILE") -> None:
    """Check that there is no such file yet.

    Args:
        file: the file.
        option: how another one is given, for messages.

    Raises:
        StudyError: there is, or there can't be one.
    """
    try:
        exists = file.exists()
        above = next((folder for folder in file.parents if folder.exists()), None)
    except OSError as error:
        raise _unwritable(file, error.strerror, option) from None
    if exists:
        raise StudyError(f"{file} already exists and was not changed. Give another name: {option}")
    if above is not None and not above.is_dir():
        raise _unwritable(file, f"{above} is not a folder", option)


def write_new(file: Path, data: bytes, option: str = "--to FILE") -> None:
    """Write a file that doesn't exist yet. Arguments as for `check_new`.

    Raises:
        StudyError: it exists, or it can't be written.
    """
    check_new(file, option)
    try:
        write_bytes(file, data)
    except OSError as error:
        raise _unwritable(file, error.strerror, option) from None


def _unwritable(file: Path, why: str | None, option: str) -> StudyError:
    return StudyError(f"{file} can't be written: {why}. Give another path: {option}")
