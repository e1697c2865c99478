"""The user's cache folder, and what identifies this processor: cached results of one may not fit another."""

import contextlib
import os
import platform
from pathlib import Path

_FEATURES = ("flags", "Features")
_MODEL = ("vendor_id", "cpu family", "model", "model name", "stepping", "CPU implementer", "CPU part", "CPU variant")


def user_cache_folder() -> Path:
    """The folder for results that are cheap to lose; not absolute if there is none, because the user has no home."""
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path(os.path.expanduser("~/.cache"))) / "rlottery"


def processor_features() -> str:
    """The features of this processor if the system lists them, otherwise its name."""
    return next(iter(_lines(_FEATURES)), f"{platform.machine()} {platform.processor()}")


def processor_identity() -> str:
    """All that a compiler for this very processor may depend on: its features, its model, and those of other cores.

    Where the system doesn't list them, the machine's name stands for them.
    """
    return "\n".join(_lines((*_FEATURES, *_MODEL))) or f"{platform.machine()} {platform.processor()} {platform.node()}"


def _lines(names: tuple[str, ...]) -> list[str]:
    """What /proc/cpuinfo lists under these names, each value once."""
    found: dict[str, None] = {}
    with contextlib.suppress(OSError), Path("/proc/cpuinfo").open() as lines:
        for line in lines:
            name, _, value = line.partition(":")
            if name.strip() in names:
                found[value.strip()] = None
    return list(found)
