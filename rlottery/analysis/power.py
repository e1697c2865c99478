"""Power analysis: how many more seeds a test would need, and what it can detect, given means and spreads so far.

SciPy takes long to load, so it is imported where it is used.
"""

from collections.abc import Sequence

import numpy as np

from rlottery.analysis.arrays import FloatArray
from rlottery.analysis.linear_forms import Hypothesis, LinearForm, welch_test

MOST_MORE_SEEDS = 100
"""The largest number of more seeds that the power analysis considers."""

POWER = 0.8
"""The power that the suggested number of more seeds would have."""

_CERTAIN = 1e3
"""A noncentrality at which the power is 1 to the last digit; the distribution function fails for much larger ones."""


def more_seeds_for(
    form: LinearForm, hypotheses: Sequence[Hypothesis], *, level: float, power: float = POWER
) -> int | None:
    """The smallest number of more seeds for every arm that gives this power to show all these claims together.

    Means and spreads are taken to be the true ones. The power for several claims is at least the sum of their powers
    minus the number of the others; of equivalence, whose two tests hardly ever fail together, it is nearly that.

    Returns:
        None if no number up to `MOST_MORE_SEEDS` is enough.
    """
    more = np.arange(1, MOST_MORE_SEEDS + 1)
    reached = sum(powers(form, one, more, level) for one in hypotheses) - (len(hypotheses) - 1)
    enough = np.flatnonzero(reached >= power)
    return int(more[enough[0]]) if enough.size else None


def powers(form: LinearForm, claim: Hypothesis, more: np.ndarray, level: float) -> FloatArray:
    """The power of Welch's test of a claim with so many more runs of each arm.

    The statistic has a noncentral t distribution (Johnson and Welch 1940), with Satterthwaite's degrees of freedom.

    Args:
        more: whole numbers, shape (k,).
    """
    from scipy.special import nctdtr, stdtrit

    test = welch_test([form], claim.at)
    if test is None or (estimate := claim.sign * test.estimate) <= 0:
        return np.zeros(more.size)
    single, runs, grows = (
        np.array(column, dtype=np.float64)[:, None] for column in zip(*form.parts(claim.at), strict=True)
    )
    n = runs + grows * more
    most = float(single.max())
    if most <= 0:
        return np.ones(more.size)
    parts = single / most / n
    df = parts.sum(axis=0) ** 2 / (parts**2 / (n - 1)).sum(axis=0)
    noncentrality = np.minimum(estimate / np.sqrt(most) / np.sqrt(parts.sum(axis=0)), _CERTAIN)
    return np.asarray(1 - nctdtr(df, noncentrality, stdtrit(df, 1 - level)))


def detectable(of: Sequence[LinearForm], at: float, level: float, power: float = POWER) -> float | None:
    """How far above `at` the true difference must be for a test at this level to show it with this power.

    Returns:
        In units of the gain, or without a scale in that of the form; None without a test.
    """
    from scipy.special import nctdtrinc, stdtrit

    test = welch_test(of, at)
    if test is None:
        return None
    if test.error == 0:
        return 0.0 if max(form.least_p for form in of) <= level else None
    return float(nctdtrinc(test.df, 1 - power, stdtrit(test.df, 1 - level))) * test.error
