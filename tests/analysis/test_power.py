import itertools
import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from rlottery.analysis.power import seeds_needed, seeds_needed_equivalent

SIGMAS = 4.0
"""Monte-Carlo errors that are allowed for: with fixed seeds, and one in 16,000 if the seeds were drawn."""


@pytest.mark.parametrize("effect", [0.15, 0.4, 0.8, 2.0, 7.0])
@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
@pytest.mark.parametrize("n", [0, 3, 12])
def test_needed_seeds_have_the_power_and_one_less_has_not(effect: float, level: float, n: int) -> None:
    def power(seeds: int) -> float:
        critical = scipy.stats.t.ppf(1 - level, seeds - 1)
        return float(scipy.stats.nct.sf(critical, seeds - 1, effect * math.sqrt(seeds)))

    needed = seeds_needed(3 * effect, 3.0, n, level=level, power=0.9, most=60)
    if needed is None:
        assert power(n + 60) < 0.9
    else:
        assert power(needed) >= 0.9
        assert needed == max(n + 1, 2) or power(needed - 1) < 0.9


def test_needed_seeds_of_a_textbook() -> None:
    # An effect of half a standard deviation, 5 % one-sided, 80 %: 27 (Cohen 1988's d in any table of the paired test).
    assert seeds_needed(0.5, 1.0, 3, level=0.05) == 27
    assert seeds_needed(0.5, 1.0, 30, level=0.05) == 31
    assert [seeds_needed(0.5, 1.0, 20, level=0.05, most=most) for most in (6, 7)] == [None, 27]


def test_no_number_of_seeds_shows_what_is_not_there() -> None:
    assert seeds_needed(0.0, 1.0, 5, level=0.05) is None
    assert seeds_needed(-1.0, 0.0, 5, level=0.05) is None
    assert seeds_needed(0.01, 1.0, 5, level=0.05) is None
    assert seeds_needed_equivalent(0.5, 0.1, 0.5, 5, level=0.05) is None
    assert seeds_needed_equivalent(0.0, 10.0, 0.5, 5, level=0.05) is None


def test_without_spread_one_more_seed_is_enough() -> None:
    assert seeds_needed(0.1, 0.0, 5, level=0.05) == 6
    assert seeds_needed_equivalent(0.1, 0.0, 0.5, 0, level=0.05) == 2


@pytest.mark.parametrize(("mean", "margin"), [(0.0, 0.5), (0.3, 0.8), (-0.3, 0.8), (0.0, 3.0), (0.9, 1.4)])
@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
def test_seeds_needed_to_be_equal_have_the_power_and_one_less_has_not(mean: float, margin: float, level: float) -> None:
    def power(seeds: int) -> float:
        df, root = seeds - 1, math.sqrt(seeds)
        critical = scipy.stats.t.ppf(1 - level, df)
        largest = margin * root / critical  # of sample sds with which anything is rejected

        def given_sd(sd: float) -> float:
            density = sd * df * scipy.stats.chi2.pdf(df * sd**2, df) * 2
            high, low = margin * root - critical * sd, critical * sd - margin * root
            share = scipy.stats.norm.cdf(high - mean * root) - scipy.stats.norm.cdf(low - mean * root)
            return float(density * share)

        # Where the density is, lest the integration miss it.
        ends = np.clip(np.sqrt(scipy.stats.chi2.ppf([1e-12, 0.5, 1 - 1e-12], df) / df), 0, largest)
        return sum(scipy.integrate.quad(given_sd, *piece)[0] for piece in itertools.pairwise(ends))

    needed = seeds_needed_equivalent(2 * mean, 2.0, 2 * margin, 3, level=level)
    assert needed is not None
    assert power(needed) >= 0.8
    assert needed == 4 or power(needed - 1) < 0.8
