"""How the file system of a folder is mounted, and whether other machines may see it."""

import re
from pathlib import Path
from typing import NamedTuple

OF_ONE_MACHINE = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "bcachefs", "apfs", "hfs"),
    *("tmpfs", "ramfs", "devtmpfs", "overlay"),
)
"""File systems that no other machine sees, unless this one exports them."""
_ESCAPED = re.compile(r"\\([0-7]{3})")


class Mount(NamedTuple):
    """How a folder's file system is mounted: its type, what is mounted, where, and the options."""

    kind: str
    source: str
    point: str
    options: frozenset[str]


def mount_of(folder: Path, table: Path = Path("/proc/self/mountinfo")) -> Mount | None:
    """How the file system of a folder is mounted; None if the system doesn't say (macOS)."""
    try:
        lines = table.read_text(errors="replace").splitlines()
    except OSError:
        return None
    path, found = folder.resolve(), None
    for line in lines:
        before, _, after = line.partition(" - ")
        fields, kind_and_source = before.split(), after.split()
        if len(fields) < 6 or len(kind_and_source) < 2:
            continue
        point = _ESCAPED.sub(lambda match: chr(int(match[1], 8)), fields[4])
        # Of several at one place, the last hides those before.
        if path.is_relative_to(point) and (found is None or len(point) >= len(found.point)):
            options = {*fields[5].split(","), *(kind_and_source[2].split(",") if len(kind_and_source) > 2 else ())}
            found = Mount(kind_and_source[0], kind_and_source[1], point, frozenset(options))
    return found
