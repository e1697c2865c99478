"""Type I errors of the verdict, by simulation: ``nice -n 15 uv run python -m benchmarks.verdict_errors``.

Takes a minute of one core. Writes benchmarks/results/verdict_errors.csv, and prints whether errors on normal data stay
within the nominal 5 %. Every case is on a boundary of its claim, where errors are most frequent. Scores are simulated,
one per seed: U untrained, D dense, T ticket, C control. Dense agents gain 1 on average. The columns are:

    claim         the false claim: "not worse" (non-inferior to dense at the margin), "losing" (worse than that),
                  "winning" (non-inferior, and better than its control), "sparse" (non-inferior, equivalent to control)
    data          normal: one ticket on one task; 24 together: 8 arms x 3 tasks, Holm; 3 pooled: mean over three tasks;
                  0 or 1: a run ends at one of them; mixture: success rates of 95 % and 5 %, measured in 30 episodes;
                  noise: one success rate, measured in 30 episodes; 24 of them: 8 arms x 3 tasks, Holm
    boundary      where the means are
    correlation   of the scores of a seed; for 0 or 1 and mixture, how often a seed's ticket and dense agent succeed or
                  fail together
    spread        normal: standard deviation over gain (half of that for U); otherwise the share of dense agents that
                  succeed
    procedure     t: the verdict's test. verdict: the same, only if dense agents learned and scores are not tied at the
                  ceiling. flips: a sign-flip test. naive: t of T - D against -margin x mean gain
    error, mc_error   share of simulated studies that make the claim, and the standard error of that share
"""

import itertools
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.special import stdtr, stdtrit

from rlottery.analysis.arrays import ROUNDING, FloatArray
from rlottery.storage.disk import write_bytes

RESULT = Path(__file__).parent / "results" / "verdict_errors.csv"
MARGIN, LEVEL = 0.10, 0.05
SEEDS = (5, 10, 20)
SIMULATIONS, STUDIES = 100_000, 20_000
ARMS, TASKS = 8, 3
EPISODES = 30
GOOD, BAD = 0.95, 0.05
TIED_WITHIN = 0.02

WITHIN = {"equal, at the dense mean": (1.0, 1.0), "at -margin, above control": (1 - MARGIN, 0.5)}
"""Means of T and C. Winning is false if a ticket only matches its control, and if it is only better than that."""

APART = {
    "above control by the margin": (1.0, 1 - MARGIN),
    "below control by the margin": (1.0, 1 + MARGIN),
    "at -margin, equal": (1 - MARGIN, 1 - MARGIN),
}
"""Means of T and C at which "matches dense, no better than random" is false."""

AT_MARGIN = {"at -margin": (1 - MARGIN, 1.0)}


class Draw(NamedTuple):
    """Scores, (..., seeds) each."""

    untrained: FloatArray
    dense: FloatArray
    ticket: FloatArray
    control: FloatArray


class Row(NamedTuple):
    """A row of the result."""

    claim: str
    data: str
    boundary: str
    seeds: int
    correlation: float
    spread: float
    procedure: str
    simulations: int
    error: float

    @property
    def mc_error(self) -> float:
        """Standard error of `error`."""
        return math.sqrt(self.error * (1 - self.error) / self.simulations)


def t_statistic(values: FloatArray) -> FloatArray:
    """t statistic of "mean 0" over the last axis. Without spread it is 0 or infinite, as in `paired_t`."""
    mean, sd = values.mean(axis=-1), values.std(axis=-1, ddof=1)
    largest = np.abs(values).max(axis=-1)
    spread = np.ptp(values, axis=-1) > ROUNDING * largest
    side = np.where(np.abs(mean) > ROUNDING, np.copysign(np.inf, mean), 0.0)
    t: FloatArray = np.where(spread, mean / np.where(spread, sd, 1.0) * math.sqrt(values.shape[-1]), side)
    return t


def t_of_claims(draw: Draw) -> dict[str, FloatArray]:
    """Claim -> the smallest of the t statistics that must all exceed the critical value, (...,)."""
    gain = draw.dense - draw.untrained
    not_worse = t_statistic(draw.ticket - draw.dense + MARGIN * gain)
    over = draw.ticket - draw.control
    equal = np.minimum(t_statistic(MARGIN * gain + over), t_statistic(MARGIN * gain - over))
    return {
        "not worse": not_worse,
        "losing": -not_worse,
        "winning": np.minimum(not_worse, t_statistic(over)),
        "sparse": np.minimum(not_worse, equal),
    }


def naive_t(draw: Draw) -> FloatArray:
    """t statistic of T - D against -margin x the mean gain, as if the gain were known."""
    difference = draw.ticket - draw.dense
    threshold = MARGIN * (draw.dense - draw.untrained).mean(axis=-1, keepdims=True)
    spread = difference.std(axis=-1, ddof=1) / math.sqrt(difference.shape[-1])
    t: FloatArray = (difference + threshold).mean(axis=-1) / spread
    return t


def flipped_p(values: FloatArray) -> FloatArray:
    """The p-value of "mean 0 or less" over all sign flips, (simulations, seeds) to (simulations,)."""
    seeds = values.shape[-1]
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=seeds))).T
    blocks = np.array_split(values, max(1, len(values) * 2**seeds // 10_000_000))
    shares = [(block @ signs >= block.sum(axis=-1, keepdims=True) - 1e-9).mean(axis=-1) for block in blocks]
    return np.concatenate(shares)


def as_decided(t: FloatArray, draw: Draw) -> FloatArray:
    """t if scores decide (dense agents learned, and the two arms are not tied at the ceiling), otherwise -infinity."""
    learned = t_statistic(draw.dense) >= stdtrit(draw.dense.shape[-1] - 1, 1 - LEVEL)
    lowest = np.minimum(draw.ticket, draw.dense).min(axis=-1)
    best = np.maximum(draw.ticket, draw.dense).max(axis=-1)
    tied = lowest >= best - TIED_WITHIN * draw.dense.mean(axis=-1)
    decided: FloatArray = np.where(learned & ~tied, t, -np.inf)
    return decided


def made(t: FloatArray, seeds: int, level: float = LEVEL) -> float:
    """The share of studies that make the claim."""
    return float(np.mean(t >= stdtrit(seeds - 1, 1 - level)))


def normal(
    generator: np.random.Generator,
    shape: tuple[int, ...],
    means: tuple[float, float],
    correlation: float,
    spread: float,
    arms: tuple[int, ...] = (),
) -> Draw:
    """Normal scores; D, T and C of a seed share a factor, and all arms share D and U.

    Args:
        shape: (simulations, seeds); with arms, T and C are (simulations, arms, seeds).
        means: of ticket and control.
    """
    full = (shape[0], *arms, shape[1])
    one = (shape[0], *(1 for _ in arms), shape[1])
    factor = generator.standard_normal(one)

    def scores(mean: float, shape: tuple[int, ...]) -> FloatArray:
        own = generator.standard_normal(shape)
        return mean + spread * (math.sqrt(correlation) * factor + math.sqrt(1 - correlation) * own)

    untrained = spread / 2 * generator.standard_normal(one)
    return Draw(untrained, scores(1.0, one), scores(means[0], full), scores(means[1], full))


def one_arm(generator: np.random.Generator) -> Iterator[Row]:
    """One ticket on one task, normal scores."""
    for seeds, correlation, spread in itertools.product(SEEDS, (0.0, 0.5, 0.9, 0.99), (0.1, 0.3, 1.0)):
        for claims, boundaries in (
            (("not worse", "losing"), AT_MARGIN),
            (("winning",), WITHIN),
            (("sparse",), APART),
        ):
            if correlation == 0.99 and boundaries is not AT_MARGIN:
                continue
            for boundary, means in boundaries.items():
                draw = normal(generator, (SIMULATIONS, seeds), means, correlation, spread)
                t = t_of_claims(draw)
                for claim in claims:
                    case = (claim, "normal", boundary, seeds, correlation, spread)
                    yield Row(*case, "t", SIMULATIONS, made(t[claim], seeds))
                    if boundaries is AT_MARGIN:
                        naive = naive_t(draw) if claim == "not worse" else -naive_t(draw)
                        yield Row(*case, "naive", SIMULATIONS, made(naive, seeds))


def together(generator: np.random.Generator) -> Iterator[Row]:
    """Eight arms on three tasks at the same boundary: any false claim after Holm's correction.

    If all claims are false, Holm makes one exactly if the smallest p-value is at most level / 24.
    """
    correlation, spread = 0.5, 0.1
    for seeds in SEEDS:
        for claims, boundaries in (
            (("not worse", "losing"), AT_MARGIN),
            (("winning",), WITHIN),
            (("sparse",), APART),
        ):
            for boundary, means in boundaries.items():
                largest: dict[str, FloatArray] = {}
                for _ in range(TASKS):
                    draw = normal(generator, (STUDIES, seeds), means, correlation, spread, arms=(ARMS,))
                    for claim, t in t_of_claims(draw).items():
                        largest[claim] = np.maximum(largest.get(claim, -np.inf), t.max(axis=-1))
                for claim in claims:
                    error = made(largest[claim], seeds, LEVEL / (ARMS * TASKS))
                    yield Row(claim, "24 together", boundary, seeds, correlation, spread, "t", STUDIES, error)


def pooled(generator: np.random.Generator) -> Iterator[Row]:
    """The mean over three tasks of their shares, all at the boundary: Welch and Satterthwaite's approximation.

    The spreads are the row's, a third and a tenth of it.
    """
    for seeds, correlation, spread in itertools.product(SEEDS, (0.0, 0.9), (0.1, 0.3)):
        means, squared = [], []
        for of_task in (spread, spread / 3, spread / 10):
            draw = normal(generator, (SIMULATIONS, seeds), AT_MARGIN["at -margin"], correlation, of_task)
            gain = draw.dense - draw.untrained
            values = (draw.ticket - draw.dense + MARGIN * gain) / gain.mean(axis=-1, keepdims=True)
            means.append(values.mean(axis=-1))
            squared.append(values.var(axis=-1, ddof=1) / seeds)
        t = np.sum(means, axis=0) / np.sqrt(np.sum(squared, axis=0))
        df = np.sum(squared, axis=0) ** 2 / np.sum(np.square(squared) / (seeds - 1), axis=0)
        for claim, p in (("not worse", stdtr(df, -t)), ("losing", stdtr(df, t))):
            error = float(np.mean(p <= LEVEL))
            yield Row(claim, "3 pooled", "at -margin", seeds, correlation, spread, "t", SIMULATIONS, error)


def success_rates(
    generator: np.random.Generator, kind: str, shape: tuple[int, int], share: float, coupling: float, arms: int = 1
) -> Draw:
    """Success rates of dense agents of which `share` succeed, and of tickets whose mean is (1 - margin) of theirs.

    With several arms T is (simulations, arms, seeds), D (simulations, 1, seeds).
    """
    one, full = ((shape[0], 1, shape[1]), (shape[0], arms, shape[1])) if arms > 1 else (shape, shape)
    if kind == "noise":
        dense, ticket = (
            generator.binomial(EPISODES, rate, size) / EPISODES
            for rate, size in ((share, one), ((1 - MARGIN) * share, full))
        )
        return Draw(np.zeros(one), dense, ticket, np.zeros(full))
    good, bad = (1.0, 0.0) if kind == "0 or 1" else (GOOD, BAD)
    ticket_share = ((1 - MARGIN) * (bad + (good - bad) * share) - bad) / (good - bad)
    luck = generator.random(one)
    ticket_luck = np.where(generator.random(full) < coupling, luck, generator.random(full))
    dense, ticket = np.where(luck < share, good, bad), np.where(ticket_luck < ticket_share, good, bad)
    if kind == "mixture":
        dense, ticket = (generator.binomial(EPISODES, rates) / EPISODES for rates in (dense, ticket))
    return Draw(np.zeros(one), dense, ticket, np.zeros(full))


def two_ends(generator: np.random.Generator) -> Iterator[Row]:
    """One ticket on one task whose runs succeed or fail."""
    kinds = (("0 or 1", (1.0, 0.8, 0.5)), ("mixture", (1.0, 0.8, 0.5)), ("noise", (0.95,)))
    cases = [(kind, share) for kind, shares in kinds for share in shares]
    for seeds, (kind, share), coupling in itertools.product(SEEDS, cases, (0.0, 0.5)):
        if coupling and (share == 1 or kind == "noise"):
            continue
        draw = success_rates(generator, kind, (SIMULATIONS, seeds), share, coupling)
        values = draw.ticket - (1 - MARGIN) * draw.dense
        t = t_of_claims(draw)
        for claim, side in (("not worse", 1), ("losing", -1)):
            case = (claim, kind, "at -margin", seeds, coupling, share)
            yield Row(*case, "t", SIMULATIONS, made(t[claim], seeds))
            yield Row(*case, "verdict", SIMULATIONS, made(as_decided(t[claim], draw), seeds))
            if seeds <= 10:
                few = (side * values)[: SIMULATIONS // 5]
                yield Row(*case, "flips", len(few), float(np.mean(flipped_p(few) <= LEVEL)))


def two_ends_together(generator: np.random.Generator) -> Iterator[Row]:
    """Eight arms on three tasks whose runs succeed or fail: any false claim after Holm's correction."""
    for kind, seeds, share in itertools.product(("0 or 1", "mixture"), SEEDS, (1.0, 0.8)):
        largest: dict[tuple[str, str], FloatArray] = {}
        for _ in range(TASKS):
            draw = success_rates(generator, kind, (STUDIES, seeds), share, 0.0, arms=ARMS)
            t = t_of_claims(draw)
            for claim in ("not worse", "losing"):
                for procedure, values in (("t", t[claim]), ("verdict", as_decided(t[claim], draw))):
                    before = largest.get((claim, procedure), -np.inf)
                    largest[claim, procedure] = np.maximum(before, values.max(axis=-1))
        for (claim, procedure), values in largest.items():
            error = made(values, seeds, LEVEL / (ARMS * TASKS))
            yield Row(claim, f"24 of {kind}", "at -margin", seeds, 0.0, share, procedure, STUDIES, error)


def beyond_nominal(rows: list[Row]) -> Mapping[str, float]:
    """The largest excess of the errors of t on normal data over 5 %, in Monte Carlo standard errors."""
    worst: dict[str, float] = {}
    nominal = math.sqrt(LEVEL * (1 - LEVEL))
    for row in rows:
        if row.procedure == "t" and row.data in ("normal", "24 together", "3 pooled"):
            beyond = (row.error - LEVEL) / nominal * math.sqrt(row.simulations)
            worst[row.data] = max(worst.get(row.data, -math.inf), beyond)
    return worst


def main() -> None:
    parts = (one_arm, together, pooled, two_ends, two_ends_together)
    rows = [row for number, part in enumerate(parts) for row in part(np.random.default_rng([2026, number]))]
    lines = [",".join((*Row._fields, "mc_error"))]
    for row in rows:
        numbers = (f"{value:g}" for value in row[3:6])
        lines.append(
            ",".join((*(f'"{text}"' if "," in text else text for text in row[:3]), *numbers, row.procedure))
            + f",{row.simulations},{row.error:.4f},{row.mc_error:.4f}"
        )
    write_bytes(RESULT, ("\n".join(lines) + "\n").encode())
    for data, beyond in beyond_nominal(rows).items():
        cases = sum(row.procedure == "t" and row.data == data for row in rows)
        print(f"{data}: {cases} cases, the largest error is {beyond:+.1f} standard errors from {LEVEL:.0%}")


if __name__ == "__main__":
    main()
