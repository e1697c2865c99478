"""What a run was made with, so that a difference elsewhere can be explained."""

import contextlib
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import rlottery

PACKAGES = ("jax", "jaxlib", "optax", "numpy", "gymnasium", "mujoco", "metaworld")


def versions() -> dict[str, str]:
    """Versions of rlottery, Python and the packages that results depend on; the machine's kind; the commit."""
    found = {}
    for name in PACKAGES:
        with contextlib.suppress(PackageNotFoundError):  # Meta-World may be left out by those who don't use it.
            found[name] = version(name)
    found |= {"rlottery": rlottery.__version__, "python": platform.python_version()}
    return found | {"machine": f"{platform.system()} {platform.machine()}", "commit": _commit()}


def _commit() -> str:
    """The commit of the checkout that rlottery runs from, or "" if it is installed."""
    root = Path(rlottery.__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        shown = subprocess.run(
            ["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True, timeout=10
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return shown.stdout.strip()
