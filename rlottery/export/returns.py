"""What int8 weights cost: the mean returns of a policy with and without them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Returns:
    """Means over a run's evaluation episodes. `successes` is None if the task reports no success.

    Attributes:
        float32, int8: return with weights of 32-bit floats, and of 8-bit integers.
        successes: shares of the episodes, in the same order.
    """

    episodes: int
    float32: float
    int8: float
    successes: tuple[float, float] | None = None

    @property
    def about(self) -> dict[str, Any]:
        """As files record it."""
        told = {"evaluation_episodes": self.episodes, "return_float32": self.float32, "return_int8": self.int8}
        if self.successes is None:
            return told
        return told | dict(zip(("success_float32", "success_int8"), self.successes, strict=True))

    def __str__(self) -> str:
        mean = f"Mean return of {self.episodes:,} evaluation episode{'s' if self.episodes > 1 else ''}"
        lost = f"{self.int8:,.2f} with int8 weights, {self.float32:,.2f} with 32-bit floats"
        difference = round(self.int8 - self.float32, 2) + 0.0  # no negative zero
        return f"{mean}: {lost} (difference {difference:+,.2f}){self._success}."

    @property
    def _success(self) -> str:
        if self.successes is None:
            return ""
        before, after = self.successes
        return f"; success in {after:.0%} and {before:.0%}"
