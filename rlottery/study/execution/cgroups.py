"""The limits that control groups set on this process: by containers, Slurm, systemd.

A process is in one group of each hierarchy, and the limits of all groups above that one hold too. Version 2 has one
hierarchy; version 1 has one for each controller. A machine may have both.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_UNLIMITED = 2.0**60
"""Version 1 has no word for unlimited memory, and a large number of bytes stands for it."""


class Limit(NamedTuple):
    """A limit, in cores or bytes, and the file that sets it."""

    value: float
    file: str


def cpu_quota(root: Path = Path("/")) -> Limit | None:
    """The cores that this process may keep busy on average, 2.5 for example; None if no group limits them."""
    quotas = []
    for group in _groups("cpu", root):
        for name in ("cpu.max", "cpu.cfs_quota_us"):
            quota = _numbers(group / name)
            period = quota[1:] or _numbers(group / "cpu.cfs_period_us")
            if quota and period and 0 < quota[0] < math.inf and period[0] > 0:
                quotas.append(Limit(quota[0] / period[0], _named(group / name, root)))
    return min(quotas, default=None)


def memory_left(root: Path = Path("/")) -> Limit | None:
    """The bytes that this process and others in its groups may still use; None if no group limits them.

    Cached files that the kernel drops when memory is short count as unused.
    """
    left = []
    for group in _groups("memory", root):
        used = sum(_numbers(group / "memory.current") or _numbers(group / "memory.usage_in_bytes"))
        used -= _droppable(group / "memory.stat")
        for name in ("memory.max", "memory.high", "memory.limit_in_bytes"):
            limit = _numbers(group / name)
            if limit and limit[0] < _UNLIMITED:
                left.append(Limit(max(0.0, limit[0] - max(0.0, used)), _named(group / name, root)))
    return min(left, default=None)


def _groups(controller: str, root: Path) -> Iterator[Path]:
    """The folders of this process's groups that may limit `controller`, each followed by those above it."""
    mounts = dict(_mounts(root))
    for line in _lines(root / "proc/self/cgroup"):
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if controllers and controller not in controllers.split(","):
            continue
        mount = mounts.get(controller if controllers else "")
        if mount is None:
            continue
        top, shown = mount
        # In a container, the group's path may be that on the host, of which only `shown` and below are mounted.
        below = path.removeprefix(shown.rstrip("/")) if f"{path}/".startswith(f"{shown.rstrip('/')}/") else path
        group = top / below.lstrip("/")
        if ".." in Path(below).parts or not group.is_dir():
            group = top
        yield from (folder for folder in (group, *group.parents) if folder.is_relative_to(top))


def _mounts(root: Path) -> Iterator[tuple[str, tuple[Path, str]]]:
    """Controller, or "" for version 2, with the folder where its groups are, and the group that is at its top."""
    for line in _lines(root / "proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        fields, kind = before.split(), after.split()
        if len(fields) < 5 or len(kind) < 3 or kind[0] not in ("cgroup", "cgroup2"):
            continue
        shown, place = (re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field) for field in fields[3:5])
        for name in [""] if kind[0] == "cgroup2" else kind[2].split(","):
            yield name, (root / place.lstrip("/"), shown)


def _numbers(file: Path) -> list[float]:
    """The numbers in a file, infinity for "max"; [] if there is no such file or it has something else."""
    try:
        return [math.inf if word == "max" else float(word) for line in _lines(file) for word in line.split()]
    except ValueError:
        return []


def _droppable(stat: Path) -> float:
    """Bytes of cached files that were not used lately: of the whole group in version 1 (total_...) and version 2."""
    found = dict(line.split(maxsplit=1) for line in _lines(stat) if " " in line)
    with contextlib.suppress(ValueError):
        return float(found.get("total_inactive_file") or found.get("inactive_file") or 0.0)
    return 0.0


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text(errors="surrogateescape").splitlines()
    except OSError:
        return []


def _named(file: Path, root: Path) -> str:
    return f"/{file.relative_to(root)}"
