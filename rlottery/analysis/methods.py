"""Magnitude against gradient: how much their masks share, and which tickets score higher, seed by seed."""

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from rlottery.analysis.runs import Run
from rlottery.errors import MaskError
from rlottery.pruning.mask_file import read_mask
from rlottery.pruning.masks import Overlap, overlap

Direction = Literal["grows", "shrinks", "neither"]


@dataclass(frozen=True)
class MaskOverlap:
    """How much the masks of two arms share: means over `seeds` of the Jaccard index of all kernel weights.

    `chance` is what two random masks with the same survivors in every layer would have.
    """

    magnitude: str
    gradient: str
    seeds: tuple[int, ...]
    jaccard: float
    chance: float


@dataclass(frozen=True)
class Pair:
    """A gradient arm and the magnitude arm of its sparsity.

    Attributes:
        magnitude, gradient: names of the arms.
        criterion: of the gradient arm.
        sparsity: by group.
        differences: seed -> gradient - magnitude in score, for the seeds that both have.
        mean: of the differences; None where there are none.
        ahead, level: in how many seeds gradient scored higher, and exactly as high.
    """

    magnitude: str
    gradient: str
    criterion: str
    sparsity: Mapping[str, float]
    differences: Mapping[int, float]
    mean: float | None
    ahead: int
    level: int


@dataclass(frozen=True)
class Trend:
    """How gradient - magnitude changes with sparsity.

    Attributes:
        criterion: of the gradient arms.
        seeds: those that every pair has; the means are over these alone.
        sparsities: by group, rising.
        means: the mean difference at each.
        direction: "grows" or "shrinks" where no step goes the other way and the ends differ.
    """

    criterion: str
    seeds: tuple[int, ...]
    sparsities: tuple[Mapping[str, float], ...]
    means: tuple[float, ...]
    direction: Direction


def pairs(by_arm: Mapping[str, Sequence[Run]], scores: Mapping[str, Mapping[int, float]]) -> tuple[Pair, ...]:
    """Every gradient arm with the magnitude arm of the same sparsity, by rising sparsity.

    Args:
        by_arm: arm -> its runs.
        scores: arm -> seed -> score.
    """
    return tuple(
        _pair(magnitude, gradient, scores[magnitude.arm], scores[gradient.arm])
        for magnitude, gradient in _matches(by_arm)
    )


def trends(found: Iterable[Pair]) -> tuple[Trend, ...]:
    """One trend for each criterion that has pairs at two or more sparsities over common seeds.

    Sparsity is the mean of the groups here. Where several arms share criterion and sparsity, the first by
    name stands for them.
    """
    compared = [pair for pair in found if pair.differences]
    criteria = sorted({pair.criterion for pair in compared})
    found_trends = (_trend([pair for pair in compared if pair.criterion == name]) for name in criteria)
    return tuple(trend for trend in found_trends if trend is not None)


def mask_overlaps(by_arm: Mapping[str, Sequence[Run]]) -> tuple[tuple[MaskOverlap, ...], tuple[str, ...]]:
    """The overlap of each such pair of arms, and in words what kept a mask from being read."""
    found: list[MaskOverlap] = []
    problems: list[str] = []
    for magnitude, gradient in _matches(by_arm):
        overlaps: dict[int, Overlap] = {}
        for one, other in _same_seed(by_arm[magnitude.arm], by_arm[gradient.arm]):
            if not (one.files.mask.exists() and other.files.mask.exists()):
                continue
            try:
                masks = read_mask(one.files.mask), read_mask(other.files.mask)
                overlaps[one.seed] = overlap(masks[0].all_layers, masks[1].all_layers)
            except MaskError as error:
                problems.append(str(error))
        if overlaps:
            found.append(_mean_overlap(magnitude.arm, gradient.arm, overlaps))
    return tuple(found), tuple(dict.fromkeys(problems))


def _same_seed(runs: Iterable[Run], others: Sequence[Run]) -> list[tuple[Run, Run]]:
    return [(run, other) for run in runs for other in others if run.seed == other.seed]


def _mean_overlap(magnitude: str, gradient: str, overlaps: Mapping[int, Overlap]) -> MaskOverlap:
    jaccard = statistics.fmean(of_seed.jaccard for of_seed in overlaps.values())
    chance = statistics.fmean(of_seed.chance for of_seed in overlaps.values())
    return MaskOverlap(magnitude, gradient, tuple(overlaps), jaccard, chance)


def _matches(by_arm: Mapping[str, Sequence[Run]]) -> list[tuple[Run, Run]]:
    """A run of a magnitude arm and one of a gradient arm for each two arms of equal sparsity."""
    tickets = [next((run for run in runs if run.sparsity is not None), None) for runs in by_arm.values() if runs]
    known = [run for run in tickets if run is not None]
    magnitudes = [run for run in known if run.method == "magnitude"]
    # The criterion magnitude under the method gradient gives the same masks: nothing to compare.
    gradients = [run for run in known if run.method == "gradient" and run.criterion != "magnitude"]
    matches = [(m, g) for m in magnitudes for g in gradients if _rounded(m) == _rounded(g)]
    return sorted(matches, key=lambda match: (_total(match[1].sparsity or {}), match[1].arm))


def _rounded(run: Run) -> dict[str, float]:
    return {group: round(share, 6) for group, share in (run.sparsity or {}).items()}


def _pair(
    magnitude: Run, gradient: Run, magnitude_scores: Mapping[int, float], gradient_scores: Mapping[int, float]
) -> Pair:
    differences = {
        # Rounded, for equal scores are means whose last bits may differ.
        seed: round(gradient_scores[seed] - magnitude_scores[seed], 9)
        for seed in magnitude_scores
        if seed in gradient_scores
    }
    return Pair(
        magnitude=magnitude.arm,
        gradient=gradient.arm,
        criterion=str(gradient.criterion),
        sparsity=dict(gradient.sparsity or {}),
        differences=differences,
        mean=statistics.fmean(differences.values()) if differences else None,
        ahead=sum(difference > 0 for difference in differences.values()),
        level=sum(difference == 0 for difference in differences.values()),
    )


def _trend(of_criterion: Sequence[Pair]) -> Trend | None:
    first: dict[float, Pair] = {}
    for pair in sorted(of_criterion, key=lambda pair: pair.gradient):
        first.setdefault(_total(pair.sparsity), pair)
    rising = [first[total] for total in sorted(first)]
    seeds = tuple(s for s in rising[0].differences if all(s in pair.differences for pair in rising))
    if len(rising) < 2 or not seeds:
        return None
    means = tuple(statistics.fmean(pair.differences[seed] for seed in seeds) for pair in rising)
    sparsities = tuple(pair.sparsity for pair in rising)
    return Trend(rising[0].criterion, seeds, sparsities, means, _direction(means))


def _direction(means: Sequence[float]) -> Direction:
    steps = [round(later - earlier, 9) for earlier, later in pairwise(means)]
    if all(step >= 0 for step in steps) and any(steps):
        return "grows"
    if all(step <= 0 for step in steps) and any(steps):
        return "shrinks"
    return "neither"


def _total(sparsity: Mapping[str, float]) -> float:
    # Rounded, for groups reach what was asked for to within a weight.
    return round(sum(sparsity.values()), 6)
