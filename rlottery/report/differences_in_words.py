"""Differences between arms as sentences have them: in the unit of the metric first, then normalised."""

from collections.abc import Mapping
from dataclasses import dataclass

from rlottery.analysis.digits import Digits, digits_for
from rlottery.analysis.runs import Metric
from rlottery.analysis.verdict import Difference, Measure
from rlottery.report.wording import METRIC_NAMES, interval_name


def raw_digits(of: Difference, metric: Metric) -> Digits:
    """The format of a difference and its bounds in the unit of the metric."""
    values = [value for value in (of.raw_difference, of.raw_low, of.raw_high) if value is not None]
    apart = [of.raw_high - of.raw_low] if of.raw_low is not None and of.raw_high is not None else []
    return digits_for(values, metric, apart or [values[0]] if values else ())


def signed(value: float) -> str:
    """A normalised difference: ``+0.25``; zero has no sign."""
    return Digits(2)(value, "+")


def difference_text(difference: float, low: float | None, high: float | None, level: float) -> str:
    """A normalised difference with its interval: ``+0.30 (90 % interval +0.20 to +0.40)``."""
    if low is None or high is None:
        return f"{signed(difference)} (no interval)"
    return f"{signed(difference)} ({interval_name(level)} {signed(low)} to {signed(high)})"


Placed = tuple[Difference, str | None, Measure | None]
"""A difference, its task (None over tasks, where there is no unit), and what was compared."""


@dataclass(frozen=True)
class Wording:
    """How the differences of a study are written.

    Attributes:
        metrics: task -> its metric.
        level: of the tests; it names the intervals.
    """

    metrics: Mapping[str, Metric]
    level: float

    def signed(self, of: Placed) -> str:
        """``+12 [90 % interval -20 to +44] in return; +0.01 [-0.02 to +0.04] in normalised score``."""
        return "; ".join(f"{number} in {unit}" for number, unit in self._parts(of, sign="+"))

    def by(self, of: Placed) -> str:
        """``by 1,251 [90 % interval 964 to 1,538] in return (0.96 [0.74 to 1.18] in normalised score)``.

        A difference below 0 is turned around: a sentence says by how much an arm is worse.
        """
        first, *more = (f"{number} in {unit}" for number, unit in self._parts(of, sign=""))
        return " ".join([f"by {first}", *(f"({part})" for part in more)])

    def first(self, of: Placed) -> tuple[str, str]:
        """The difference in the unit of the metric, with its sign, and the unit; the normalised one over tasks."""
        return self._parts(of, sign="+")[0]

    def once(self, sentence: str) -> str:
        """A sentence in which only the first interval says of which kind it is."""
        first, kind, rest = sentence.partition(f"[{interval_name(self.level)} ")
        return first + kind + rest.replace(kind, "[") if kind else sentence

    def _parts(self, of: Placed, *, sign: str) -> list[tuple[str, str]]:
        """The difference in the unit of the metric, and the normalised one; each with its unit."""
        difference, task, measure = of
        parts = []
        if difference.raw_difference is not None and task is not None:
            metric = self.metrics.get(task, "return")
            bounds = _turned(not sign, difference.raw_difference, difference.raw_low, difference.raw_high)
            over = " (mean over training)" if measure == "area" else ""
            number = self._bounded(*bounds, raw_digits(difference, metric), sign)
            parts.append((number, f"{METRIC_NAMES[metric]}{over}"))
        if difference.difference is not None:
            bounds = _turned(not sign, difference.difference, difference.low, difference.high)
            parts.append((self._bounded(*bounds, Digits(2), sign), "normalised score"))
        return parts

    def _bounded(self, value: float, low: float | None, high: float | None, digits: Digits, sign: str) -> str:
        if low is None or high is None:
            return digits(value, sign)
        return f"{digits(value, sign)} [{interval_name(self.level)} {digits(low, sign)} to {digits(high, sign)}]"


def _turned(
    turned: bool, value: float, low: float | None, high: float | None
) -> tuple[float, float | None, float | None]:
    """The difference; with `turned` that of the arm that is ahead."""
    if not turned or value >= 0:
        return value, low, high
    return -value, None if high is None else -high, None if low is None else -low
