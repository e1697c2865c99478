"""Power, against the noncentral t distribution by SciPy and against simulated studies."""

import numpy as np
import pytest
import scipy.stats

from rlottery.analysis.linear_forms import Hypothesis, LinearForm, linear_form, welch_test
from rlottery.analysis.power import MOST_MORE_SEEDS, detectable, more_seeds_for, powers

ABOVE = Hypothesis(0.0, 1)


def with_moments(**arms: tuple[float, float, int]) -> LinearForm:
    """Taylor minus random, with exactly these means, standard deviations and numbers of runs of each arm."""
    scores = {arm: exactly(*moments) for arm, moments in arms.items()}
    untrained = scores.pop("untrained", [])
    form = linear_form(["taylor"], ["random"], scores, untrained)
    assert form is not None
    return form


def exactly(mean: float, sd: float, n: int) -> list[float]:
    values = np.random.default_rng(n).normal(size=n)
    return list(mean + sd * (values - values.mean()) / values.std(ddof=1))


def by_scipy(effect: float, n: int, level: float) -> float:
    """The power of the t-test of two samples of n with equal spreads, whose means differ by `effect` of these."""
    df = 2 * n - 2
    return float(scipy.stats.nct.sf(scipy.stats.t.ppf(1 - level, df), df, effect * np.sqrt(n / 2)))


@pytest.mark.parametrize("effect", [0.4, 0.8, 2.0, 7.0])
@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
@pytest.mark.parametrize("n", [3, 12])
def test_more_seeds_have_the_power_and_one_less_has_not(effect: float, level: float, n: int) -> None:
    form = with_moments(taylor=(3 * effect, 3.0, n), random=(0.0, 3.0, n))
    more = more_seeds_for(form, [ABOVE], level=level, power=0.9)
    if more is None:
        assert by_scipy(effect, n + MOST_MORE_SEEDS, level) < 0.9
    else:
        assert by_scipy(effect, n + more, level) >= 0.9
        assert more == 1 or by_scipy(effect, n + more - 1, level) < 0.9


def test_more_seeds_of_a_textbook() -> None:
    # An effect of half a standard deviation, 5 % one-sided, 80 %: 51 in each group (Cohen 1988).
    form = with_moments(taylor=(0.5, 1.0, 5), random=(0.0, 1.0, 5))
    assert more_seeds_for(form, [ABOVE], level=0.05) == 46


def test_no_number_of_seeds_shows_what_is_not_there() -> None:
    for mean in (0.0, -1.0, 0.01):
        form = with_moments(taylor=(mean, 1.0, 5), random=(0.0, 1.0, 5))
        assert more_seeds_for(form, [ABOVE], level=0.05) is None
    # The untrained policies stay as many: their spread alone may be in the way.
    wide = {"dense": (10.0, 0.0, 3), "random": (10.0, 0.0, 3), "untrained": (0.0, 90.0, 3)}
    form = with_moments(taylor=(10.5, 0.1, 3), **wide)
    assert more_seeds_for(form, [Hypothesis(0.1, -1)], level=0.05) is None


def test_without_spread_one_more_seed_is_enough() -> None:
    form = with_moments(taylor=(0.9, 0.0, 5), random=(0.8, 0.0, 5))
    assert more_seeds_for(form, [ABOVE], level=0.05) == 1


@pytest.mark.parametrize("claims", [[Hypothesis(-0.1, 1)], [Hypothesis(-0.1, 1), Hypothesis(0.1, -1)]])
def test_the_power_is_that_of_simulated_studies(claims: list[Hypothesis]) -> None:
    """Scores of four arms with unequal spreads; equivalence takes two tests, and both must hold."""
    moments = {
        "dense": (100.0, 5.0, 6),
        "taylor": (96.0, 6.0, 6),
        "random": (99.0, 3.0, 6),
        "untrained": (0.0, 20.0, 9),
    }
    form = with_moments(**moments)
    said = 1 - sum(1 - float(powers(form, claim, np.array([4]), 0.05)[0]) for claim in claims)
    generator, held = np.random.default_rng(0), []
    for _ in range(250):
        scores = {arm: generator.normal(m, sd, 10 if arm != "untrained" else 9) for arm, (m, sd, _) in moments.items()}
        drawn = linear_form(["taylor"], ["random"], {a: list(v) for a, v in scores.items()}, list(scores["untrained"]))
        assert drawn is not None
        tests = [(welch_test([drawn], claim.at), claim.sign) for claim in claims]
        held.append(all((t.p_above if sign > 0 else t.p_below) <= 0.05 for t, sign in tests if t is not None))
    assert 0.5 < said < 0.999
    assert np.mean(held) == pytest.approx(said, abs=4 * np.sqrt(said * (1 - said) / 250) + 0.01)


@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
def test_what_is_detectable_would_be_found_with_this_power(level: float) -> None:
    moments = {"dense": (50.0, 4.0, 5), "random": (40.0, 4.0, 5), "untrained": (0.0, 1.0, 100)}
    least = detectable([with_moments(taylor=(41.0, 4.0, 5), **moments)], 0.0, level)
    assert least is not None
    # Two arms of five with a spread of 4: the gain of 50 is the unit.
    assert by_scipy(least * 50 / 4, 5, level) == pytest.approx(0.8, abs=1e-4)


def test_without_spread_anything_is_detectable_if_there_are_enough_runs() -> None:
    for n, level, found in ((5, 0.05, 0.0), (5, 0.001, None), (1, 0.05, None)):
        form = with_moments(taylor=(2.0, 0.0, 5), random=(1.0, 0.0, 5))
        if n == 1:
            form = linear_form(["taylor"], ["random"], {"taylor": [2.0], "random": [1.0, 1.0]})  # type: ignore[assignment]
        assert detectable([form], 0.0, level) == found
