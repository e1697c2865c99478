"""Power analysis: how many seeds a test would need, given the mean and spread of the seeds so far.

SciPy takes long to load, so it is imported where it is used.
"""

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.arrays import FloatArray

MOST_MORE_SEEDS = 100
"""The largest number of more seeds that the power analysis considers."""


def seeds_needed(
    mean: float, sd: float, n: int, *, level: float, power: float = 0.8, most: int = MOST_MORE_SEEDS
) -> int | None:
    """The smallest number of seeds above `n` that gives a one-sided t-test of "the mean is above 0" this power.

    Mean and sd are taken to be the true ones. Then t has a noncentral t distribution with noncentrality
    mean / sd x sqrt(seeds) (Johnson and Welch 1940).

    Args:
        n: number of seeds so far.
        level: of the test.
        most: the largest number of more seeds to consider.

    Returns:
        The total number of seeds. None if the mean is not above 0, or n + most seeds are not enough.
    """
    from scipy.special import nctdtr, stdtrit

    if mean <= 0:
        return None
    seeds = _candidates(n, most)
    # At 1e3 the power is 1 to the last digit; the distribution function fails for much larger values.
    effect = min(mean / sd, 1e3) if sd > 0 else 1e3
    reached = 1 - nctdtr(seeds - 1, np.minimum(effect * np.sqrt(seeds), 1e3), stdtrit(seeds - 1, 1 - level))
    return _first(seeds, reached, power)


def seeds_needed_equivalent(
    mean: float, sd: float, margin: float, n: int, *, level: float, power: float = 0.8, most: int = MOST_MORE_SEEDS
) -> int | None:
    """The same for an equivalence test: two one-sided t-tests of "the mean is within `margin` of 0" (Schuirmann 1987).

    Both tests reject if the mean is closer to 0 than margin - t sd / sqrt(seeds). The probability of that is integrated
    over the distribution of the sample's sd (Owen 1965), which makes it exact.

    Returns:
        The total number of seeds. None if |mean| is the margin or more, or n + most seeds are not enough.
    """
    from scipy.special import gammaincinv, ndtr, stdtrit

    if abs(mean) >= margin:
        return None
    seeds = _candidates(n, most)
    if sd <= 0:
        return _first(seeds, np.ones(seeds.size), power)
    # Gauss-Legendre over the quantiles of the sample's sd, in units of the true one.
    nodes, weights = np.polynomial.legendre.leggauss(200)
    df = (seeds - 1)[:, None]
    sample_sd = np.sqrt(2 * gammaincinv(df / 2, (nodes + 1) / 2) / df)
    room = margin / sd * np.sqrt(seeds)[:, None] - stdtrit(df, 1 - level) * sample_sd
    centre = mean / sd * np.sqrt(seeds)[:, None]
    both = np.maximum(ndtr(room - centre) - ndtr(-room - centre), 0)
    return _first(seeds, both @ (weights / 2), power)


def _candidates(n: int, most: int) -> NDArray[np.int64]:
    return np.arange(max(n + 1, 2), n + most + 1)


def _first(seeds: NDArray[np.int64], reached: FloatArray, power: float) -> int | None:
    enough = np.flatnonzero(reached >= power)
    return int(seeds[enough[0]]) if enough.size else None
