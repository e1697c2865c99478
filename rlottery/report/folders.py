"""Which files in a folder are a report's, a comparison's, or its videos. Everything else there is the user's."""

import re
from pathlib import Path

from rlottery.errors import StudyError
from rlottery.storage.owned_files import OwnedFiles

_GENERATOR = '<meta name="generator" content="rlottery">'
_FILM = re.compile(r"film_.+_seed_[0-9]+_.+_[0-9a-f]{12}-[0-9a-f]{12}\.mp4")
_OF_REPORT = {"report.html": _GENERATOR, "comparison.md": "# Dense agents and their tickets\n"}


def report_files(folder: Path) -> OwnedFiles:
    """The files of a study's report."""
    return OwnedFiles(folder, "report_files.json", tuple(_OF_REPORT), ("figures", "tables"), _OF_REPORT)


def comparison_files(folder: Path) -> OwnedFiles:
    """The files of a comparison of studies."""
    tables = (f"{name}.{suffix}" for name in ("settings", "verdicts", "differences") for suffix in ("csv", "md"))
    return OwnedFiles(folder, "compare_files.json", ("compare.html", *tables), (), {"compare.html": _GENERATOR})


def film_files(folder: Path) -> OwnedFiles:
    """The videos of a report, which are made once. Pages show only those that this user's commands made."""
    return OwnedFiles(folder, "film_files.json", (), (), _OF_REPORT, _FILM, signed=True)


def check_is_own(files: OwnedFiles, choice: str) -> None:
    """Raise a StudyError if files would be written where there are some of the user's.

    Args:
        choice: how to choose another folder.
    """
    foreign = files.foreign()
    if foreign is not None:
        raise StudyError(
            f"{foreign} was not written by rlottery, and a file of the report would take its place. Move it, or choose "
            f"another folder: {choice}"
        )
