"""What the training loop reports between two rows of metrics: means over updates, and over training episodes."""

import math
import time

from rlottery.envs import EpisodeTotals, Step
from rlottery.storage.checkpoint_record import SavedEpisodes, SavedLosses
from rlottery.storage.metrics_log import MetricsRow

EPISODE_INTERVAL = 100
"""Fewest environment steps between two rows of training episodes: short episodes share a row."""


class LossMeter:
    """Means of the updates' metrics since the last row."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = {}
        self._updates = 0
        self._last: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._began = time.perf_counter()

    def add(self, metrics: dict[str, float]) -> None:
        """Add the metrics of one update."""
        self._before, self._last = self._last, metrics
        for name, value in metrics.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._updates += 1

    def row(self, step: int) -> MetricsRow:
        """The means since the last call, and updates per second over that time, which includes evaluations."""
        now = time.perf_counter()
        means = {name: total / self._updates for name, total in self._sums.items()}
        rate = self._updates / (now - self._began)
        self._sums, self._updates, self._began = {}, 0, now
        return {"kind": "losses", "env_steps": step, **means, "updates_per_second": rate}

    @property
    def updates(self) -> int:
        """Updates since the last row."""
        return self._updates

    @property
    def last_finite(self) -> dict[str, float]:
        """The metrics of the last update, or of the update before if those are not finite."""
        return self._last if all(map(math.isfinite, self._last.values())) else self._before

    def save(self) -> SavedLosses:
        """The meter's state in plain JSON types."""
        elapsed = time.perf_counter() - self._began
        return {"sums": self._sums, "updates": self._updates, "last": self._last, "seconds": elapsed}

    @classmethod
    def restore(cls, saved: SavedLosses) -> "LossMeter":
        """The inverse of `save`. The time continues from the saved one."""
        meter = cls()
        meter._sums, meter._last, meter._updates = dict(saved["sums"]), dict(saved["last"]), saved["updates"]
        meter._began -= saved["seconds"]
        return meter


class EpisodeMeter:
    """Return, length and success of the current training episodes, and means of the episodes since the last row."""

    def __init__(self) -> None:
        self._ended: dict[str, float] = {}
        self._episodes = 0
        self._wrote_at = 0
        self._current: dict[int, EpisodeTotals] = {}

    def add(self, outcome: Step, environment: int = 0) -> None:
        """Add one step of the current episode of an environment, by its number."""
        current = self._current.setdefault(environment, EpisodeTotals())
        current.add(outcome)
        if not outcome.over:
            return
        totals = {"return": current.total, "length": float(current.length)}
        if current.success is not None:
            totals["success"] = float(current.success)
        for name, value in totals.items():
            self._ended[name] = self._ended.get(name, 0.0) + value
        self._episodes += 1
        del self._current[environment]

    def due(self, step: int, *, last: bool) -> bool:
        """Whether to write a row: an episode has ended, and either enough steps have passed or this is the last one."""
        return self._episodes > 0 and (last or step - self._wrote_at >= EPISODE_INTERVAL)

    def row(self, step: int) -> MetricsRow:
        """Means over the episodes that ended since the last row, and their number."""
        means = {name: total / self._episodes for name, total in self._ended.items()}
        episodes = self._episodes
        self._ended, self._episodes, self._wrote_at = {}, 0, step
        return {"kind": "episode", "env_steps": step, **means, "episodes": episodes}

    def save(self) -> SavedEpisodes:
        """The meter's state without the current episodes, in plain JSON types."""
        return {"ended": self._ended, "episodes": self._episodes, "wrote_at": self._wrote_at}

    @classmethod
    def restore(cls, saved: SavedEpisodes) -> "EpisodeMeter":
        """The inverse of `save`."""
        meter = cls()
        meter._ended, meter._episodes, meter._wrote_at = dict(saved["ended"]), saved["episodes"], saved["wrote_at"]
        return meter
