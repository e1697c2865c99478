"""When weights are pruned: at once, over rounds of training, or while training runs. Arithmetic alone.

Shares are taken as the shortest decimals that print as them, and reckoned exactly: 0.9 at 0.9 a round is one round,
although the binary numbers nearest to them might say two.
"""

from collections.abc import Mapping
from fractions import Fraction
from math import cos, floor, log1p, pi

from rlottery.errors import MaskError
from rlottery.pruning.method import Method

SCHEDULES: dict[str, Method] = {
    "one-shot": Method(
        summary="train dense, prune once to the full sparsity, rewind and train the ticket",
        paper="Han et al. 2015; Frankle and Carbin 2019 (arXiv:1803.03635), section 1",
        cost="one dense training, shared by all its tickets, and one training a ticket",
        use="A first look, and comparing many criteria or sparsities",
    ),
    "iterative": Method(
        summary="rounds of train, prune a share of what is left, rewind; the last round's mask makes the ticket",
        paper="Frankle and Carbin 2019 (arXiv:1803.03635), section 1, iterative pruning",
        cost="one training a round: 0.2 a round takes 14 rounds to 95 %",
        use="The best tickets at high sparsity, when training is cheap",
    ),
    "gradual": Method(
        summary="one training that starts dense and prunes the smallest weights along a cubic curve",
        paper="Zhu and Gupta 2017 (arXiv:1710.01878), eq. 1",
        cost="one training, from the dense agent's initial weights",
        use="A strong sparse agent from one training; not a ticket, it is never rewound",
    ),
    "set": Method(
        summary="sparse from the start: now and then the smallest weights are dropped and random ones grown",
        paper="Mocanu et al. 2018 (arXiv:1707.04780), algorithm 1",
        cost="one training, sparse throughout",
        use="Sparse training without any dense gradient; the control for rigl",
    ),
    "rigl": Method(
        summary="sparse from the start: the smallest weights are dropped, those of the largest gradient grown",
        paper="Evci et al. 2020 (arXiv:1911.11134), algorithm 1",
        cost="one training, sparse but for one dense gradient at each update of the mask",
        use="Sparse training that looks for its own topology",
    ),
}
"""Schedule -> what it is, in the order of the documentation."""


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
    # Logarithms are right to within a round; exact powers decide.
    rounds = max(1, floor(log1p(-sparsity) / log1p(-rate)) - 1)
    while survive**rounds > target:
        rounds += 1
    return rounds


def round_sparsities(sparsity: Mapping[str, float], rate: float) -> list[dict[str, float]]:
    """What each round of iterative magnitude pruning asks for, by group (Frankle and Carbin 2019).

    Round r asks for 1 - (1 - rate)^r, or for the group's own sparsity once that is less: a group that gets there
    early waits for the others. The last round asks for exactly what was asked.

    Args:
        sparsity: group -> share pruned in the end, in [0, 1).
        rate: share of the survivors that each round prunes, in (0, 1).

    Returns:
        A dict a round, group -> sparsity after it; as many as the group of the highest sparsity needs.

    Raises:
        MaskError: no groups, or a sparsity or the rate out of range.
    """
    if not sparsity:
        raise MaskError("There is no sparsity to reach: name at least one group.")
    rounds = max(rounds_needed(share, rate) for share in sparsity.values())
    survive = 1 - _exact(rate)
    return [
        {group: float(min(1 - survive**r, _exact(share))) for group, share in sparsity.items()}
        for r in range(1, rounds + 1)
    ]


def cubic_sparsity(step: int, start: int, end: int, final: float) -> float:
    """Sparsity of gradual pruning: final (1 - (1 - (step - start) / (end - start))^3) between start and end.

    Zhu and Gupta 2017 (arXiv:1710.01878), eq. 1, with an initial sparsity of 0. It never falls, is 0 until `start` and
    exactly `final` from `end` on.

    Args:
        step, start, end: environment steps; any unit does.
        final: sparsity at the end, in [0, 1).
    """
    if step >= end:
        return float(final)
    if step <= start:
        return 0.0
    # Rounded once from the exact value, which keeps it monotone.
    return float(_exact(final) * (1 - Fraction(end - step, end - start) ** 3))


def drop_fraction(step: int, end: int, initial: float) -> float:
    """Share of a layer's survivors that are rewired: initial / 2 (1 + cos(pi step / end)), and 0 from `end` on.

    Cosine annealing (Dettmers and Zettlemoyer 2019, arXiv:1907.04840; Evci et al. 2020, arXiv:1911.11134, section 3).

    Args:
        step, end: environment steps since rewiring began; any unit does.
        initial: share at step 0, in [0, 1].
    """
    return initial / 2 * (1 + cos(pi * step / end)) if step < end else 0.0


def _exact(share: float) -> Fraction:
    return Fraction(repr(float(share)))
