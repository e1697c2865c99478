"""Differences between arms, as linear forms of their mean scores: on the scale of the normalised score, with tests.

Runs of different arms are independent samples: they share the initial weights of a seed, but these say next to nothing
about the final score. A difference A is a sum of mean scores, each with a sign, such as mean(ticket) - mean(control),
and the gain is mean(dense) - mean(untrained). That the normalised difference A / gain is above d is tested on
L(d) = A - d gain: a linear form of means of independent samples, whose variance is the sum of their variances. So the
estimated gain is not treated as known, and the bounds of A / gain are all d that the test doesn't reject.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from rlottery.analysis.arrays import (
    NORMALISED_ROUNDING,
    ROUNDING,
    FloatArray,
    checked,
    exponent_of,
    mean_of,
    rounding_of,
    scaled,
)
from rlottery.storage.paths import DENSE

FARTHEST_BOUND = 100.0
"""If a test doesn't reject a normalised difference that is as far from the estimate as this, there is no bound."""

Bounds = tuple[float | None, float | None]


class Sample(NamedTuple):
    """The scores of one arm, or of untrained policies, in a linear form.

    Attributes:
        weight: of its mean in the difference.
        on_gain: of its mean in the gain: 1 for dense, -1 for untrained, else 0.
        n: number of runs. With a single one, the variance is not known.
        mean, variance: of its runs (with n - 1), relative to a reference score and in units of a power of two.
    """

    weight: float
    on_gain: float
    n: int
    mean: float
    variance: float


class Hypothesis(NamedTuple):
    """A one-sided claim about a normalised difference: that it is above `at`, or below it if `sign` is -1."""

    at: float
    sign: int


class WelchTest(NamedTuple):
    """A test of a linear form of means of independent samples with unequal variances, one-sided both ways.

    Attributes:
        estimate: the value of the form; error: its standard error; df: degrees of freedom.
        p_above: p-value against "it is 0 or less"; small if the form is above 0.
        p_below: p-value against "it is 0 or more".
    """

    estimate: float
    error: float
    df: float
    p_above: float
    p_below: float


@dataclass(frozen=True)
class LinearForm:
    """A difference between arms on one task, and the gain of its dense agents if that can serve as a scale.

    Attributes:
        runs: arm -> number of its runs, for the arms of the difference.
        samples: those arms, then dense and untrained where there is a scale and they are not among them.
        exponent: scores were divided by 2**exponent.
        gain: of the dense agents, in that unit; None without a scale.
        rounding: what a form may differ from 0 by and still be 0, in that unit.
    """

    runs: Mapping[str, int]
    samples: tuple[Sample, ...]
    exponent: int
    gain: float | None
    rounding: float

    @property
    def raw(self) -> float:
        """The difference in the unit of the metric."""
        return math.ldexp(self._estimate(0.0), self.exponent)

    @property
    def difference(self) -> float | None:
        """The normalised difference; None without a scale."""
        return None if self.gain is None else self._estimate(0.0) / self.gain

    @property
    def fewest(self) -> int:
        """The number of runs of the arm that has the fewest."""
        return min(self.runs.values())

    @property
    def has_spread(self) -> bool:
        """Whether the runs of any arm of the difference differ."""
        return any(sample.weight and sample.variance for sample in self.samples)

    @property
    def least_p(self) -> float:
        """The p-value where no run of any arm differs from the others of its arm.

        That of the permutation test: the share of the ways to divide as many runs into two arms that are as extreme.
        """
        few, more = sorted(self.runs.values())[:2]
        return 1 / math.comb(few + more, few)

    def can_be_tested(self, at: float = 0.0) -> bool:
        """Whether every sample that counts in the hypothesis has a known variance."""
        return (at == 0 or self.gain is not None) and all(
            sample.n > 1 for sample in self.samples if sample.weight - at * sample.on_gain
        )

    def estimate(self, at: float) -> float:
        """The form if the normalised difference is said to be `at`; in units of the gain if there is one."""
        return self._estimate(at) / (self.gain or 1.0)

    def parts(self, at: float) -> list[tuple[float, int, bool]]:
        """For each sample that counts in the hypothesis: its part of the variance of `estimate` if it had one run, its
        number of runs, and whether more seeds would give it more."""
        coefficients = ((sample.weight - at * sample.on_gain) / (self.gain or 1.0) for sample in self.samples)
        return [
            (coefficient**2 * sample.variance, sample.n, sample.on_gain >= 0)
            for coefficient, sample in zip(coefficients, self.samples, strict=True)
            if coefficient
        ]

    def _estimate(self, at: float) -> float:
        value = math.fsum((sample.weight - at * sample.on_gain) * sample.mean for sample in self.samples)
        return 0.0 if abs(value) <= self.rounding else value


def linear_form(
    plus: Sequence[str],
    minus: Sequence[str],
    scores: Mapping[str, Collection[float]],
    untrained: Collection[float] = (),
) -> LinearForm | None:
    """The sum of the mean scores of `plus` minus that of `minus`; None where one of these arms has no runs.

    Args:
        plus, minus: different arms.
        scores: arm -> scores of its runs; that of the dense arm gives the scale.
        untrained: scores of untrained policies; without any, there is no scale.
    """
    weights = dict.fromkeys(plus, 1.0) | dict.fromkeys(minus, -1.0)
    if not all(scores.get(arm) for arm in weights):
        return None
    given = {arm: (weight, 0.0, scores[arm]) for arm, weight in weights.items()}
    if scale := bool(untrained) and bool(scores.get(DENSE)):
        given[DENSE] = (weights.get(DENSE, 0.0), 1.0, scores[DENSE])
    every = {arm: checked(list(of_arm)) for arm, (_, _, of_arm) in given.items()}
    bottom = checked(list(untrained)) if scale else np.zeros(0)
    error = rounding_of(float(value) for values in (*every.values(), bottom) for value in values)
    # Relative to one of the scores: what is in front of the differences takes no digits then.
    reference = float(next(iter(every.values()))[0])
    shifted = [values - reference for values in (*every.values(), bottom)]
    exponent = exponent_of(*shifted, np.array([error]))
    *arms, bottom = (scaled(values, exponent) for values in shifted)
    rounding = math.ldexp(error, -exponent)
    gain = None
    if scale:
        gain = mean_of(arms[list(every).index(DENSE)].tolist()) - mean_of(bottom.tolist())
        gain = gain if gain > rounding else None
    rounding = max(rounding, NORMALISED_ROUNDING * (gain or 0.0))
    samples = [
        _sample(weight, on_gain if gain is not None else 0.0, values, rounding)
        for (weight, on_gain, _), values in zip(given.values(), arms, strict=True)
    ]
    if gain is not None:
        samples.append(_sample(0.0, -1.0, bottom, rounding))
    return LinearForm({arm: len(scores[arm]) for arm in weights}, tuple(samples), exponent, gain, rounding)


def welch_test(of: Sequence[LinearForm], at: float = 0.0) -> WelchTest | None:
    """Test that the mean over tasks of the normalised differences is `at`; on one task with `at` 0 without a scale.

    The standard error is that of a sum over independent samples with unequal variances, with degrees of freedom by
    Welch (1947) and Satterthwaite (1946). Of two arms on one task, at 0, it is Welch's t-test. Tasks have equal
    weights, and are fixed. Where no run of any arm differs from the others of its arm, the p-value is not below
    `LinearForm.least_p`.

    Returns:
        Estimate and error in units of the gain, or without a scale in that of the form. None if the variance of a
        sample is not known because it has a single run.
    """
    if not all(form.can_be_tested(at) for form in of):
        return None
    estimate = math.fsum(form.estimate(at) for form in of) / len(of)
    error, df = _error_and_df([(part / n / len(of) ** 2, n - 1) for form in of for part, n, _ in form.parts(at)])
    if error == 0 and abs(estimate) <= max(form.rounding / (form.gain or 1.0) for form in of):
        estimate = 0.0
    above, below = _p_values(estimate, error, df)
    if not any(form.has_spread for form in of):
        least = max(form.least_p for form in of)
        above, below = max(above, least), max(below, least)
    return WelchTest(estimate, error, df, above, below)


def bounds(of: Sequence[LinearForm], level: float) -> Bounds:
    """One-sided bounds of the mean normalised difference, each at `level`, by inverting `welch_test`.

    p_above is at most the level for every difference below the lower bound, and p_below for every one above the upper
    bound. A bound is None where the test doesn't reject a difference as far from the estimate as `FARTHEST_BOUND`,
    because the gain is not clearly above 0, or there are too few runs.
    """
    from scipy.optimize import brentq

    if any(form.gain is None or not form.can_be_tested(1.0) for form in of):
        return None, None

    def beyond_level(difference: float, side: str) -> float:
        """How far the p-value is above the level; below 0, and not 0, where the difference is rejected."""
        test = welch_test(of, difference)
        assert test is not None
        above = float(getattr(test, side)) - level
        return above if above > 0 else min(above, -1e-9)

    centre = mean_difference(of)
    found: list[float | None] = []
    for side, sign in (("p_above", -1), ("p_below", 1)):
        if beyond_level(centre + sign * FARTHEST_BOUND, side) > 0:
            found.append(None)
            continue
        reach = 0.01
        while beyond_level(centre + sign * reach, side) > 0:
            reach = min(2 * reach, FARTHEST_BOUND)
        found.append(brentq(beyond_level, centre, centre + sign * reach, args=(side,), xtol=1e-10))
    return found[0], found[1]


def raw_bounds(form: LinearForm, level: float) -> Bounds:
    """The same of the difference in the unit of the metric, which needs no scale: Welch's interval."""
    from scipy.special import stdtrit

    test = welch_test([form])
    if test is None or (not form.has_spread and form.least_p > level):
        return None, None
    reach = float(stdtrit(test.df, 1 - level)) * test.error * (form.gain or 1.0) if test.error else 0.0
    reach = math.ldexp(reach, form.exponent)
    return form.raw - reach, form.raw + reach


def mean_difference(of: Sequence[LinearForm]) -> float:
    """The mean over tasks of their normalised differences.

    Raises:
        ValueError: a task has no scale.
    """
    known = [form.difference for form in of if form.difference is not None]
    if len(known) < len(of):
        raise ValueError("Differences without a scale have no mean over tasks.")
    return mean_of(known)


def two_sided(test: WelchTest) -> float:
    """The two-sided p-value of a test."""
    return min(1.0, 2 * min(test.p_above, test.p_below))


def _error_and_df(parts: Sequence[tuple[float, int]]) -> tuple[float, float]:
    """Standard error and degrees of freedom of a sum of independent parts with these variances."""
    most = max(part for part, _ in parts)
    if most <= 0:
        return 0.0, float(sum(df for _, df in parts))
    # Relative to the largest, so that squares of small numbers do not underflow.
    relative = [(part / most, df) for part, df in parts]
    total = math.fsum(part for part, _ in relative)
    return math.sqrt(most) * math.sqrt(total), total**2 / math.fsum(part**2 / df for part, df in relative)


def _sample(weight: float, on_gain: float, values: FloatArray, rounding: float) -> Sample:
    """A sample, whose variance is 0 where its scores differ by nothing but rounding."""
    mean, variance = mean_of(values.tolist()), 0.0
    if values.size > 1 and np.ptp(values) > max(rounding, ROUNDING * float(np.abs(values).max())):
        variance = float(values.var(ddof=1))
    return Sample(weight, on_gain, values.size, mean, variance)


def _p_values(estimate: float, error: float, df: float) -> tuple[float, float]:
    """p-values against "it is 0 or less" and "0 or more"."""
    from scipy.special import stdtr

    if error == 0:
        return float(estimate <= 0), float(estimate >= 0)
    return float(stdtr(df, -estimate / error)), float(stdtr(df, estimate / error))
