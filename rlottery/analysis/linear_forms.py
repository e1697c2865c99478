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
from rlottery.analysis.verdict import Difference
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
        varies: whether its runs differ by more than the metric resolves.
    """

    weight: float
    on_gain: float
    n: int
    mean: float
    variance: float
    varies: bool


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


_ABOVE, _BELOW = (WelchTest._fields.index(name) for name in ("p_above", "p_below"))


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
    def raw_in_its_unit(self) -> float:
        """The difference in the unit of the form; 0 where it is nothing but rounding."""
        value = math.fsum(sample.weight * sample.mean for sample in self.samples)
        return 0.0 if abs(value) <= self.rounding else value

    @property
    def raw(self) -> float:
        """The difference in the unit of the metric."""
        return math.ldexp(self.raw_in_its_unit, self.exponent)

    @property
    def difference(self) -> float | None:
        """The normalised difference; None without a scale."""
        return None if self.gain is None else self.raw_in_its_unit / self.gain

    @property
    def fewest(self) -> int:
        """The number of runs of the arm that has the fewest; dense counts where it makes the scale."""
        return min(*self.runs.values(), *(sample.n for sample in self.samples if sample.on_gain > 0))

    @property
    def has_spread(self) -> bool:
        """Whether the runs of any arm of the difference differ by more than the metric resolves."""
        return any(sample.weight and sample.varies for sample in self.samples)

    @property
    def least_p(self) -> float:
        """The least p-value where the runs of each arm are alike: so few runs can't show how much runs may differ.

        That of the permutation test: the share of the ways to divide as many runs into two arms that are as extreme.
        """
        few, more = sorted(self.runs.values())[:2]
        return 1 / math.comb(few + more, few)

    def can_be_tested(self, at: float = 0.0) -> bool:
        """Whether every sample that counts in the hypothesis has a known variance."""
        return (at == 0 or self.gain is not None) and all(
            sample.n > 1 for sample in self.samples if sample.weight - at * sample.on_gain
        )

    def parts(self, at: float) -> list[tuple[float, int, bool]]:
        """For each sample that counts in the hypothesis: its part of the variance if it had one run, its number
        of runs, and whether more seeds would give it more."""
        coefficients = ((sample.weight - at * sample.on_gain) / (self.gain or 1.0) for sample in self.samples)
        return [
            (coefficient**2 * sample.variance, sample.n, sample.on_gain >= 0)
            for coefficient, sample in zip(coefficients, self.samples, strict=True)
            if coefficient
        ]


def linear_form(
    plus: Sequence[str],
    minus: Sequence[str],
    scores: Mapping[str, Collection[float]],
    untrained: Collection[float] = (),
    resolution: float = 0.0,
) -> LinearForm | None:
    """The sum of the mean scores of `plus` minus that of `minus`; None where one of these arms has no runs.

    Args:
        plus, minus: different arms.
        scores: arm -> scores of its runs; that of the dense arm gives the scale.
        untrained: scores of untrained policies; without any, there is no scale.
        resolution: the smallest step of the metric, such as one episode of a success rate.
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
    rounding, step = max(rounding, NORMALISED_ROUNDING * (gain or 0.0)), math.ldexp(resolution, -exponent)
    samples = [
        _sample(weight, on_gain if gain is not None else 0.0, values, rounding, step)
        for (weight, on_gain, _), values in zip(given.values(), arms, strict=True)
    ]
    if gain is not None:
        samples.append(_sample(0.0, -1.0, bottom, rounding, step))
    return LinearForm({arm: len(scores[arm]) for arm in weights}, tuple(samples), exponent, gain, rounding)


def welch_test(of: Sequence[LinearForm], at: float = 0.0) -> WelchTest | None:
    """Test that the mean over tasks of the normalised differences is `at`; on one task with `at` 0 without a scale.

    The standard error is that of a sum over independent samples with unequal variances, with degrees of freedom by
    Welch (1947) and Satterthwaite (1946). Of two arms on one task, at 0, it is Welch's t-test. Tasks have equal
    weights, and are fixed. Where no runs of one arm differ by more than the metric resolves, the p-value is not below
    `LinearForm.least_p`.

    Returns:
        Estimate and error in units of the gain, or without a scale in that of the form. None if the variance of a
        sample is not known because it has a single run.
    """
    return _Mean(of).test(at) if all(form.can_be_tested(at) for form in of) else None


def bounds(of: Sequence[LinearForm], level: float) -> Bounds:
    """One-sided bounds of the mean normalised difference, each at `level`, by inverting `welch_test`.

    p_above is at most the level for every difference below the lower bound, and p_below for every one above the upper
    bound. A bound is None where the test doesn't reject a difference as far from the estimate as `FARTHEST_BOUND`,
    because the gain is not clearly above 0, or there are too few runs.
    """
    from scipy.optimize import brentq

    if any(form.gain is None or any(sample.n < 2 for sample in form.samples) for form in of):
        return None, None
    mean = _Mean(of)

    def beyond_level(difference: float, side: int) -> float:
        """How far the p-value is above the level; below 0, and not 0, where the difference is rejected."""
        above = mean.test(difference)[side] - level
        return above if above > 0 else min(above, -1e-9)

    found: list[float | None] = []
    for side, sign in ((_ABOVE, -1), (_BELOW, 1)):
        if beyond_level(mean.estimate + sign * FARTHEST_BOUND, side) > 0:
            found.append(None)
            continue
        # About where a bound is whose error does not depend on the difference.
        reach = min(max(3 * mean.test(0.0).error, 1e-3), FARTHEST_BOUND)
        while beyond_level(mean.estimate + sign * reach, side) > 0:
            reach = min(2 * reach, FARTHEST_BOUND)
        found.append(brentq(beyond_level, mean.estimate, mean.estimate + sign * reach, args=(side,), xtol=1e-10))
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


def measured(form: LinearForm, level: float) -> Difference:
    """The difference, normalised and in the unit of the metric, with one-sided bounds at `level`."""
    low, high = bounds([form], level)
    raw_low, raw_high = raw_bounds(form, level)
    return Difference(
        difference=form.difference,
        low=low,
        high=high,
        raw_difference=form.raw,
        raw_low=raw_low,
        raw_high=raw_high,
    )


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


class _Mean:
    """The mean over tasks of linear forms, prepared for tests of many hypotheses.

    Attributes:
        estimate: in units of the gain if there is one.
    """

    def __init__(self, of: Sequence[LinearForm]) -> None:
        units = [form.gain or 1.0 for form in of]
        each = [form.raw_in_its_unit / unit for form, unit in zip(of, units, strict=True)]
        self.estimate = math.fsum(each) / len(of)
        self._rounding = max(form.rounding / unit for form, unit in zip(of, units, strict=True))
        self._least_p = 0.0 if any(form.has_spread for form in of) else max(form.least_p for form in of)
        rows = [
            (sample.weight / unit / len(of), sample.on_gain / unit / len(of), sample.variance / sample.n, sample.n - 1)
            for form, unit in zip(of, units, strict=True)
            for sample in form.samples
        ]
        self._weights, self._on_gain, self._variances, freedom = np.array(rows, dtype=np.float64).T
        self._freedom = np.maximum(freedom, 1)  # a sample with a single run does not count in what can be tested

    def test(self, at: float) -> WelchTest:
        """The test of the hypothesis that the mean is `at`."""
        estimate = self.estimate - at
        parts = (self._weights - at * self._on_gain) ** 2 * self._variances
        most = float(parts.max())
        if most <= 0:
            estimate = 0.0 if abs(estimate) <= self._rounding else estimate
            above, below, error, df = float(estimate <= 0), float(estimate >= 0), 0.0, float(self._freedom.sum())
        else:
            # Relative to the largest, so that squares of small numbers do not underflow.
            relative = parts / most
            total = float(relative.sum())
            error, df = math.sqrt(most) * math.sqrt(total), total**2 / float((relative**2 / self._freedom).sum())
            above, below = _p_values(estimate / error, df)
        return WelchTest(estimate, error, df, max(above, self._least_p), max(below, self._least_p))


def _sample(weight: float, on_gain: float, values: FloatArray, rounding: float, step: float) -> Sample:
    """A sample, whose variance is 0 where its scores differ by nothing but rounding."""
    mean, variance, apart = mean_of(values.tolist()), 0.0, float(np.ptp(values))
    rounding = max(rounding, ROUNDING * float(np.abs(values).max()))
    if apart > rounding:
        variance = float(values.var(ddof=1))
    return Sample(weight, on_gain, values.size, mean, variance, apart > rounding + step)


def _p_values(t: float, df: float) -> tuple[float, float]:
    """p-values against "it is 0 or less" and "0 or more"."""
    from scipy.special import stdtr

    return float(stdtr(df, -t)), float(stdtr(df, t))
