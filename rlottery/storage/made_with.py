"""The versions, the processor and the kernels that runs were made with, compared. Bits may differ where they differ."""

import os
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from rlottery.storage.paths import DENSE
from rlottery.storage.trial_record import CODE_OF

Versions = Mapping[str, str]
"""What `study.versions.versions` returns."""

PACKAGES = ("jax", "jaxlib", "optax", "numpy", "gymnasium", "mujoco", "metaworld")
"""The packages that results depend on."""
COMPARED = (*PACKAGES, "machine", "processor", "vectors", "kernels", "xla_flags")
"""What counts as a change. No number of a run depends on Python's version, and a change of rlottery that changes
results raises a version of the fingerprint."""
_OWN_FLAGS = frozenset({"--xla_cpu_multi_thread_eigen=false"})
"""XLA flags that rlottery sets itself, in workers alone."""
_MOST_NAMED = 3


class MadeWith(NamedTuple):
    """What a run was made with, as its manifest says.

    Attributes:
        versions: those of its last session, or of the rlottery that wrote no sessions.
        sessions: those of each session that has them.
    """

    seed: int
    arm: str
    versions: Versions
    sessions: Sequence[Versions] = ()


def made_with(seed: int, arm: str, record: Mapping[str, Any]) -> MadeWith:
    """What a run's manifest, or the record of its newest checkpoint, says about its versions."""
    sessions = [session["versions"] for session in record.get("sittings", []) if "versions" in session]
    return MadeWith(seed, arm, record.get("versions") or (sessions[-1] if sessions else {}), sessions)


def changes(then: Versions, now: Versions) -> tuple[str, ...]:
    """What differs, such as ``jax from 0.9.2 to 0.10.2``. What only one of the two records is not compared."""
    codes = [name for name in then if name.startswith(CODE_OF)]
    both = [name for name in (*COMPARED, *codes) if name in then and name in now]
    pairs = [(name, _plain(name, then[name]), _plain(name, now[name])) for name in both]
    return tuple(
        f"{name} from {before or 'none'} to {after or 'none'}" for name, before, after in pairs if before != after
    )


def session_changes(sessions: Sequence[Versions]) -> tuple[str, ...]:
    """What changed from one session of a run to the next, in order."""
    found = [change for then, now in pairwise(sessions) for change in changes(then, now)]
    return tuple(dict.fromkeys(found))


def change_lines(task: str, runs: Iterable[MadeWith]) -> list[str]:
    """A line for each change of versions within runs of a task, and between dense agents and the runs of their seed."""
    runs = list(runs)
    dense = {run.seed: _without_code(run.versions) for run in runs if run.arm == DENSE}
    within: dict[tuple[str, ...], list[str]] = {}
    between: dict[tuple[str, ...], list[str]] = {}
    for run in runs:
        label = f"seed {run.seed} {run.arm}"
        if found := session_changes([_without_code(versions) for versions in run.sessions]):
            within.setdefault(found, []).append(label)
        if found := changes(dense.get(run.seed, {}), run.versions):
            between.setdefault(found, []).append(label)
    return [
        f"On {task}, {count(labels, 'run')} continued with other versions than before: {', '.join(found)} "
        f"({named(labels)}). Their last digits may depend on where they were interrupted."
        for found, labels in within.items()
    ] + [
        f"On {task}, {count(labels, 'run')} and the dense agents of the same seeds were made with different versions: "
        f"{', '.join(found)} ({named(labels)}). Differences between their scores may come from that."
        for found, labels in between.items()
    ]


def _without_code(versions: Versions) -> Versions:
    """Reports have their own line about tasks whose code has changed."""
    return {name: value for name, value in versions.items() if name in COMPARED}


def named(labels: Sequence[str]) -> str:
    """The first labels, and how many more there are."""
    more = f" and {len(labels) - _MOST_NAMED} more" if len(labels) > _MOST_NAMED else ""
    return f"{', '.join(labels[:_MOST_NAMED])}{more}"


def some_folders(folders: Sequence[Path]) -> str:
    """The first folders, and how many more there are and below which folder. "" if there are none."""
    if len(folders) <= _MOST_NAMED:
        return " and ".join(map(str, folders))
    return f"{named(list(map(str, folders)))} below {os.path.commonpath(folders)}"


def count(labels: Sequence[str], noun: str) -> str:
    """``1 run``, ``3 runs``."""
    return f"{len(labels)} {noun}{'s' * (len(labels) != 1)}"


def _plain(name: str, value: str) -> str:
    """A value without what doesn't change results: why kernels are off, and the flags that only workers have."""
    if name == "kernels":
        return value.partition(" (")[0]
    return " ".join(flag for flag in value.split() if flag not in _OWN_FLAGS) if name == "xla_flags" else value
