"""A recorder for the training loop that keeps what it is given."""

from collections.abc import Callable, Iterator

from rlottery.storage.metrics_log import MetricsRow
from rlottery.storage.progress import Phase
from rlottery.training.loop import Loop


class Rows:
    """Keeps the rows of metrics and the phases; `tick` is called after each environment step and update."""

    def __init__(self, tick: Callable[[int], object] = lambda step: None) -> None:
        self.rows: list[MetricsRow] = []
        self.phases: list[Phase | None] = []
        self.tick = tick

    def write(self, row: MetricsRow) -> None:
        self.rows.append(row)

    def enter(self, phase: Phase | None) -> None:
        self.phases.append(phase)


def to_the_end(training: Iterator[Loop], between_episodes: Callable[[Loop], object] = lambda loop: None) -> None:
    """Train to the last step; `between_episodes` is called wherever training can be stopped."""
    for loop in training:
        between_episodes(loop)
