"""What an episode has come to so far."""

from dataclasses import dataclass

from rlottery.envs.environment import Step


@dataclass
class EpisodeTotals:
    """Undiscounted return, length and success of an episode so far.

    An episode is a success if any step is one. `success` is None as long as the task has not reported it.
    """

    total: float = 0.0
    length: int = 0
    success: bool | None = None

    def add(self, step: Step) -> None:
        """Add a step."""
        self.total += step.reward
        self.length += 1
        if step.success is not None:
            self.success = bool(self.success or step.success)
