"""The verdict on many simulated studies at once: the claims of `rlottery.analysis.judging`, computed on arrays.

`tests/analysis/test_verdict_errors.py` checks that both make the same claims, study by study.
"""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr

from rlottery.analysis.arrays import NORMALISED_ROUNDING, ROUNDING, FloatArray
from rlottery.analysis.hypothesis_tests import fails_more_often, rank_sum_above, rate_at_most

MARGIN, LEVEL = 0.10, 0.05
TIED_WITHIN = 0.02
FAILED_BELOW = 0.5
LEAST_GAIN = 0.05

CLAIMS = {
    "dense": ("superior", "non-inferior", "worse than dense"),
    "random": ("better", "worse than random", "equivalent"),
}
"""Question -> its claims, in order of precedence."""

BoolArray: TypeAlias = NDArray[np.bool_]

Claims: TypeAlias = dict[str, FloatArray]
"""Claim -> its p-value for each study and ticket, (studies, tickets); NaN where it can't be tested."""


class Sample(NamedTuple):
    """Independent runs: how many, their means and variances."""

    n: int
    mean: FloatArray
    variance: FloatArray


class Task(NamedTuple):
    """The scores of one task in many studies, in units in which dense agents gain about 1.

    Attributes:
        untrained: one sample for all studies, (policies,), or for each, (studies, 1).
        dense: (studies, 1, runs).
        ticket, control: (studies, tickets, runs).
        others: further arms of the studies, which only show whether single runs fail: (studies, arms, runs).
        resolution: the smallest difference between two success rates; None for returns.
        learned: whether dense agents are known to have learned; else the verdict's own test decides.
    """

    untrained: FloatArray | Sample
    dense: FloatArray
    ticket: FloatArray
    control: FloatArray
    others: FloatArray | None = None
    resolution: float | None = None
    learned: bool = False


def sample(scores: FloatArray) -> Sample:
    """Means and variances over the last axis. Without spread, the variance is exactly 0."""
    spread = np.ptp(scores, axis=-1) > ROUNDING * np.abs(scores).max(axis=-1)
    return Sample(scores.shape[-1], scores.mean(axis=-1), np.where(spread, scores.var(axis=-1, ddof=1), 0.0))


class Outcome(NamedTuple):
    """What the verdict makes of a task, (studies, tickets) each.

    Attributes:
        p: claim -> p-value before correction.
        tied: question -> whether all runs of both arms are as good as the best run. There areas under the learning
            curve are compared, which have no part in this, so the scores make no claim.
        no_failure: question -> whether a positive answer would rest on no failure seen.
    """

    p: Claims
    tied: dict[str, BoolArray]
    no_failure: dict[str, BoolArray]


def judged(task: Task) -> Outcome:
    """The claims about the tickets of a task, before correction."""
    samples = _samples(task)
    gain = samples["dense"].mean - samples["untrained"].mean
    has_scale = _learned(task, gain)
    # Without a scale only differences from 0 are tested, in any unit.
    unit = np.where(has_scale, gain, 1.0)
    tied = {question: has_scale & of for question, of in _tied(task, unit).items()}
    no_failure = {question: has_scale & of for question, of in _rests_on_no_failure(task, samples, unit).items()}
    p = _p_values([(samples, unit)])
    for question, claims in CLAIMS.items():
        for claim in claims:
            known = np.where(has_scale, p[claim], np.nan) if question == "dense" or claim == "equivalent" else p[claim]
            p[claim] = np.where(tied[question] & ~np.isnan(known), 1.0, known)
    return Outcome(p, tied, no_failure)


def pooled_p_values(tasks: Sequence[Task]) -> Claims:
    """The p-values of the same claims about the mean over tasks, which dense agents have all learned."""
    every = [_samples(task) for task in tasks]
    return _p_values([(samples, samples["dense"].mean - samples["untrained"].mean) for samples in every])


def contrast_p(scores: Sequence[FloatArray], signs: Sequence[int]) -> FloatArray:
    """One-sided p-values of the claim that the mean scores, each with its sign, sum to more than 0."""
    of = [sample(arm) for arm in scores]
    estimate = sum((sign * arm.mean for sign, arm in zip(signs, of, strict=True)), start=np.zeros(1))
    return _by_student(estimate, [(arm.variance / arm.n, arm.n) for arm in of])[0]


def holm(p: FloatArray) -> FloatArray:
    """p-values after Holm's correction over the last axis; NaN is not a test."""
    order = np.argsort(p, axis=-1)  # NaN comes last
    ordered = np.take_along_axis(p, order, axis=-1)
    tests = (~np.isnan(p)).sum(axis=-1, keepdims=True)
    adjusted = np.minimum(np.maximum.accumulate((tests - np.arange(p.shape[-1])) * ordered, axis=-1), 1.0)
    found = np.empty_like(p)
    np.put_along_axis(found, order, adjusted, axis=-1)
    return found


def claimed(p: Mapping[str, FloatArray], level: float = LEVEL) -> dict[str, BoolArray]:
    """Claim -> whether it is made, after Holm's correction of each claim over the last axis."""
    made = {claim: holm(values) <= level for claim, values in p.items()}
    made["superior"] &= made["non-inferior"]
    made["wins"] = made["non-inferior"] & made["better"]
    return made


def fails_more_often_p(failed: NDArray[np.int_], other: NDArray[np.int_], runs: int) -> FloatArray:
    """p-values of Fisher's exact test, for counts of two arms of `runs` each."""
    table = [[fails_more_often(one, runs, two, runs) for two in range(runs + 1)] for one in range(runs + 1)]
    return np.array(table)[failed, other]


def _samples(task: Task) -> dict[str, Sample]:
    untrained = task.untrained
    if not isinstance(untrained, Sample):
        untrained = sample(untrained[None, None])
    dense, ticket, control = (sample(scores) for scores in (task.dense, task.ticket, task.control))
    return {"untrained": untrained, "dense": dense, "ticket": ticket, "control": control}


def _arms(task: Task) -> list[FloatArray]:
    return [task.dense, task.ticket, task.control, *([] if task.others is None else [task.others])]


def _learned(task: Task, gain: FloatArray) -> BoolArray:
    """Whether dense agents can be shown to have learned, (studies, 1)."""
    if task.learned or isinstance(task.untrained, Sample):
        return np.ones((len(task.dense), 1), dtype=bool)
    top, scores = task.untrained.max(), np.sort(task.dense[:, 0], axis=-1)
    # With all runs above five untrained policies, or half of them above many, it is certain.
    doubtful = (scores > top).mean(axis=-1) < (0.5 if len(task.untrained) > 50 else 1.0)
    found = gain[:, 0] > LEAST_GAIN
    if doubtful.any():
        # Above all untrained policies only the order of scores counts, so that few rows differ.
        above = top + 1 + np.arange(scores.shape[-1])
        rows, which = np.unique(np.where(scores > top, above, scores)[doubtful], axis=0, return_inverse=True)
        untrained = task.untrained.tolist()
        p = np.array([rank_sum_above(row.tolist(), untrained) for row in rows])
        found[doubtful] &= p[which.ravel()] <= LEVEL
    return found[:, None]


def _tied(task: Task, gain: FloatArray) -> dict[str, BoolArray]:
    best = np.concatenate([arm.max(axis=-1) for arm in _arms(task)], axis=-1).max(axis=-1, keepdims=True)
    within = np.maximum(TIED_WITHIN * gain, np.minimum(task.resolution or 0.0, MARGIN * gain))
    lowest = {"dense": task.dense.min(axis=-1), "random": task.control.min(axis=-1)}
    ticket = task.ticket.min(axis=-1)
    return {question: np.minimum(ticket, other) >= best - within - ROUNDING for question, other in lowest.items()}


def _rests_on_no_failure(task: Task, samples: Mapping[str, Sample], gain: FloatArray) -> dict[str, BoolArray]:
    limit = samples["untrained"].mean + FAILED_BELOW * gain

    def failed(scores: FloatArray) -> NDArray[np.int_]:
        count: NDArray[np.int_] = (scores < limit[..., None]).sum(axis=-1)
        return count

    mixed = [((count := failed(arm)) > 0) & (count < arm.shape[-1]) for arm in _arms(task)]
    occur = np.concatenate(mixed, axis=-1).any(axis=-1, keepdims=True) | (task.resolution is not None)
    ticket, dense, control = (samples[arm].mean for arm in ("ticket", "dense", "control"))
    lost = (1 + (ticket - dense) / gain) * rate_at_most(0, task.ticket.shape[-1], LEVEL)
    may_fail = occur & (failed(task.ticket) == 0)
    return {
        question: may_fail & ((ticket - other) / gain - lost < -MARGIN)
        for question, other in (("dense", dense), ("random", control))
    }


def _p_values(tasks: Sequence[tuple[Mapping[str, Sample], FloatArray]]) -> Claims:
    """Claim -> p-value, for the mean over tasks of normalised differences, of samples with their gains."""
    dense = {at: _welch(tasks, "dense", at) for at in (-MARGIN, 0.0)}
    control = {at: _welch(tasks, "control", at) for at in (-MARGIN, 0.0, MARGIN)}
    return {
        "superior": dense[0.0][0],
        "non-inferior": dense[-MARGIN][0],
        "worse than dense": dense[-MARGIN][1],
        "better": control[0.0][0],
        "worse than random": control[0.0][1],
        "equivalent": np.maximum(control[-MARGIN][0], control[MARGIN][1]),
    }


def _welch(
    tasks: Sequence[tuple[Mapping[str, Sample], FloatArray]], other: str, at: float
) -> tuple[FloatArray, FloatArray]:
    """p-values against "the mean normalised difference between ticket and another arm is at most `at`", "at least"."""
    estimate, parts = np.zeros(1), []
    spread, least = np.zeros(1, dtype=bool), 0.0
    for of, gain in tasks:
        weights = {"ticket": 1.0, "control": 0.0, "dense": -at, "untrained": at}
        weights[other] -= 1.0
        form = sum((weight * of[arm].mean for arm, weight in weights.items()), start=np.zeros(1))
        estimate = estimate + np.where(np.abs(form) <= NORMALISED_ROUNDING * gain, 0.0, form) / gain
        parts += [
            ((weight / gain) ** 2 * of[arm].variance / of[arm].n, of[arm].n)
            for arm, weight in weights.items()
            if weight
        ]
        spread = spread | (of["ticket"].variance > 0) | (of[other].variance > 0)
        least = max(least, 1 / math.comb(of["ticket"].n + of[other].n, of[other].n))
    above, below = _by_student(estimate, parts)
    return np.where(spread, above, np.maximum(above, least)), np.where(spread, below, np.maximum(below, least))


def _by_student(estimate: FloatArray, parts: Sequence[tuple[FloatArray, int]]) -> tuple[FloatArray, FloatArray]:
    """p-values against "at most 0" and "at least 0" of an estimate whose variance has these parts, each of n runs."""
    total = sum((part for part, _ in parts), start=np.zeros(1))
    squared = sum((part**2 / (n - 1) for part, n in parts), start=np.zeros(1))
    certain = total == 0
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(certain, 0.0, estimate / np.sqrt(total))
        df = np.where(certain, 1.0, total**2 / squared)
    return np.where(certain, estimate <= 0, stdtr(df, -t)), np.where(certain, estimate >= 0, stdtr(df, t))
