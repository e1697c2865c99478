"""Whether the dense agents of a task learned it, and what they gained."""

import statistics
from collections.abc import Collection, Iterable

from rlottery.analysis.arrays import mean_of, rounding_of
from rlottery.analysis.hypothesis_tests import rank_sum_above
from rlottery.analysis.runs import Run, metric_of, untrained_evaluations
from rlottery.config import Verdict
from rlottery.storage.untrained_record import UntrainedScores

LEAST_SUCCESS_GAINED = 0.05
"""A dense agent whose success rate rises by no more than this has not learned."""


def gain_of(
    dense: Collection[float], starts: Collection[float], untrained: float | None, least_gain: float, rules: Verdict
) -> float | None:
    """What the dense agents gained on average; None where they gained too little, or possibly by chance.

    Args:
        dense, starts: scores of the dense agents after and before training.
        untrained: the mean score of untrained policies; None if not known.
    """
    if not dense or untrained is None:
        return None
    gain = mean_of(dense) - untrained
    p = learning_test(dense, starts)
    by_chance = p is not None and len(dense) >= rules.least_seeds and p > rules.level
    return None if gain <= least_gain or by_chance else gain


def learning_test(dense: Collection[float], starts: Collection[float]) -> float | None:
    """p-value of the claim that training improved the dense agents; None with fewer than two dense agents.

    A one-sided rank-sum test of their scores after and before training: had training changed nothing, the two could be
    exchanged. (Fresh untrained policies play fewer episodes, so that their scores scatter more.) Scores before training
    have far outliers, which would make a test of means doubt that trained agents are better.
    """
    if len(dense) < 2 or not starts:
        return None
    return rank_sum_above(dense, starts, rounding_of([*dense, *starts]))


def least_gain_of(runs: Iterable[Run], sample: UntrainedScores | None = None) -> float:
    """What dense agents must gain to count as having learned.

    For returns it is one standard deviation of single episodes of untrained policies, and more than rounding. It
    doesn't depend on where the zero of the returns is.

    Args:
        sample: the task's fresh untrained policies; without them, the policies are the dense agents before training.
    """
    runs = list(runs)
    if metric_of(runs) == "success":
        return LEAST_SUCCESS_GAINED
    of_dense = (evaluation.returns for evaluation in untrained_evaluations(runs).values())
    returns = sample.returns if sample is not None else [value for of_run in of_dense for value in of_run]
    if not returns:
        return 0.0
    return max(statistics.pstdev(returns), rounding_of(returns))
