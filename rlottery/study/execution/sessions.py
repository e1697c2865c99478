"""Whether a run gets anywhere: how far it was each time that a node began with it.

A node that is lost, or a time limit that strikes, costs a run nothing but time, so it is started again. A run that is
as far as before each time would be started for ever.
"""

import contextlib
import json
import shutil
import signal
from collections.abc import Sequence
from itertools import takewhile
from pathlib import Path
from typing import NamedTuple

from rlottery.errors import RlotteryError
from rlottery.storage.checkpoint_record import checkpoint_to_continue
from rlottery.storage.paths import RunFiles, Store, UntrainedFiles
from rlottery.storage.untrained_record import read_untrained
from rlottery.study.execution.allocations import append_line

LIMIT_REACHED = signal.SIGUSR2
"""What a node is sent before SIGTERM, if it has to stop because its allocation reaches its time limit."""
_FOLDER = "sessions"
MOST_STOPPED = 2
"""How often a run may reach its time limit without progress."""
MOST_LOST = 5
"""How often its node may be lost, or stopped before its time limit, without progress."""


class Session(NamedTuple):
    """A node's work on a run: how far the run was, and whether the node saved the work at its time limit."""

    mark: str
    stopped: bool


def begin_session(store: Store, files: RunFiles) -> str:
    """Record that a node begins with a run. Returns why it must not; "" if it may."""
    if why := why_stuck(store, files):
        return why
    append_line(_path(store, files), [mark(files)])
    return ""


def stop_session(store: Store, files: RunFiles) -> str:
    """Record that a node has saved the work on a run at its time limit. Returns why it must not begin again; "" if it
    may."""
    append_line(_path(store, files), [])
    return why_stuck(store, files)


def forget_sessions(store: Store) -> None:
    """Let every run begin again: a new command may come with a longer limit."""
    shutil.rmtree(store.cluster / _FOLDER, ignore_errors=True)


def why_stuck(store: Store, files: RunFiles) -> str:
    """Why the run gets nowhere; "" if it does."""
    now = mark(files)
    same = list(takewhile(lambda session: session.mark == now, reversed(_sessions(_path(store, files)))))
    stopped = sum(session.stopped for session in same)
    if stopped >= MOST_STOPPED:
        return (
            f"Its allocation reached its time limit {stopped} times without progress: the limit is too short to get "
            "past the start of the run. Raise `time` in the profile, or lower checkpoint_seconds in the study."
        )
    if len(same) - stopped >= MOST_LOST:
        return (
            f"Its allocation was lost {len(same) - stopped} times without progress: nodes failed, or the run needs "
            "more than the allocation has (`memory` in the profile)."
        )
    return ""


def mark(files: RunFiles) -> str:
    """How far a run is, as far as its files say without reading all of them."""
    if isinstance(files, UntrainedFiles):
        with contextlib.suppress(RlotteryError):
            found = read_untrained(files)
            return f"{found.done} policies" if found else "nothing"
        return "damaged"
    steps = []
    for place in (files, files.aside):
        with contextlib.suppress(RlotteryError, OSError):
            checkpoint = checkpoint_to_continue(place)
            steps.append(checkpoint.record["env_steps"] if checkpoint else 0)
    return f"steps {steps}, {'a' if files.mask.exists() else 'no'} mask, {files.manifest.exists()}"


def _sessions(path: Path) -> Sequence[Session]:
    found: list[Session] = []
    with contextlib.suppress(FileNotFoundError):
        for line in path.read_text(errors="replace").split("\n"):
            with contextlib.suppress(ValueError):
                match json.loads(line) if line else None:
                    case [str(where)]:
                        found.append(Session(where, stopped=False))
                    case [] if found:
                        found[-1] = found[-1]._replace(stopped=True)
    return found


def _path(store: Store, files: RunFiles) -> Path:
    """The record of a run's sessions, in the same place below its folder as its lock."""
    return store.cluster / _FOLDER / files.lock.relative_to(store.locks).with_suffix(".jsonl")
