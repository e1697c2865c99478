"""How many seeds would likely decide a test, from the mean and spread of those that there are.

SciPy is imported where it is used: it takes long to load.
"""

import numpy as np
from numpy.typing import NDArray

from rlottery.analysis.arrays import FloatArray

MOST_FURTHER = 100
"""Further seeds up to which it is reckoned how many would decide a verdict."""


def seeds_needed(
    mean: float, sd: float, n: int, *, level: float, power: float = 0.8, most: int = MOST_FURTHER
) -> int | None:
    """The smallest number of seeds above `n` with which a one-sided t-test of "the mean is above 0" has `power`.

    If mean and sd are the true ones; t is then noncentral with mean / sd x sqrt(seeds) (Johnson and Welch 1940).

    Args:
        n: seeds that there are.
        level: of the test.
        most: further seeds that are looked at.

    Returns:
        The seeds in all; None where the mean is not above 0 or n + most don't do.
    """
    from scipy.special import nctdtr, stdtrit

    if mean <= 0:
        return None
    seeds = _candidates(n, most)
    # Power is 1 to the last digit well before 1e3, and the distribution function fails well beyond.
    effect = min(mean / sd, 1e3) if sd > 0 else 1e3
    reached = 1 - nctdtr(seeds - 1, np.minimum(effect * np.sqrt(seeds), 1e3), stdtrit(seeds - 1, 1 - level))
    return _first(seeds, reached, power)


def seeds_needed_equal(
    mean: float, sd: float, margin: float, n: int, *, level: float, power: float = 0.8, most: int = MOST_FURTHER
) -> int | None:
    """The same for two one-sided t-tests that together say "the mean is within `margin` of 0" (Schuirmann 1987).

    Both reject where the mean's distance from 0 is below margin - t sd / sqrt(seeds); this is integrated over the
    distribution of the sample's sd (Owen 1965), not bounded.

    Returns:
        The seeds in all; None where |mean| is the margin or more, or n + most don't do.
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
