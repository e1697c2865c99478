import math

import numpy as np
import pytest
import scipy.integrate
import scipy.stats

from benchmarks.verdict_errors import flipped_p, normal, success_rates, t_of_claims
from rlottery.analysis.contrasts import contrast, paired
from rlottery.analysis.hypothesis_tests import paired_t, sign_flip

MARGIN = 0.1
SIGMAS = 4.0
"""Monte-Carlo errors that are allowed for: with fixed seeds, and one in 16,000 if the seeds were drawn."""


@pytest.mark.parametrize("seeds", [5, 10, 20])
@pytest.mark.parametrize(("correlation", "spread"), [(0.0, 1.0), (0.9, 0.1)])
def test_false_claims_at_the_margin_are_as_rare_as_the_level_says(
    seeds: int, correlation: float, spread: float
) -> None:
    draws, level = 3000, 0.05
    draw = normal(np.random.default_rng(seeds), (draws, seeds), (1 - MARGIN, 1.0), correlation, spread)
    contrasts = draw.ticket - draw.dense + MARGIN * (draw.dense - draw.untrained)
    tests = [paired_t(contrast) for contrast in contrasts]
    # The t-test is exact on normal data: each count is binomial.
    allowed = SIGMAS * math.sqrt(level * (1 - level) / draws)
    assert np.mean([test.p_above < level for test in tests]) == pytest.approx(level, abs=allowed)
    assert np.mean([test.p_below < level for test in tests]) == pytest.approx(level, abs=allowed)


def test_the_simulated_claims_are_those_of_the_verdict() -> None:
    # Normal scores, and success rates with every kind of tie.
    generator = np.random.default_rng(0)
    draws = [
        normal(generator, (60, 5), (0.95, 0.85), 0.5, 0.1),
        *(success_rates(generator, kind, (60, 5), 0.8, 0.5) for kind in ("0 or 1", "mixture", "noise")),
    ]
    critical = scipy.stats.t.ppf(0.95, 4)
    for draw in draws:
        t = t_of_claims(draw)
        for study in range(60):
            of_arm = [dict(enumerate(scores[study].tolist())) for scores in draw]
            untrained, dense, ticket, control = of_arm
            to_dense = paired("dense", ticket, dense, dense, untrained)
            to_control = paired("control", ticket, control, dense, untrained)
            if to_dense is None or to_control is None:
                continue
            beside, above = (contrast(of, MARGIN, 0.05) for of in (to_dense, to_control))
            p_of = {
                "not worse": [beside.p_non_inferior],
                "losing": [beside.p_inferior],
                "winning": [beside.p_non_inferior, above.p_superior],
                "sparse": [beside.p_non_inferior, above.p_equivalent],
            }
            for claim, p_values in p_of.items():
                made = all(p is not None and p <= 0.05 for p in p_values)
                assert made == (t[claim][study] >= critical), (claim, study)


def test_simulated_flips_are_those_of_the_sign_flip_test() -> None:
    values = np.random.default_rng(0).choice([-0.9, 0.0, 0.1, 1.0], (40, 6))
    np.testing.assert_allclose(flipped_p(values), [sign_flip(row)[0] for row in values])


def test_what_is_simulated_is_on_the_margin() -> None:
    generator, shape = np.random.default_rng(0), (20_000, 10)
    for kind, share in (("0 or 1", 0.8), ("mixture", 1.0), ("mixture", 0.5), ("noise", 0.95)):
        draw = success_rates(generator, kind, shape, share, 0.5)
        beyond = (draw.ticket - (1 - MARGIN) * draw.dense).mean(axis=1)
        assert beyond.mean() == pytest.approx(0, abs=SIGMAS * beyond.std() / math.sqrt(len(beyond)))
