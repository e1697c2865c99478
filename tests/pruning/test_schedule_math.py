from decimal import Decimal
from itertools import pairwise
from math import sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlottery.errors import MaskError
from rlottery.pruning.schedule_math import cubic_sparsity, drop_fraction, round_sparsities, rounds_needed

RATES = st.decimals("0.05", "0.95", places=2)
SPARSITIES = st.decimals("0", "0.99", places=2)


@pytest.mark.parametrize(
    ("sparsity", "rate", "rounds"),
    [
        (0.95, 0.2, 14),  # 0.8^13 = 0.0550 and 0.8^14 = 0.0440
        (0.9, 0.9, 1),
        (0.99, 0.9, 2),
        (0.999, 0.9, 3),
        (0.75, 0.5, 2),
        (0.36, 0.2, 2),
        (0.488, 0.2, 3),
        (0.489, 0.2, 4),
        (0.1, 0.2, 1),
        (0.0, 0.2, 1),
    ],
)
def test_rounds_by_hand(sparsity: float, rate: float, rounds: int) -> None:
    assert rounds_needed(sparsity, rate) == rounds


@given(sparsity=SPARSITIES, rate=RATES)
def test_rounds_are_the_fewest_that_reach_it(sparsity: Decimal, rate: Decimal) -> None:
    left, rounds = 1 - rate, 1
    while 1 - left < sparsity:
        left, rounds = left * (1 - rate), rounds + 1
    assert rounds_needed(float(sparsity), float(rate)) == rounds


def test_many_small_rounds() -> None:
    # ln 0.001 / ln 0.999 = 6904.3
    assert rounds_needed(0.999, 0.001) == 6905


@pytest.mark.parametrize(("sparsity", "rate"), [(1.0, 0.2), (-0.1, 0.2), (0.5, 0.0), (0.5, 1.0), (float("nan"), 0.2)])
def test_shares_out_of_range(sparsity: float, rate: float) -> None:
    with pytest.raises(MaskError, match="out of range"):
        rounds_needed(sparsity, rate)


def test_no_groups() -> None:
    with pytest.raises(MaskError, match="at least one group"):
        round_sparsities({}, 0.2)


def test_a_group_that_is_done_waits_for_the_other() -> None:
    assert round_sparsities({"actor": 0.7, "critic": 0.4}, 0.2) == [
        {"actor": 0.2, "critic": 0.2},
        {"actor": 0.36, "critic": 0.36},
        {"actor": 0.488, "critic": 0.4},
        {"actor": 0.5904, "critic": 0.4},
        {"actor": 0.67232, "critic": 0.4},
        {"actor": 0.7, "critic": 0.4},
    ]


@given(actor=SPARSITIES, critic=SPARSITIES, rate=RATES)
def test_rounds_rise_to_exactly_what_was_asked(actor: Decimal, critic: Decimal, rate: Decimal) -> None:
    asked = {"actor": float(actor), "critic": float(critic)}
    rounds = round_sparsities(asked, float(rate))
    assert rounds[-1] == asked
    assert len(rounds) == max(rounds_needed(share, float(rate)) for share in asked.values())
    for group, share in asked.items():
        found = [0.0, *(each[group] for each in rounds)]
        for before, after in pairwise(found):
            # Each round prunes the rate of what was left, unless that would be too much.
            assert after == pytest.approx(min(1 - (1 - before) * (1 - float(rate)), share), abs=1e-12)


@pytest.mark.parametrize(
    ("step", "sparsity"),
    [
        (0, 0.0),
        (100, 0.0),
        (200, 0.4625),  # 1 - (3/4)^3 = 37/64 of 0.8
        (300, 0.7),  # 7/8
        (400, 0.7875),  # 63/64
        (500, 0.8),
        (501, 0.8),
    ],
)
def test_the_cubic_by_hand(step: int, sparsity: float) -> None:
    assert cubic_sparsity(step, 100, 500, 0.8) == sparsity


@given(
    start=st.integers(0, 1000), length=st.integers(0, 10**6), final=st.floats(0, 0.999), steps=st.lists(st.integers(0))
)
def test_the_cubic_never_falls_and_ends_exactly(start: int, length: int, final: float, steps: list[int]) -> None:
    end = start + length
    found = [cubic_sparsity(step, start, end, final) for step in sorted([*steps, start, end - 1, end])]
    assert found == sorted(found)
    assert cubic_sparsity(end, start, end, final) == final == found[-1]
    assert cubic_sparsity(start - 1, start, end, final) == 0


def test_the_drop_fraction_by_hand() -> None:
    found = [drop_fraction(step, 120, 0.3) for step in (0, 20, 30, 40, 60, 80, 120, 121)]
    root = sqrt(0.5), sqrt(0.75)
    assert found == pytest.approx([0.3, 0.15 * (1 + root[1]), 0.15 * (1 + root[0]), 0.225, 0.15, 0.075, 0, 0])
    assert found[0] == 0.3
    assert found[-2:] == [0, 0]
    assert drop_fraction(0, 0, 0.3) == 0
