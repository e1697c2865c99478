"""Differences between two arms, seed by seed, as shares of what the dense agents gained; alone and pooled over tasks.

A share is mean(ticket - other) / mean(dense - untrained). "Not worse by the margin m" is tested on the per-seed values
ticket - other + m (dense - untrained), whose mean is above 0 just when the share is above -m: no estimate of the gain
is taken for the truth, and the bounds are those of a ratio (Fieller 1954), which agree with the tests.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlottery.analysis.arrays import FloatArray
from rlottery.analysis.hypothesis_tests import TTest, paired_t, pooled_t, ratio_bounds, sign_flip
from rlottery.analysis.verdict import Contrast

_DIGITS = 9
"""Equal scores are means whose last bits may differ: differences are rounded to this many digits of the gain."""


@dataclass(frozen=True)
class Paired:
    """Per-seed differences and gains of one task.

    Attributes:
        against: the other arm.
        seeds: those that have ticket, other, dense and untrained.
        differences: (seeds,) ticket - other, in the unit of the metric.
        gains: (seeds,) dense - untrained, the latter being the mean of all untrained policies of the task.
    """

    against: str
    seeds: tuple[int, ...]
    differences: FloatArray
    gains: FloatArray

    @property
    def share(self) -> float:
        """The mean difference as a share of the mean gain."""
        return float(self.differences.mean() / self.gains.mean())

    def beyond(self, share: float) -> FloatArray:
        """(seeds,) differences - share x gains, in shares of the mean gain: their mean is 0 at that share."""
        return (self.differences - share * self.gains) / float(self.gains.mean())


def paired(
    against: str,
    ticket: Mapping[int, float],
    other: Mapping[int, float],
    dense: Mapping[int, float],
    untrained: Mapping[int, float],
) -> Paired | None:
    """The seeds that all four have; None where there is none, or where the dense agents gained nothing on them."""
    seeds = tuple(seed for seed in ticket if seed in other and seed in dense and seed in untrained)
    gains = np.array([dense[seed] - untrained[seed] for seed in seeds], dtype=np.float64)
    if not seeds or gains.mean() <= 0:
        return None
    unit = 10.0 ** (math.floor(math.log10(float(gains.mean()))) - _DIGITS)
    differences = np.array([ticket[seed] - other[seed] for seed in seeds], dtype=np.float64)
    return Paired(against, seeds, np.round(differences / unit) * unit, gains)


def contrast(of: Paired, margin: float, level: float) -> Contrast:
    """The tests of one task's differences."""
    differences = {seed: float(value) for seed, value in zip(of.seeds, of.differences, strict=True)}
    if len(of.seeds) < 2:
        return Contrast(of.against, differences, of.share, None, None, None, None, None, None, {})
    low, high = ratio_bounds(of.differences, of.gains, level)
    flips = [sign_flip(of.beyond(share)) for share in (-margin, 0.0, margin)]
    return Contrast(
        against=of.against,
        differences=differences,
        share=of.share,
        low=low,
        high=high,
        **_p_values(lambda share: paired_t(of.beyond(share)), margin),
        flipped={
            "not_worse": flips[0][0],
            "worse": flips[0][1],
            "above": flips[1][0],
            "equal": max(flips[0][0], flips[2][1]),
        },
    )


@dataclass(frozen=True)
class Pooled:
    """The mean over tasks of their shares, and its tests; fields as in `Contrast`."""

    share: float
    low: float | None
    high: float | None
    p_not_worse: float
    p_worse: float
    p_above: float
    p_equal: float


def pooled(of: Sequence[Paired], margin: float, level: float) -> Pooled:
    """The same over tasks, each with at least two seeds: tasks weigh alike, and their spreads may differ."""

    low, high = pooled_bounds(of, level)
    return Pooled(pooled_share(of), low, high, **_p_values(lambda share: pooled_test(of, share), margin))


def pooled_share(of: Sequence[Paired]) -> float:
    """The mean over tasks of their shares."""
    return float(np.mean([task.share for task in of]))


def pooled_bounds(of: Sequence[Paired], level: float) -> tuple[float | None, float | None]:
    """One-sided bounds of the pooled share, each at `level`, by inverting its test; None beyond 100 times dense."""
    from scipy.optimize import brentq

    def rejects(share: float, side: str) -> float:
        return float(getattr(pooled_test(of, share), side)) - level

    centre = pooled_share(of)
    found: list[float | None] = []
    for side, sign in (("p_above", -1), ("p_below", 1)):
        reach = 0.01
        while rejects(centre + sign * reach, side) > 0 and reach < 100:
            reach *= 2
        beyond = rejects(centre + sign * reach, side) <= 0
        found.append(brentq(rejects, centre, centre + sign * reach, args=(side,), xtol=1e-10) if beyond else None)
    return found[0], found[1]


def pooled_test(of: Sequence[Paired], share: float) -> TTest:
    """The t-test over tasks of "the pooled share is this one"."""
    return pooled_t([task.beyond(share) for task in of])


def _p_values(test: Callable[[float], TTest], margin: float) -> dict[str, float]:
    """The four p-values of a contrast, from the test of "the share is this one"."""
    below, at, above = test(-margin), test(0.0), test(margin)
    return {
        "p_not_worse": below.p_above,
        "p_worse": below.p_below,
        "p_above": at.p_above,
        "p_equal": max(below.p_above, above.p_below),
    }
