"""Welch's tests of linear forms and their bounds, against SciPy and against a reference that was written by hand."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from rlottery.analysis.linear_forms import LinearForm, bounds, linear_form, raw_bounds, two_sided, welch_test

Scores = dict[str, list[float]]


def drawn(seed: int, *, untrained: int = 7, **sizes: int) -> tuple[Scores, list[float]]:
    generator = np.random.default_rng(seed)
    spread = {arm: generator.uniform(0.5, 15) for arm in sizes}
    scores = {arm: list(generator.normal(100 if arm == "dense" else 90, spread[arm], n)) for arm, n in sizes.items()}
    return scores, list(generator.normal(0, 8, untrained))


def made(plus: list[str], minus: list[str], scores: Scores, untrained: list[float]) -> LinearForm:
    form = linear_form(plus, minus, scores, untrained)
    assert form is not None
    return form


def by_hand(weights: dict[str, float], scores: Scores, untrained: list[float], at: float) -> tuple[float, float, float]:
    """t, degrees of freedom and p-value of "above" for the sum of weight x mean - at (mean dense - mean untrained)."""
    every = {**scores, "untrained": untrained}
    weights = {**dict.fromkeys(every, 0.0), **weights}
    weights["dense"] -= at
    weights["untrained"] += at
    estimate = sum(weight * np.mean(every[arm]) for arm, weight in weights.items())
    parts = {arm: weight**2 * np.var(every[arm], ddof=1) / len(every[arm]) for arm, weight in weights.items() if weight}
    df = sum(parts.values()) ** 2 / sum(part**2 / (len(every[arm]) - 1) for arm, part in parts.items())
    t = estimate / math.sqrt(sum(parts.values()))
    return float(t), float(df), float(scipy.stats.t.sf(t, df))


@pytest.mark.parametrize(("n", "m"), [(2, 2), (3, 9), (5, 5), (20, 4)])
def test_two_arms_are_welchs_test(n: int, m: int) -> None:
    scores, untrained = drawn(n, dense=5, taylor=n, random=m)
    for scale in (untrained, []):
        form = made(["taylor"], ["random"], scores, scale)
        test = welch_test([form])
        assert test is not None
        scipys = scipy.stats.ttest_ind(scores["taylor"], scores["random"], equal_var=False, alternative="greater")
        assert (test.p_above, test.p_below, test.df) == pytest.approx((scipys.pvalue, 1 - scipys.pvalue, scipys.df))
        assert form.raw == pytest.approx(np.mean(scores["taylor"]) - np.mean(scores["random"]))
        interval = scipys.confidence_interval(0.95)
        both = scipy.stats.ttest_ind(scores["taylor"], scores["random"], equal_var=False)
        assert two_sided(test) == pytest.approx(both.pvalue)
        assert raw_bounds(form, 0.05) == pytest.approx(both.confidence_interval(0.90))
        assert raw_bounds(form, 0.05)[0] == pytest.approx(interval.low)


@pytest.mark.parametrize("at", [-0.1, 0.0, 0.1, 0.7])
@pytest.mark.parametrize(
    ("plus", "minus"), [(["taylor"], ["dense"]), (["taylor"], ["random"]), (["taylor", "random"], ["dense", "other"])]
)
def test_forms_are_those_computed_by_hand(plus: list[str], minus: list[str], at: float) -> None:
    scores, untrained = drawn(3, dense=5, taylor=6, random=4, other=3)
    test = welch_test([made(plus, minus, scores, untrained)], at)
    weights = dict.fromkeys(plus, 1.0) | dict.fromkeys(minus, -1.0)
    t, df, p = by_hand(weights, scores, untrained, at)
    assert test is not None
    assert (test.estimate / test.error, test.df, test.p_above) == pytest.approx((t, df, p))
    assert test.p_above + test.p_below == pytest.approx(1)


def test_pooling_is_the_mean_of_normalised_forms() -> None:
    tasks = [drawn(seed, dense=5, taylor=4 + seed) for seed in (1, 2)]
    at, estimates, parts = -0.1, [], []
    for scores, untrained in tasks:
        gain = np.mean(scores["dense"]) - np.mean(untrained)
        coefficients = {"taylor": 1.0, "dense": -1 - at, "untrained": at}
        every = {**scores, "untrained": untrained}
        estimates.append(sum(c * np.mean(every[arm]) for arm, c in coefficients.items()) / gain)
        parts += [
            ((c / gain / 2) ** 2 * np.var(every[arm], ddof=1) / len(every[arm]), len(every[arm]) - 1)
            for arm, c in coefficients.items()
        ]
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / freedom for part, freedom in parts)
    test = welch_test([made(["taylor"], ["dense"], *task) for task in tasks], at)
    assert test is not None
    assert test.estimate == pytest.approx(np.mean(estimates))
    assert (test.df, test.p_above) == pytest.approx(
        (df, scipy.stats.t.sf(np.mean(estimates) / math.sqrt(variance), df))
    )


@settings(max_examples=40)
@given(st.integers(0, 10_000), st.integers(2, 9), st.sampled_from([0.01, 0.05, 0.2]), st.integers(1, 3))
def test_bounds_are_where_the_test_changes_its_result(seed: int, n: int, level: float, tasks: int) -> None:
    control = seed % 2 == 0
    forms = []
    for task in range(tasks):
        scores, untrained = drawn(seed + task, dense=n, taylor=n + 1, random=3)
        forms.append(made(["taylor"], ["random" if control else "dense"], scores, untrained))
    centre = np.mean([form.difference for form in forms])
    for bound, side, sign in zip(bounds(forms, level), ("p_above", "p_below"), (-1, 1), strict=True):

        def p(difference: float, side: str = side) -> float:
            test = welch_test(forms, difference)
            assert test is not None
            return float(getattr(test, side))

        if bound is None:
            assert p(centre + sign * 100) > level
            continue
        width = abs(bound - centre)
        assert p(centre + sign * 100) <= level
        assert all(p(bound + sign * step * width) < level for step in (1e-6, 1e-3, 0.1, 1.0))
        assert all(p(bound - sign * step * width) > level for step in (1e-6, 1e-3, 0.1, 1.0))


def test_bounds_of_a_known_gain_are_welchs_interval() -> None:
    scores = {"dense": [10.0] * 4, "taylor": [7.0, 8.0, 9.5, 7.5], "random": [4.0, 4.5, 3.0]}
    form = made(["taylor"], ["random"], scores, [0.0] * 5)
    both = scipy.stats.ttest_ind(scores["taylor"], scores["random"], equal_var=False).confidence_interval(0.9)
    assert bounds([form], 0.05) == pytest.approx((both.low / 10, both.high / 10))


def test_a_gain_around_zero_bounds_nothing() -> None:
    scores = {"dense": [3.0, -2.0, 2.0], "taylor": [1.0, 2.0, 3.0]}
    form = made(["taylor"], ["dense"], scores, [0.0, 0.5, -0.4])
    assert bounds([form], 0.05) == (None, None)
    # Without a gain there is no scale at all, and differences in the unit of the metric are left.
    none = made(["taylor"], ["dense"], scores, [9.0, 9.5, 9.4])
    assert (none.gain, none.difference, bounds([none], 0.05)) == (None, None, (None, None))
    assert none.raw == pytest.approx(1.0) and raw_bounds(none, 0.05)[0] is not None


@pytest.mark.parametrize(("n", "m"), [(3, 3), (5, 5), (2, 6)])
def test_without_spread_the_p_value_is_that_of_the_permutation_test(n: int, m: int) -> None:
    scores = {"dense": [1.0] * m, "taylor": [1.0] * n, "worse": [0.4] * n}
    values, ways = [0.4] * n + [1.0] * m, list(itertools.combinations(range(n + m), n))
    extreme = np.mean([sum(values[i] for i in chosen) <= 0.4 * n + 1e-9 for chosen in ways])
    for untrained in ([0.0] * 5, [0.1, 0.0, -0.1]):
        form = made(["worse"], ["dense"], scores, untrained)
        test = welch_test([form])
        assert test is not None and (test.p_above, test.p_below) == (1.0, pytest.approx(extreme))
        beyond = welch_test([form], -0.1)
        # The spread of untrained policies is no evidence about the arms.
        assert beyond is not None and beyond.p_below == pytest.approx(extreme)
    equal = welch_test([made(["taylor"], ["dense"], scores, [0.0] * 5)])
    assert equal is not None and (equal.p_above, equal.p_below) == (1, 1)
    low, high = bounds([made(["worse"], ["dense"], scores, [0.0] * 5)], 0.05)
    assert (low, high) == ((None, None) if extreme > 0.05 else (pytest.approx(-0.6), pytest.approx(-0.6)))


def test_several_tasks_without_spread_are_as_certain_as_the_one_with_fewest_runs() -> None:
    few = {"dense": [1.0] * 3, "taylor": [0.5] * 3}
    many = {"dense": [1.0] * 9, "taylor": [0.5] * 9}
    test = welch_test([made(["taylor"], ["dense"], scores, [0.0] * 5) for scores in (few, many)])
    assert test is not None and test.p_below == pytest.approx(1 / 20)


def test_a_single_run_has_no_test() -> None:
    scores = {"dense": [10.0, 11.0], "taylor": [9.0], "random": [3.0, 4.0]}
    form = made(["taylor"], ["random"], scores, [0.0, 0.5])
    assert welch_test([form]) is None and bounds([form], 0.05) == raw_bounds(form, 0.05) == (None, None)
    assert form.difference == pytest.approx(5.5 / 10.25)
    # One untrained policy is enough for differences at 0, which don't depend on the scale.
    one = made(["dense"], ["random"], scores, [0.0])
    assert welch_test([one]) is not None and welch_test([one], -0.1) is None
    assert linear_form(["taylor"], ["missing"], scores, []) is None


@pytest.mark.parametrize("unit", [1e-305, 1e-170, 3e-170, 0.1, 1e150, 1e305])
def test_the_unit_changes_no_p_value_and_no_difference(unit: float) -> None:
    scores, untrained = drawn(5, dense=5, taylor=4)
    form = made(["taylor"], ["dense"], scores, untrained)
    scaled = {arm: [value * unit for value in values] for arm, values in scores.items()}
    other = made(["taylor"], ["dense"], scaled, [value * unit for value in untrained])
    for at in (-0.1, 0.0):
        one, two = welch_test([form], at), welch_test([other], at)
        assert one is not None and two is not None
        assert two[1:] == pytest.approx(one[1:], rel=1e-9)
    assert bounds([other], 0.05) == pytest.approx(bounds([form], 0.05), rel=1e-8)
    assert np.array(raw_bounds(other, 0.05)) / unit == pytest.approx(np.array(raw_bounds(form, 0.05)), rel=1e-9)


def test_what_is_only_rounding_is_no_difference_and_no_spread() -> None:
    """Numbers near 1e9 that are equal, but for their last digits."""
    scores = {"dense": [1e9 + 3e-7, 1e9, 1e9], "taylor": [1e9, 1e9, 1e9 - 2e-7]}
    form = made(["taylor"], ["dense"], scores, [0.0, 0.0])
    assert form.raw == 0 and not form.has_spread
    # 0.1 + 0.2 and 0.3 differ in the last bit; exactly at the margin is neither above nor below it.
    scores = {"dense": [1.0] * 3, "taylor": [0.9 + 1e-16] * 3}
    test = welch_test([made(["taylor"], ["dense"], scores, [0.0] * 3)], -0.1)
    assert test is not None and (test.p_above, test.p_below) == (1, 1)


def test_runs_that_differ_by_less_than_the_metric_resolves_show_no_spread() -> None:
    """Five successes against five failures: the p-value is that of the permutation test, however close they are."""
    for last in (1.0, 1 - 1e-9, 1 - 1 / 30):
        scores = {"a": [1.0, 1.0, 1.0, 1.0, last], "b": [0.0] * 5}
        form = linear_form(["a"], ["b"], scores, resolution=1 / 30)
        assert form is not None and (test := welch_test([form])) is not None
        assert test.p_above == pytest.approx(1 / 252)
    form = linear_form(["a"], ["b"], {"a": [1.0, 1.0, 1.0, 1.0, 0.9], "b": [0.0] * 5}, resolution=1 / 30)
    assert form is not None and (test := welch_test([form])) is not None and test.p_above < 1e-6


def test_a_single_dense_run_makes_no_scale_with_bounds() -> None:
    scores = {"dense": [1.0], "a": [0.5, 0.6, 0.4]}
    for plus, minus in ((["a"], ["dense"]), (["dense"], ["a"])):
        form = linear_form(plus, minus, scores, [0.0, 0.1, -0.1])
        assert form is not None and form.fewest == 1
        assert bounds([form], 0.05) == (None, None)
