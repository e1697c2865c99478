"""How often the verdict's claims are false, by simulation: ``nice -n 15 uv run python -m benchmarks.verdict_errors``.

Takes two minutes of one core, and writes benchmarks/results/verdict_errors.csv. Every case is on the boundary of its
claim, where false claims are most frequent. Dense agents gain 1 on average. The columns are:

    claim         superior, non-inferior, worse than dense; better, worse than random, equivalent; wins (non-inferior
                  and better); any false: superior, better or worse in any way; fails more often (Fisher's exact test);
                  and contrasts: one is above the other, two differ, two differences differ
    scores        normal or t3 (Student's t, 3 degrees of freedom), with the standard deviations of ticket and others;
                  runs of a committed study (TASK TICKET), resampled and shifted to the boundary;
                  rare failures (TASK): tickets are dense runs of a committed study, of which so many are replaced by
                  failed runs that the mean is at the boundary; 0 or 1, and 0.95 or 0.05 measured in 30 episodes, with
                  the share of dense agents that succeed
    boundary      where the means are
    structure     one ticket; 24: 8 tickets on each of 3 tasks, with Holm's correction (any false claim); pooled: the
                  mean over 3 tasks; + others: one ticket, in a study with 6 more arms that fail as often as it does
    seeds         runs of each arm
    error         the share of simulated studies that make the claim
    unflagged     the same without the claims that the report says to rest on no failure seen
    by_area       the share of studies with a ticket that is tied with the other arm at the best score: there areas
                  under the curve decide, which this simulation doesn't have
    mc_error      standard error of `error`
"""

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import NamedTuple, TypeAlias

import numpy as np

from benchmarks.simulated_verdicts import (
    CLAIMS,
    FAILED_BELOW,
    LEVEL,
    MARGIN,
    Sample,
    Task,
    claimed,
    contrast_p,
    fails_more_often_p,
    judged,
    pooled_p_values,
)
from rlottery.analysis.arrays import FloatArray
from rlottery.storage.disk import write_bytes

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks/results/verdict_errors.csv"
REFERENCE = ROOT / "results/reference"
SEEDS = (5, 8, 10, 20)
SIMULATIONS, STUDIES = 20_000, 5_000
ARMS, TASKS = 8, 3
POLICIES, UNTRAINED_SPREAD = 100, 0.3
EPISODES = 30
GOOD, BAD = 0.95, 0.05
OTHERS = 6

BOUNDARIES = {
    "all the same": (1.0, 1.0, ("superior", "better", "worse than random", "wins", "any false")),
    "at -margin, above random": (1 - MARGIN, 0.5, ("non-inferior", "worse than dense", "wins")),
    "above random by the margin": (1.0, 1 - MARGIN, ("equivalent",)),
    "below random by the margin": (1.0, 1 + MARGIN, ("equivalent",)),
}
"""Means of ticket and control, where that of dense is 1, and the claims that are false."""

POSITIVE = ("superior", "non-inferior", "equivalent", "wins")
"""Claims that a failure not seen yet could make wrong."""

Draw: TypeAlias = Callable[[tuple[int, ...]], FloatArray]
"""Draws scores of a shape."""


class Row(NamedTuple):
    """A row of the result."""

    claim: str
    scores: str
    boundary: str
    structure: str
    seeds: int
    simulations: int
    error: float
    unflagged: float
    by_area: float

    @property
    def mc_error(self) -> float:
        """Standard error of `error`."""
        return math.sqrt(self.error * (1 - self.error) / self.simulations)


def rows_of(tasks: Sequence[Task], claims: Sequence[str], scores: str, boundary: str, structure: str) -> Iterator[Row]:
    """The rates of claims in simulated studies of one task or several."""
    if structure == "pooled":
        p, no_failure, tied = pooled_p_values(tasks), {}, {}
    else:
        of = [judged(task) for task in tasks]
        p = {claim: np.concatenate([one.p[claim] for one in of], axis=-1) for claim in of[0].p}
        no_failure, tied = (
            {question: np.concatenate([getattr(one, name)[question] for one in of], axis=-1) for question in CLAIMS}
            for name in ("no_failure", "tied")
        )
    made = claimed(p)
    made["any false"] = made["superior"] | made["better"] | made["worse than dense"] | made["worse than random"]
    studies, seeds = len(tasks[0].dense), tasks[0].dense.shape[-1]
    for claim in claims:
        question = "random" if claim in CLAIMS["random"] else "dense"
        no_flag = np.zeros_like(made[claim])
        flagged = no_failure.get(question, no_flag) if claim in POSITIVE else no_flag
        error, unflagged = (float(which.any(axis=-1).mean()) for which in (made[claim], made[claim] & ~flagged))
        by_area = float(tied.get(question, no_flag).any(axis=-1).mean())
        yield Row(claim, scores, boundary, structure, seeds, studies, error, unflagged, by_area)


# ------------------------------------------------------------------------------- Normal, heavy tails


def _shaped(generator: np.random.Generator, name: str) -> Draw:
    """Scores with mean 0 and standard deviation 1."""
    if name == "normal":
        return generator.standard_normal
    return lambda shape: generator.standard_t(3, shape) / math.sqrt(3)


def _untrained(generator: np.random.Generator, studies: int) -> Sample:
    """Means and variances of normal scores of untrained policies: one sample for each study."""
    mean = UNTRAINED_SPREAD / math.sqrt(POLICIES) * generator.standard_normal((studies, 1))
    variance = UNTRAINED_SPREAD**2 * generator.chisquare(POLICIES - 1, (studies, 1)) / (POLICIES - 1)
    return Sample(POLICIES, mean, variance)


def _studies(
    generator: np.random.Generator,
    draw: Draw,
    shape: tuple[int, int, int],
    means: tuple[float, float],
    spreads: tuple[float, float],
) -> Task:
    """A task of studies, tickets and seeds, with the spread of tickets and that of the other arms."""
    studies, tickets, seeds = shape
    ticket, other = spreads
    return Task(
        untrained=_untrained(generator, studies),
        dense=1.0 + other * draw((studies, 1, seeds)),
        ticket=means[0] + ticket * draw((studies, tickets, seeds)),
        control=means[1] + other * draw((studies, tickets, seeds)),
        learned=True,
    )


def smooth(generator: np.random.Generator) -> Iterator[Row]:
    """One ticket on one task, many together, and tasks pooled."""
    for name in ("normal", "t3"):
        draw = _shaped(generator, name)
        for seeds, (boundary, (ticket, control, claims)) in product(SEEDS, BOUNDARIES.items()):
            means = ticket, control
            for spreads in ((0.1, 0.1), (0.3, 0.3), (0.3, 0.1), (0.1, 0.3)):
                task = _studies(generator, draw, (SIMULATIONS, 1, seeds), means, spreads)
                scores = f"{name} {spreads[0]:g} and {spreads[1]:g}"
                yield from rows_of([task], claims, scores, boundary, "one")
            tasks = [_studies(generator, draw, (STUDIES, ARMS, seeds), means, (0.1, 0.1)) for _ in range(TASKS)]
            yield from rows_of(tasks, claims, f"{name} 0.1 and 0.1", boundary, f"{ARMS * TASKS}")
            for spread in (0.1, 0.3):
                tasks = [
                    _studies(generator, draw, (SIMULATIONS, 1, seeds), means, (of, of))
                    for of in (spread, spread / 3, spread / 10)
                ]
                yield from rows_of(tasks, claims, f"{name} {spread:g}, a third and a tenth of it", boundary, "pooled")


def contrasts(generator: np.random.Generator) -> Iterator[Row]:
    """Contrasts of arms with the same mean: two arms, and two differences between arms."""
    for name, seeds in product(("normal", "t3"), SEEDS):
        draw = _shaped(generator, name)
        for spreads in ((0.1,) * 4, (0.3, 0.1, 0.3, 0.1)):
            arms = [spread * draw((SIMULATIONS, seeds)) for spread in spreads]
            one, both = contrast_p(arms[:2], (1, -1)), contrast_p(arms, (1, -1, -1, 1))
            rates = {
                "above": one <= LEVEL,
                "differ": 2 * np.minimum(one, 1 - one) <= LEVEL,
                "differences differ": 2 * np.minimum(both, 1 - both) <= LEVEL,
            }
            for claim, made in rates.items():
                error = float(made.mean())
                scores = f"{name} {spreads[0]:g} and {spreads[1]:g}"
                yield Row(claim, scores, "all the same", "one", seeds, SIMULATIONS, error, error, 0.0)


# ------------------------------------------------------------------------------- From committed runs


class Committed(NamedTuple):
    """The runs of a task of a committed study, as normalised scores: 0 is untrained, 1 is the mean of dense.

    Attributes:
        arms: arm -> its runs.
        resolution: the smallest difference between two success rates; None for returns.
    """

    task: str
    arms: dict[str, FloatArray]
    resolution: float | None

    @property
    def failed(self) -> FloatArray:
        """The failed runs of the arms of which some fail and others don't."""
        mixed = [of for of in self.arms.values() if 0 < (of < FAILED_BELOW).sum() < of.size]
        runs = np.concatenate(mixed)
        return runs[runs < FAILED_BELOW]


def committed_tasks(folder: Path = REFERENCE) -> list[Committed]:
    """The tasks of a committed study."""
    scores: dict[str, dict[str, list[float]]] = {}
    success = set()
    for row in csv.DictReader((folder / "comparison.csv").read_text().splitlines()):
        scores.setdefault(row["task"], {}).setdefault(row["arm"], []).append(float(row["score"]))
        success |= {row["task"]} if row["metric"] == "success" else set()
    found = []
    for task, arms in scores.items():
        table = csv.DictReader((folder / f"tables/scores_{task}.csv").read_text().splitlines())
        untrained = next(float(row["before"]) for row in table if row["arm"] == "dense")
        gain = float(np.mean(arms["dense"])) - untrained
        normalised = {arm: (np.array(runs) - untrained) / gain for arm, runs in arms.items()}
        found.append(Committed(task, normalised, 1 / EPISODES / gain if task in success else None))
    return found


def failing_share(task: Committed) -> float:
    """The share of failed runs that takes the mean of dense agents to the margin."""
    return MARGIN / (1.0 - float(task.failed.mean()))


_ZERO = np.zeros(POLICIES)


def shifted(generator: np.random.Generator) -> Iterator[Row]:
    """Tickets, their controls and dense agents of the committed study, resampled, with shifted means."""
    for task in committed_tasks():
        for arm, runs in task.arms.items():
            control = task.arms.get(f"random-{arm.rpartition('-')[2]}")
            if not arm.startswith(("magnitude", "taylor")) or control is None or np.ptp(runs) == 0:
                continue
            for seeds, (boundary, (ticket_mean, control_mean, claims)) in product(SEEDS, BOUNDARIES.items()):
                yield from rows_of(
                    [
                        Task(
                            untrained=_ZERO,
                            dense=generator.choice(task.arms["dense"], (STUDIES, 1, seeds)),
                            ticket=generator.choice(runs - runs.mean() + ticket_mean, (STUDIES, 1, seeds)),
                            control=generator.choice(control - control.mean() + control_mean, (STUDIES, 1, seeds)),
                            learned=True,
                        )
                    ],
                    [claim for claim in claims if claim != "any false"],
                    f"{task.task} {arm}",
                    boundary,
                    "one",
                )


def rare_failures(generator: np.random.Generator) -> Iterator[Row]:
    """Tickets that are as good as dense agents, but for failures that take their mean to the margin."""
    for task in committed_tasks():
        good, bad, rate = task.arms["dense"], task.failed, failing_share(task)

        def failing(
            shape: tuple[int, ...], rate: float = rate, good: FloatArray = good, bad: FloatArray = bad
        ) -> FloatArray:
            return np.where(generator.random(shape) < rate, generator.choice(bad, shape), generator.choice(good, shape))

        for seeds in SEEDS:
            one = (SIMULATIONS, 1, seeds)
            for others in (0, OTHERS):
                studies = Task(
                    untrained=_ZERO,
                    dense=generator.choice(good, one),
                    ticket=failing(one),
                    control=failing(one) - 0.5,
                    others=failing((SIMULATIONS, others, seeds)) if others else None,
                    resolution=task.resolution,
                )
                scores = f"rare failures ({task.task}, {rate:.3f} of tickets)"
                structure = "one + others" if others else "one"
                yield from rows_of([studies], ("non-inferior",), scores, "at -margin, above random", structure)
                against = studies._replace(control=generator.choice(good, one))
                yield from rows_of([against], ("equivalent",), scores, "below random by the margin", structure)
            same = Task(_ZERO, failing(one), failing(one), failing(one), resolution=task.resolution)
            yield from rows_of([same], BOUNDARIES["all the same"][2], scores, "all the same", "one")


# ------------------------------------------------------------------------------------- Success rates


def _ends(generator: np.random.Generator, kind: str, shape: tuple[int, ...], share: float) -> FloatArray:
    """Scores of runs of which a share succeeds."""
    success = generator.random(shape) < share
    if kind == "0 or 1":
        return success.astype(float)
    return generator.binomial(EPISODES, np.where(success, GOOD, BAD)) / EPISODES


def _two_ended(
    generator: np.random.Generator, kind: str, shares: tuple[float, float, float], shape: tuple[int, int, int]
) -> Task:
    """A task with these shares of dense agents, tickets and controls that succeed."""
    studies, _, seeds = shape
    dense, ticket, control = (
        _ends(generator, kind, of, share) for of, share in zip(((studies, 1, seeds), shape, shape), shares, strict=True)
    )
    return Task(_ZERO, dense, ticket, control, resolution=1 / EPISODES)


def two_ends(generator: np.random.Generator) -> Iterator[Row]:
    """Runs that succeed or fail, as their success rates show."""
    for kind, share, seeds in product(("0 or 1", "0.95 or 0.05"), (1.0, 0.8, 0.5), SEEDS):
        low, high = (0.0, 1.0) if kind == "0 or 1" else (BAD, GOOD)
        fewer = ((1 - MARGIN) * (low + (high - low) * share) - low) / (high - low)
        scores = f"{kind}, {share:g} succeed"
        for structure, tasks, shape in (
            ("one", 1, (SIMULATIONS, 1, seeds)),
            (f"{ARMS * TASKS}", TASKS, (STUDIES, ARMS, seeds)),
        ):
            for boundary, of_ticket, of_control, claims in (
                ("at -margin, above random", fewer, 0.1, ("non-inferior", "worse than dense")),
                ("below random by the margin", fewer, share, ("equivalent",)),
                ("all the same", share, share, BOUNDARIES["all the same"][2]),
            ):
                shares = share, of_ticket, of_control
                made = [_two_ended(generator, kind, shares, shape) for _ in range(tasks)]
                yield from rows_of(made, claims, scores, boundary, structure)
        failed = [generator.binomial(seeds, 1 - share, SIMULATIONS) for _ in range(2)]
        error = float((fails_more_often_p(failed[0], failed[1], seeds) <= LEVEL).mean())
        yield Row("fails more often", scores, "all the same", "one", seeds, SIMULATIONS, error, error, 0.0)


def main() -> None:
    parts = (smooth, contrasts, shifted, rare_failures, two_ends)
    rows = [row for number, part in enumerate(parts) for row in part(np.random.default_rng([2026, number]))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow((*Row._fields, "mc_error"))
    for row in rows:
        writer.writerow((*row[:6], *(f"{value:.4f}" for value in (*row[6:], row.mc_error))))
    write_bytes(RESULT, text.getvalue().encode())


if __name__ == "__main__":
    main()
