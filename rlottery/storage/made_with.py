"""The versions, the processor and the kernels that runs were made with, compared. Bits may differ where they differ."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

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


def _plain(name: str, value: str) -> str:
    """A value without what doesn't change results: why kernels are off, and the flags that only workers have."""
    if name == "kernels":
        return value.partition(" (")[0]
    return " ".join(flag for flag in value.split() if flag not in _OWN_FLAGS) if name == "xla_flags" else value
