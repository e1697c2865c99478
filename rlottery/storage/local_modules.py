"""Modules of the user's own: where tasks (module:Id) and criteria (module:function) are imported from."""

import sys
from collections.abc import Iterable
from pathlib import Path

_folders: list[str] = []


def allow_local_modules(folders: Iterable[Path] = ()) -> None:
    """Let modules be imported from these folders, such as a config file's, and from the working directory.

    They come last, so that a file there (``queue.py``) can't hide a module of Python or of a package.
    """
    for folder in map(str, (*(folder.absolute() for folder in folders), Path.cwd())):
        if folder not in _folders:
            _folders.append(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def local_folders() -> list[str]:
    """The folders that this process has allowed, for the study's record."""
    return list(_folders)
