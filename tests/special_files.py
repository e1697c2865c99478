"""Pipes, sockets, devices, folders and links in the place of files: each gives one message, and nothing waits.

    uv run python -m tests.special_files

Every file of a small study (`tests.mutations`), and every other file that rlottery reads or writes by name, is replaced
by each kind of special file in turn. What reads or writes it must end in seconds, with a RlotteryError or an OSError
that its caller turns into one. Devices need root, and are skipped without it.
"""

import os
import shutil
import socket
import stat
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import rlottery
from rlottery.config import load_config
from rlottery.errors import RlotteryError
from rlottery.interop.read_agent import read_agent
from rlottery.interop.replay import read_replay
from rlottery.pruning.mask_file import read_mask
from rlottery.storage.disk import read_arrays, read_json, write_json
from rlottery.storage.locks import one_at_a_time
from rlottery.storage.metrics_log import MetricsLog, Position, read_evaluations
from tests.mutations import HangError, Study, _in_time, make_study, read_all


def _socket(path: Path) -> None:
    # By a relative name: the name of a socket has at most 107 bytes.
    before = Path.cwd()
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(path.name)
    finally:
        os.chdir(before)


def _device(number: tuple[int, int]) -> Callable[[Path], None]:
    return lambda path: os.mknod(path, 0o666 | stat.S_IFCHR, os.makedev(*number))


def _linked(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


KINDS: dict[str, Callable[[Path], None]] = {
    "pipe": os.mkfifo,
    "socket": _socket,
    "folder": Path.mkdir,
    "filled folder": lambda path: (path / "folder").mkdir(parents=True),
    "/dev/zero": _device((1, 5)),
    "/dev/full": _device((1, 7)),
    "/dev/tty": _device((5, 0)),
    "link to nothing": _linked("nothing"),
    "link to itself": lambda path: path.symlink_to(path.name),
    "link to /dev/zero": _linked("/dev/zero"),
    "link to a folder": _linked("/"),
}
READERS: dict[str, Callable[[Path], object]] = {
    "config.yaml": load_config,
    "mask.pkl": read_mask,
    "policy.npz": rlottery.load_agent,
    "agent.safetensors": read_arrays,
    "metrics.jsonl": read_evaluations,
    "agent.zip": read_agent,
    "replay.pkl": lambda path: read_replay(path, 3, 1, discrete=False),
    "values.json": lambda path: read_json(path, 100),
}
WRITERS: dict[str, Callable[[Path], object]] = {
    "metrics.jsonl": lambda path: MetricsLog(path, path.parent / "board").__exit__(None, None, None),
    "continued metrics.jsonl": lambda path: MetricsLog(path, path.parent / "board", Position(0, "")).__exit__(
        None, None, None
    ),
    "values.json": lambda path: write_json(path, {}),
    ".study.lock": lambda path: one_at_a_time(path).__enter__(),
}


def put(kind: str, path: Path) -> bool:
    """Put a special file in the place of a file. False if this user can't."""
    remove(path)
    try:
        KINDS[kind](path)
    except PermissionError:
        return False
    return True


def remove(path: Path) -> None:
    """Remove whatever is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def try_named(use: Callable[[Path], object], kind: str, path: Path) -> str:
    """Read or write a special file by its name. Returns "held", or "skipped"."""
    try:
        if not put(kind, path):
            return "skipped"
        with _in_time(), suppress(RlotteryError, OSError):
            use(path)
    finally:
        remove(path)
    return "held"


def try_of_study(study: Study, kind: str, path: Path) -> str:
    """Read a study in which a special file is in the place of one of its files."""
    content = path.read_bytes()
    try:
        if not put(kind, path):
            return "skipped"
        with _in_time():
            try:
                read_all(study, path)
            except RlotteryError as error:
                if "link" not in kind or "is a symbolic link" not in str(error):
                    raise
    finally:
        remove(path)
        path.write_bytes(content)
    return "held"


def tries(study: Study, folder: Path) -> dict[str, Callable[[], str]]:
    """Everything to try, by what it is."""
    found: dict[str, Callable[[], str]] = {}

    def add(what: str, attempt: Callable[..., str], *arguments: Any) -> None:
        found[what] = lambda: attempt(*arguments)

    for kind in KINDS:
        for task, uses in {"read": READERS, "write": WRITERS}.items():
            for name, use in uses.items():
                add(f"{task} {name}: {kind}", try_named, use, kind, folder / name)
        for path in sorted(path for path in study.root.rglob("*") if path.is_file()):
            add(f"{path.relative_to(study.root)}: {kind}", try_of_study, study, kind, path)
    return found


def main() -> int:
    counts: Counter[str] = Counter()
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        study = make_study(Path(folder, "study"))
        for what, attempt in tries(study, Path(folder)).items():
            try:
                counts[attempt()] += 1
            except (Exception, HangError) as error:
                counts["FAILED"] += 1
                place = error.__traceback__
                while place is not None and place.tb_next is not None:
                    place = place.tb_next
                where = f"{place.tb_frame.f_code.co_filename}:{place.tb_lineno}" if place else ""
                print(f"FAILED {what}: {type(error).__name__} at {where}: {str(error)[:200]!a}", flush=True)
    numbers = ", ".join(f"{number} {outcome}" for outcome, number in sorted(counts.items()))
    print(f"{counts.total()} tries: {numbers}, {time.monotonic() - began:.0f} s")
    return 1 if counts["FAILED"] else 0


if __name__ == "__main__":
    sys.exit(main())
