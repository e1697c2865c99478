"""Modules of the user's own: where tasks (module:Id) and criteria (module:function) are imported from."""

import sys
from collections.abc import Iterable
from pathlib import Path

_folders: list[str] = []


def allow_local_modules(folders: Iterable[Path]) -> None:
    """Let this process and its children import modules from these folders.

    They come last, so that a file there (``queue.py``) can't hide a module of Python or of a package.
    """
    for folder in (str(folder.absolute()) for folder in folders):
        if folder not in _folders:
            _folders.append(folder)
        if folder not in sys.path:
            sys.path.append(folder)


def local_folders() -> list[str]:
    """The folders that this process has allowed, for the study's record."""
    return list(_folders)


def folders_of(modules: Iterable[str]) -> list[str]:
    """Those of `local_folders` that have a file or a folder of one of these modules, or of their packages."""
    tops = {module.partition(".")[0] for module in modules}
    return [
        folder
        for folder in _folders
        if any((Path(folder) / name).exists() for top in tops for name in (top, f"{top}.py"))
    ]
