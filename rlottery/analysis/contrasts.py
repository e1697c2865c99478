"""Differences between two arms, seed by seed, on the scale of the normalised score; for one task and pooled over tasks.

A normalised difference is mean(ticket - other) / mean(dense - untrained). Non-inferiority at a margin m is tested on
the values ticket - other + m (dense - untrained), one per seed, whose mean is above 0 exactly if the normalised
difference is above -m. So the estimated gain is not treated as known, and the bounds are those of a ratio
(Fieller 1954), which agree with the tests.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rlottery.analysis.arrays import NORMALISED_ROUNDING, FloatArray, mean_of, rounding_of
from rlottery.analysis.hypothesis_tests import TTest, paired_t, pooled_t, ratio_bounds, sign_flips
from rlottery.analysis.verdict import Contrast


@dataclass(frozen=True)
class Paired:
    """Differences and gains of one task, seed by seed.

    Attributes:
        against: the other arm.
        seeds: those that have ticket, other, dense and untrained.
        differences: ticket - other, in the unit of the metric; shape (seeds,).
        gains: dense - untrained, where untrained is the mean over all untrained agents of the task; shape (seeds,).
        rounding: what normalised differences may differ by and still be equal. It is larger than usual where the gain
            is small compared with the scores themselves, whose digits are limited.
    """

    against: str
    seeds: tuple[int, ...]
    differences: FloatArray
    gains: FloatArray
    rounding: float = NORMALISED_ROUNDING

    @property
    def gain(self) -> float:
        """The mean gain."""
        return mean_of(self.gains.tolist())

    @property
    def difference(self) -> float:
        """The mean difference on the scale of the normalised score."""
        return mean_of(self.differences.tolist()) / self.gain

    def beyond(self, difference: float) -> FloatArray:
        """The normalised differences minus a hypothetical mean; their mean is 0 if it is right. Shape (seeds,)."""
        return self.differences / self.gain - difference * (self.gains / self.gain)


def paired(
    against: str,
    ticket: Mapping[int, float],
    other: Mapping[int, float],
    dense: Mapping[int, float],
    untrained: Mapping[int, float],
) -> Paired | None:
    """The seeds that all four have. None where there are none, or where the dense agents gained nothing on them."""
    seeds = tuple(seed for seed in ticket if seed in other and seed in dense and seed in untrained)
    error = rounding_of(of[seed] for of in (ticket, other, dense, untrained) for seed in seeds)
    gains = [dense[seed] - untrained[seed] for seed in seeds]
    if not seeds or (gain := mean_of(gains)) <= error:
        return None
    rounding = max(NORMALISED_ROUNDING, error / gain)
    differences = np.array([ticket[seed] - other[seed] for seed in seeds], dtype=np.float64)
    differences[np.abs(differences) <= rounding * gain] = 0
    return Paired(against, seeds, differences, np.array(gains, dtype=np.float64), rounding)


def contrast(of: Paired, margin: float, level: float) -> Contrast:
    """All tests of one task's differences."""
    differences = {seed: float(value) for seed, value in zip(of.seeds, of.differences, strict=True)}
    if len(of.seeds) < 2:
        return Contrast(of.against, differences, of.difference, None, None, None, None, None, None, {})
    low, high = ratio_bounds(of.differences, of.gains, level)
    flips = sign_flips([of.beyond(difference) for difference in (-margin, 0.0, margin)], of.rounding)
    return Contrast(
        against=of.against,
        differences=differences,
        difference=of.difference,
        low=low,
        high=high,
        **_p_values(lambda difference: paired_t(of.beyond(difference), of.rounding), margin),
        sign_flip={
            "non_inferior": flips[0][0],
            "inferior": flips[0][1],
            "superior": flips[1][0],
            "equivalent": max(flips[0][0], flips[2][1]),
        },
    )


def pooled(of: Sequence[Paired], margin: float, level: float) -> Contrast:
    """The tests of the mean over tasks of their normalised differences, for at least two seeds on each task.

    Tasks have equal weights, and their spreads may differ.
    """
    low, high = pooled_bounds(of, level)
    p_values = _p_values(lambda difference: pooled_test(of, difference), margin)
    return Contrast(of[0].against, {}, pooled_difference(of), low, high, **p_values, sign_flip={})


def pooled_difference(of: Sequence[Paired]) -> float:
    """The mean over tasks of their normalised differences."""
    return float(np.mean([task.difference for task in of]))


def pooled_bounds(of: Sequence[Paired], level: float) -> tuple[float | None, float | None]:
    """One-sided bounds of the pooled difference, each at `level`, by inverting its test; of one task `ratio_bounds`.

    A bound more than 100 times the gain away is None.
    """
    if len(of) == 1:
        return ratio_bounds(of[0].differences, of[0].gains, level)
    from scipy.optimize import brentq

    def rejects(difference: float, side: str) -> float:
        return float(getattr(pooled_test(of, difference), side)) - level

    centre = pooled_difference(of)
    found: list[float | None] = []
    for side, sign in (("p_above", -1), ("p_below", 1)):
        reach = 0.01
        while rejects(centre + sign * reach, side) > 0 and reach < 100:
            reach *= 2
        beyond = rejects(centre + sign * reach, side) <= 0
        found.append(brentq(rejects, centre, centre + sign * reach, args=(side,), xtol=1e-10) if beyond else None)
    return found[0], found[1]


def pooled_test(of: Sequence[Paired], difference: float) -> TTest:
    """The t-test over tasks of the hypothesis that the pooled difference is this one."""
    return pooled_t([task.beyond(difference) for task in of], [task.rounding for task in of])


def _p_values(test: Callable[[float], TTest], margin: float) -> dict[str, float]:
    """The four p-values of a contrast, given the test of a hypothetical difference."""
    below, at, above = test(-margin), test(0.0), test(margin)
    return {
        "p_non_inferior": below.p_above,
        "p_inferior": below.p_below,
        "p_superior": at.p_above,
        "p_equivalent": max(below.p_above, above.p_below),
    }
