"""Whether the dense agents of a task learned it, and what they gained."""

import statistics
from collections.abc import Iterable, Mapping

from rlottery.analysis.arrays import mean_of, rounding_of
from rlottery.analysis.hypothesis_tests import fewest_for_sign_flips, paired_t, sign_flip
from rlottery.analysis.runs import Run, metric_of, untrained_evaluations
from rlottery.config import Verdict

LEAST_SUCCESS_GAINED = 0.05
"""A dense agent whose success rate rises by no more than this has not learned."""


def gain_of(dense: Mapping[int, float], starts: Mapping[int, float], least_gain: float, rules: Verdict) -> float | None:
    """What the dense agents gained on average; None where they gained too little, or possibly by chance."""
    if not dense or not starts:
        return None
    gain = mean_of(dense.values()) - mean_of(starts.values())
    seeds, p = learning_test(dense, starts, rules.level)
    by_chance = p is not None and seeds >= rules.least_seeds and p > rules.level
    return None if gain <= least_gain or by_chance else gain


def learning_test(dense: Mapping[int, float], starts: Mapping[int, float], level: float) -> tuple[int, float | None]:
    """Test whether training changed the dense agents' scores.

    A one-sided sign-flip test: had training changed nothing, before and after could be exchanged in each seed. Scores
    of untrained agents have far outliers, which would make a t-test doubt that trained agents are better. With so few
    seeds that sign flips can't reach the level, it is a paired t-test after all.

    Returns:
        The number of seeds with a dense agent before and after training, and the p-value; None with fewer than two.
    """
    gains = [score - starts[seed] for seed, score in dense.items() if seed in starts]
    if len(gains) < 2:
        return len(gains), None
    rounding = rounding_of([*dense.values(), *starts.values()])
    if len(gains) >= fewest_for_sign_flips(level):
        return len(gains), sign_flip(gains, rounding)[0]
    return len(gains), paired_t(gains, rounding).p_above


def least_gain_of(runs: Iterable[Run]) -> float:
    """What dense agents must gain to count as having learned.

    For returns it is one standard deviation of single episodes of the untrained agents, and more than rounding. It
    doesn't depend on where the zero of the returns is.
    """
    runs = list(runs)
    if metric_of(runs) == "success":
        return LEAST_SUCCESS_GAINED
    returns = [value for evaluation in untrained_evaluations(runs).values() for value in evaluation.returns]
    if not returns:
        return 0.0
    return max(statistics.pstdev(returns), rounding_of(returns))
