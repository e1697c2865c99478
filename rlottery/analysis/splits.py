"""How an arm's sparsity is split between its groups of networks: which arms have the same split, and which is higher.

A mean over the groups says neither: 90 % of the actor with 50 % of the critic, and the reverse, are opposites.
"""

from collections.abc import Hashable, Mapping
from typing import TypeAlias

Split: TypeAlias = Mapping[str, float]
"""Group -> pruned share of its kernel weights."""

NOISE = 1e-9
"""The same count of the same weights, computed in two ways: shares of one task differ by no more than this."""

REACHED = 0.01
"""Networks of other sizes reach the same requested share to within a weight: shares of two tasks, or of two groups."""

A_UNIT = 0.2
"""The same where whole units are pruned, of which narrow layers have few."""


def same_split(one: Split, other: Split, within: float = NOISE) -> bool:
    """Whether every group has the same share in both."""
    return one.keys() == other.keys() and all(abs(share - other[group]) <= within for group, share in one.items())


def is_uniform(split: Split) -> bool:
    """Whether all groups have the same share."""
    return max(split.values(), default=0.0) - min(split.values(), default=0.0) <= REACHED


def kinds_of_split(split: Split) -> dict[Hashable, float]:
    """The kinds of splits that this one can be ordered in, each with its place there.

    Uniform splits are ordered by their share. Others are ordered where they differ in a single group, by that group's
    share: 90 / 50 and 95 / 50, but not 90 / 50 and 50 / 90, nor 90 / 50 and a uniform split.
    """
    if is_uniform(split):
        return {"uniform": max(split.values(), default=0.0)}
    others = {group: {name: share for name, share in split.items() if name != group} for group in split}
    return {
        (group, *((name, round(share, 6)) for name, share in others[group].items())): split[group] for group in split
    }
