"""Arithmetic of pruning schedules: rounds (iterative), turns, the cubic curve (gradual), and the cosine (SET, RigL).

A share is read as the shortest decimal that prints as it, and computed exactly: 0.9 at a rate of 0.9 takes one round,
although the nearest binary numbers might give two.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import cos, floor, log1p, pi

from rlottery.errors import MaskError


def rounds_needed(sparsity: float, rate: float) -> int:
    """Rounds of iterative pruning: the smallest n >= 1 with 1 - (1 - rate)^n >= sparsity, exactly.

    Args:
        sparsity: share pruned in the end, in [0, 1).
        rate: share of the survivors that each round prunes, in (0, 1).

    Raises:
        MaskError: sparsity or rate out of range.
    """
    if not 0 <= sparsity < 1:
        raise MaskError(f"A sparsity of {sparsity} is out of range: it must be at least 0 and below 1.")
    if not 0 < rate < 1:
        raise MaskError(f"A pruning rate of {rate} a round is out of range: it must be above 0 and below 1.")
    survive, target = 1 - _exact(rate), 1 - _exact(sparsity)
    # Logarithms are correct to within a round; exact powers decide.
    rounds = max(1, floor(log1p(-sparsity) / log1p(-rate)) - 1)
    while survive**rounds > target:
        rounds += 1
    return rounds


def round_sparsities(sparsity: Mapping[str, float], rate: float) -> list[dict[str, float]]:
    """The sparsity of each group after each round of iterative pruning (Frankle and Carbin 2019).

    After round r it is 1 - (1 - rate)^r, but at most the group's final sparsity: a group that reaches it early stays
    there while the others continue. The last round reaches exactly the final sparsities.

    Returns:
        One dict per round, group -> sparsity; as many as the group with the highest sparsity needs.

    Raises:
        MaskError: there are no groups, or a sparsity or the rate is out of range.
    """
    if not sparsity:
        raise MaskError("There is no sparsity to reach: give at least one group.")
    rounds = max(rounds_needed(share, rate) for share in sparsity.values())
    survive = 1 - _exact(rate)
    return [
        {group: float(min(1 - survive**r, _exact(share))) for group, share in sparsity.items()}
        for r in range(1, rounds + 1)
    ]


def sparsity_after(part: float, final: float) -> float:
    """Sparsity after `part` of the turns of a criterion that scores and prunes in turn; exactly `final` after the last.

    The surviving share falls by the same factor in each turn (Tanaka et al. 2020, SynFlow).

    Args:
        part: turns done over all turns, in (0, 1].
        final: sparsity after the last turn, in [0, 1).
    """
    return final if part == 1 else 1 - (1 - final) ** part


def cubic_sparsity(step: int, start: int, end: int, final: float) -> float:
    """Sparsity of gradual pruning: final (1 - (1 - (step - start) / (end - start))^3) between start and end.

    Zhu and Gupta 2017 (arXiv:1710.01878), eq. 1, with an initial sparsity of 0. It never decreases, is 0 until `start`
    and exactly `final` from `end` on.

    Args:
        step, start, end: environment steps, or any other unit.
        final: sparsity at the end, in [0, 1).
    """
    if step >= end:
        return float(final)
    if step <= start:
        return 0.0
    # Rounding once, from the exact value, keeps it monotone.
    return float(_exact(final) * (1 - Fraction(end - step, end - start) ** 3))


def drop_fraction(step: int, end: int, initial: float) -> float:
    """Share of a layer's survivors to drop and grow: initial / 2 (1 + cos(pi step / end)), and 0 from `end` on.

    Cosine annealing (Dettmers and Zettlemoyer 2019, arXiv:1907.04840; Evci et al. 2020, arXiv:1911.11134, section 3).

    Args:
        step, end: environment steps since the first mask update, or any other unit.
        initial: share at step 0, in [0, 1].
    """
    return initial / 2 * (1 + cos(pi * step / end)) if step < end else 0.0


def _exact(share: float) -> Fraction:
    return Fraction(repr(float(share)))
