"""What a mask really keeps: the survivors on a path from an input to an output, and the hidden units on such a path.

The other survivors are idle. What leads to a dead unit changes no output, and what comes from a constant unit only adds
to the biases behind it. A mask with many idle survivors is sparser than its count says: its effective sparsity is the
share of weights that are on no path (Vysogorets and Kempe 2023, Connectivity Matters, arXiv:2107.02306).
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.ranking import BoolArray, RealArray

Networks: TypeAlias = Mapping[str, Mapping[str, BoolArray]]
"""The mask of a group as `masks.by_network` divides it: name -> layer path -> bool (inputs, outputs)."""


@dataclass(frozen=True)
class Effective:
    """What the mask of a group really keeps.

    Attributes:
        kept, useful: layer path -> survivors, and those of them that are on a path from an input to an output.
        total: weights of the group.
        units: path of each layer that makes hidden units -> (units on such a path, units in all).
    """

    kept: dict[str, int]
    useful: dict[str, int]
    total: int
    units: dict[str, tuple[int, int]]

    @property
    def sparsity(self) -> float:
        """The effective sparsity: the share of the group's weights that are on no path."""
        return 1 - sum(self.useful.values()) / self.total

    @property
    def idle(self) -> float:
        """The share of the survivors that are on no path; 0 if nothing survives."""
        kept = sum(self.kept.values())
        return (kept - sum(self.useful.values())) / kept if kept else 0.0

    def as_metadata(self) -> dict[str, Any]:
        """As plain values: the effective `sparsity`, `layers` (path -> useful) and `units` (path -> [used, units])."""
        units = {path: list(counts) for path, counts in self.units.items()}
        return {"sparsity": self.sparsity, "layers": dict(self.useful), "units": units}


def effective(networks: Networks) -> Effective:
    """What a group's mask really keeps.

    Raises:
        MaskError: the layers of a network don't fit together.
    """
    kept: dict[str, int] = {}
    useful: dict[str, int] = {}
    units: dict[str, tuple[int, int]] = {}
    for network in networks.values():
        check_chained(network)
        layers = list(network.values())
        used = units_in_use(layers)
        for path, layer, on_path, after in zip(network, layers, on_a_path(layers), used[1:], strict=True):
            kept[path], useful[path] = int(np.count_nonzero(layer)), int(np.count_nonzero(on_path))
            if layer is not layers[-1]:
                units[path] = int(np.count_nonzero(after)), after.size
    total = sum(layer.size for network in networks.values() for layer in network.values())
    return Effective(kept, useful, total, units)


def on_a_path(kept: Sequence[BoolArray]) -> list[BoolArray]:
    """The survivors of each layer that are on a path from an input to an output.

    Args:
        kept: the masks of a network's layers, bool (inputs, outputs), from input to output.
    """
    used = units_in_use(kept)
    return [layer & before[:, None] & after for layer, before, after in zip(kept, used[:-1], used[1:], strict=True)]


def units_in_use(kept: Sequence[BoolArray]) -> list[BoolArray]:
    """For the inputs, each hidden layer and the outputs: which units are on a path from an input to an output."""
    return [lives & varies for lives, varies in zip(leads_to_an_output(kept), depends_on_an_input(kept), strict=True)]


def leads_to_an_output(kept: Sequence[BoolArray]) -> list[BoolArray]:
    """For the inputs, each hidden layer and the outputs: which units have a path to an output; bool (units,) each."""
    found: list[BoolArray] = [np.ones(kept[-1].shape[1], np.bool_)]
    for mask in reversed(kept):
        found.append(np.logical_or.reduce(mask[:, found[-1]], axis=1))
    return found[::-1]


def depends_on_an_input(kept: Sequence[BoolArray]) -> list[BoolArray]:
    """For the inputs, each hidden layer and the outputs: which units have a path from an input."""
    found: list[BoolArray] = [np.ones(kept[0].shape[0], np.bool_)]
    for mask in kept:
        found.append(np.logical_or.reduce(mask[found[-1]], axis=0))
    return found


def check_chained(network: Mapping[str, BoolArray]) -> None:
    """Check that every layer has as many inputs as the layer before it has outputs, or raise a MaskError."""
    for (_, before), (path, after) in pairwise(network.items()):
        if before.shape[1] != after.shape[0]:
            raise MaskError(
                f"Layer {path!r} has {after.shape[0]} inputs, but the layer before it has {before.shape[1]} outputs."
            )


def mean_rank_one(layers: Iterable[tuple[float | None, int]]) -> float | None:
    """The mean `rank_one_share` of layers, weighted by their weights; None if that of no layer is known.

    Args:
        layers: the share, if it is known, and the number of weights of each.
    """
    known = [(share, size) for share, size in layers if share is not None]
    return sum(share * size for share, size in known) / sum(size for _, size in known) if known else None


def rank_one_share(scores: RealArray) -> float | None:
    """How much of a layer's scores is a product of one number per input and one per output.

    The squared first singular value over the sum of all squares: the share that the best matrix of rank one explains
    (Eckart and Young 1936). Near 1, the score of a weight says which units it connects and little more, so pruning by
    it removes whole units.

    Args:
        scores: (inputs, outputs), finite.

    Returns:
        From 0 to 1, to four digits. None for a single row or column, for which it is always 1, and if all are zero.
    """
    if min(scores.shape) == 1 or not (largest := np.abs(scores).max()):
        return None
    relative = (scores / largest).astype(np.float64)
    # Digits that depend on the machine's linear algebra library are left out.
    return round(float(np.linalg.norm(relative, 2) ** 2 / np.sum(relative**2)), 4)
