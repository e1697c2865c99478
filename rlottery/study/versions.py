"""The versions and the machine that a run was made with. They explain differences between machines."""

import contextlib
import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from rlottery.agents.kernels.library import find
from rlottery.processes.children import child_environment
from rlottery.storage.made_with import PACKAGES
from rlottery.version import __version__

_VECTOR_FLAGS = ("avx2", "fma", "avx512f", "avx512_bf16", "amx_tile", "asimd", "sve")
"""Features of a processor that change the order in which XLA adds numbers."""
_PROCESSORS = Path("/proc/cpuinfo")
_PLAIN_FLAG = re.compile(r"--xla_[a-z0-9_]+(=[A-Za-z0-9_.,-]*)?")


def versions() -> dict[str, str]:
    """Versions of rlottery, Python and the packages that results depend on; processor, kernels, XLA flags, commit.

    No other environment variables are recorded, because they may contain secrets.
    """
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # Meta-World is not always installed.
            found[name] = version(name)
    found |= {"rlottery": __version__, "python": platform.python_version()}
    found |= {"machine": f"{platform.system()} {platform.machine()}", "commit": _commit()}
    found |= {"kernels": str(find()), "xla_flags": xla_flags(os.environ.get("XLA_FLAGS", ""))}
    return found | processor()


def worker_versions(device: str) -> dict[str, str]:
    """The versions that a worker of a study on this device has, as `versions` there would say."""
    return versions() | {"xla_flags": xla_flags(child_environment(device)["XLA_FLAGS"])}


def xla_flags(text: str) -> str:
    """The XLA flags whose values are plain words or numbers. Others, such as paths, are dropped."""
    return " ".join(flag for flag in text.split() if _PLAIN_FLAG.fullmatch(flag))


def processor_fields() -> dict[str, str]:
    """What Linux tells about a processor, such as "model name"; {} on other systems."""
    try:
        lines = _PROCESSORS.read_text().splitlines()
    except OSError:
        return {}
    return {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in lines)}


def processor() -> dict[str, str]:
    """The processor's name and its vector features, where the system reports them."""
    if not (fields := processor_fields()):
        return {"processor": platform.processor()}
    known = set((fields.get("flags") or fields.get("Features") or "").split())
    vectors = " ".join(flag for flag in _VECTOR_FLAGS if flag in known)
    return {"processor": fields.get("model name", platform.processor()), "vectors": vectors}


def _commit() -> str:
    """The commit of the checkout that rlottery runs from, or "" if it runs from an installation."""
    root = Path(__file__).parents[2]
    if not (root / ".git").exists():
        return ""
    try:
        shown = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return shown.stdout.strip()
