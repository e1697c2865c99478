"""A run as trackers see it: what it is called, where its metrics are, and its settings."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from rlottery.storage.paths import RunFiles


@dataclass(frozen=True)
class TrackedRun:
    """A run whose metrics are sent.

    Attributes:
        folder: of its files.
        study, task, seed, arm: which run it is.
        settings: everything that it is trained with, in plain JSON types. A tracker shows it as the run's config.
        made_from: a digest of what its results depend on. A run with another is another run, also in the same folder.
    """

    folder: str
    study: str
    task: str
    seed: int
    arm: str
    settings: Mapping[str, Any]
    made_from: str

    @property
    def files(self) -> RunFiles:
        return RunFiles(Path(self.folder))

    @property
    def name(self) -> str:
        """``Pendulum-v1 seed 0 magnitude-80``."""
        return f"{self.task} seed {self.seed} {self.arm}"

    @property
    def group(self) -> str:
        """What its name has in common with those of the other seeds."""
        return f"{self.task} {self.arm}"

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Self:
        return cls(**plain)


def flat(settings: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings by dotted names: ``{"sac": {"discount": 0.99}}`` -> ``{"sac.discount": 0.99}``."""
    found: dict[str, Any] = {}
    for name, value in settings.items():
        if isinstance(value, Mapping):
            found |= flat(value, f"{prefix}{name}.")
        else:
            found[f"{prefix}{name}"] = value
    return found
