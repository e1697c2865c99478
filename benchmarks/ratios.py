"""Medians of ratios over interleaved rounds.

Disturbances that two measurements of one round share (clock frequency, a noisy neighbour) cancel in their ratio. The
median then ignores rounds in which a disturbance affected only one of them.
"""

import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np


class Summary(NamedTuple):
    """The median of some samples, and their lower and upper quartile."""

    median: float
    lower: float
    upper: float


def summarise(samples: Sequence[float]) -> Summary:
    """Median and quartiles, with linear interpolation between samples."""
    lower, median, upper = np.quantile(samples, [0.25, 0.5, 0.75])
    return Summary(float(median), float(lower), float(upper))


def units_per_second(unit: Callable[[], object], seconds: float, clock: Callable[[], float] = time.monotonic) -> float:
    """The rate of calls of `unit`, one after the other, for `seconds` of `clock`; at least one call."""
    began = now = clock()
    units = 0
    while now - began < seconds:
        unit()
        units += 1
        now = clock()
    return units / (now - began)


def harmonic_mean(first: float, second: float) -> float:
    """The rate over two equal amounts of work, one done at the rate `first`, the other at `second`."""
    return 2.0 / (1.0 / first + 1.0 / second)


def share_of_limit(rate: float, flops: float, limit: float) -> float:
    """Share of `limit` (FLOP/s) that work of `flops` FLOP per unit reaches at `rate` units/s."""
    return rate * flops / limit


def scaling(alone: tuple[float, float], together: tuple[float, float]) -> float:
    """Speed-up of two concurrent workers over one: the sum of their rates over the mean of their rates alone."""
    return sum(together) / (sum(alone) / 2.0)


def share_of_serial_rate(rate: float, *part_rates: float) -> float:
    """`rate` over that of a loop that does each part once per iteration and nothing else."""
    return rate * sum(1.0 / part for part in part_rates)
