"""Keeps compiled programs between processes, so that a worker compiles only what no earlier worker has compiled.

JAX's persistent compilation cache does the work: a program's key is its code, JAX's version, XLA's flags and the
compiler's options, and what is loaded is the machine code that was compiled. This module gives it a folder in the
user's cache, and what it lacks: one folder for each kind of processor, although machines share home folders; a limit of
size; and the removal of entries that were written only in part.

The entries are machine code. They are trusted like the installed packages, and so they are never in a data folder,
which may come from somebody else.
"""

import contextlib
import hashlib
import os
import stat
import time
import zlib
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax

from rlottery.storage.user_cache import processor_identity, user_cache_folder

MOST_BYTES = 2**28
"""The size from which the oldest entries are removed, until half of it is left. A program has about 0.1 MB."""
WRITTEN_SECONDS = 60.0
"""After this time no process is still writing an entry."""
_ENTRIES, _CHECKED = "*-cache", "checked"
_ZLIB = 0x78
"""The first byte of entries that zlib compressed. With the package zstandard, JAX compresses them with that."""


def use_program_cache() -> None:
    """Let this process load and keep compiled programs for the CPU. To be called before the first one is compiled.

    Nothing changes if the user has given JAX a cache of their own (JAX_COMPILATION_CACHE_DIR) or turned caching off
    (JAX_ENABLE_COMPILATION_CACHE=0), or if the folder can't be written, or others may write to it.
    """
    settings: Any = jax.config
    chosen = settings.jax_compilation_cache_dir is not None or not settings.jax_enable_compilation_cache
    if chosen or jax.default_backend() != "cpu":
        return
    folder = program_folder()
    with contextlib.suppress(OSError):
        if folder.is_absolute() and _is_own(folder):
            remove_damaged(folder)
            limit_size(folder)
            settings.update("jax_compilation_cache_dir", str(folder))
            # The many small programs of a start take as long together as the large one.
            settings.update("jax_persistent_cache_min_compile_time_secs", 0.0)


def program_folder() -> Path:
    """The folder for programs of this JAX on this processor; not absolute if the user has no home folder."""
    made_by = "\n".join([version("jax"), version("jaxlib"), processor_identity()])
    return user_cache_folder() / f"programs-{hashlib.sha256(made_by.encode()).hexdigest()[:32]}"


def remove_damaged(folder: Path) -> None:
    """Remove entries that a process was killed while writing, or that the disk has damaged since they were written.

    JAX reports such an entry, compiles the program, and leaves the entry as it is. An entry is looked at once, by the
    first worker that starts `WRITTEN_SECONDS` after it was written.
    """
    stamp, until = folder / _CHECKED, time.time() - WRITTEN_SECONDS
    since = stamp.stat().st_mtime if stamp.exists() else 0.0
    for entry in folder.glob(_ENTRIES):
        with contextlib.suppress(OSError):  # another worker has removed it
            if since <= entry.stat().st_mtime < until and not _is_whole(entry):
                entry.unlink()
    stamp.touch()
    os.utime(stamp, (until, until))


def limit_size(folder: Path) -> None:
    """Remove the oldest entries if all together have more than `MOST_BYTES`, until they have half of that."""
    found = []
    for entry in folder.glob(_ENTRIES):
        with contextlib.suppress(OSError):
            about = entry.stat()
            found.append((about.st_mtime, about.st_size, entry))
    size = sum(of_entry for _, of_entry, _ in found)
    if size <= MOST_BYTES:
        return
    for _, of_entry, entry in sorted(found):
        entry.unlink(missing_ok=True)
        size -= of_entry
        if size <= MOST_BYTES // 2:
            return


def _is_own(folder: Path) -> bool:
    """Whether only this user can write to the folder, which is made if it is missing."""
    folder.mkdir(mode=stat.S_IRWXU, parents=True, exist_ok=True)
    about = folder.stat()
    others = stat.S_IWGRP | stat.S_IWOTH
    return about.st_uid == os.getuid() and not about.st_mode & others and os.access(folder, os.W_OK)


def _is_whole(entry: Path) -> bool:
    content = entry.read_bytes()
    if content[:1] != bytes([_ZLIB]):
        return len(content) > 0
    try:
        zlib.decompress(content)  # its checksum covers all
    except zlib.error:
        return False
    return True
