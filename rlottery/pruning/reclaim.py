"""Giving idle survivors back: a mask with as many weights, of which as many as possible are on a path.

A survivor that is on no path from an input to an output is idle (`pruning.effective`). Each is exchanged for a pruned
weight that is on a path once it survives, best score first. Exchanges stay within a network, so that its number of
weights stays the same; layers may keep more or fewer than before.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from rlottery.pruning.effective import check_chained, depends_on_an_input, leads_to_an_output
from rlottery.pruning.masks import GroupMask, by_network
from rlottery.pruning.ranking import BoolArray, RealArray, Scores

Indices: TypeAlias = NDArray[np.intp]
_D = TypeVar("_D", bound=np.generic)


def reclaimed(scores: Scores, mask: GroupMask, within: GroupMask | None = None) -> GroupMask:
    """The mask with its idle survivors exchanged for weights that are on a path.

    In turn, the lowest-scoring idle survivor is pruned, and the highest-scoring weight survives of those that are then
    on a path. If that leaves no such weight, the next lowest is tried. A weight is on a path if an input leads to the
    unit that it leaves and the unit that it enters leads to an output, so one exchange may put other idle survivors on
    a path too. If no single exchange is possible, two idle survivors are exchanged for the two weights that connect an
    unused unit, that of the highest sum of two scores. Among equal scores, the earlier layer, then the lower index
    survives.

    Each exchange puts at least one more survivor on a path, so there are at most as many as idle survivors, and a
    second call changes nothing. Idle survivors remain only if no exchange is possible: with all weights between the
    units in use surviving, a single one may remain, because an unused unit takes two; and with `within`, there may be
    too few weights to choose from. The result is that of a greedy procedure, not the mask with the highest sum of
    scores.

    The cost is that of some passes over the network's weights for each exchange that changes which weights could be on
    a path (at most a few for each hidden unit), and none for the others.

    Args:
        scores: path -> (inputs, outputs), finite.
        mask: with the paths and shapes of `scores`.
        within: the last mask; only its survivors can be chosen.

    Raises:
        MaskError: the layers of a network don't fit together.
    """
    found: GroupMask = {}
    for network in by_network(mask).values():
        check_chained(network)
        exchange = _Exchange(
            [scores[path] for path in network],
            list(network.values()),
            None if within is None else [within[path] for path in network],
        )
        found |= dict(zip(network, exchange.run(), strict=True))
    return {path: found[path] for path in mask}


class _Exchange:
    """The exchanges in one network. Its layers are one vector, so that an index names a weight."""

    def __init__(self, scores: Sequence[RealArray], kept: Sequence[BoolArray], allowed: Sequence[BoolArray] | None):
        self.shapes = [layer.shape for layer in kept]
        self.starts = np.cumsum([0, *(layer.size for layer in kept)])
        self.scores = np.concatenate([layer.ravel() for layer in scores])
        self.kept: BoolArray = np.concatenate([layer.ravel() for layer in kept])
        self.allowed = np.ones_like(self.kept) if allowed is None else np.concatenate([a.ravel() for a in allowed])

    def run(self) -> list[BoolArray]:
        """Exchanges until no survivor is idle, or nothing can be exchanged."""
        while True:
            opened = self._opened(self.kept)
            idle, gains = self._idle(opened), self._gains(opened)
            if not idle.size:
                break
            if not (self._many(idle, gains, opened) or (gains.size and self._one(idle)) or self._pair(idle)):
                break
        return self._layers(self.kept)

    def _many(self, idle: Indices, gains: Indices, opened: BoolArray) -> bool:
        """All exchanges up to the first that changes which weights could be on a path. Says whether there are any.

        Pruning more can only close paths, and more survivors can only open them. If neither all the pruning nor all the
        new survivors by themselves change anything, no exchange in between does.
        """

        def changes_nothing(number: int) -> bool:
            fewer, more = self.kept.copy(), self.kept.copy()
            fewer[idle[:number]] = False
            more[gains[:number]] = True
            return all(np.array_equal(self._opened(kept), opened) for kept in (fewer, more))

        number = _last_true(changes_nothing, min(idle.size, gains.size))
        self.kept[idle[:number]] = False
        self.kept[gains[:number]] = True
        return number > 0

    def _one(self, idle: Indices) -> bool:
        """The first exchange that is possible. Says whether there is one."""
        for index in idle:
            self.kept[index] = False
            gains = self._gains(self._opened(self.kept))
            if gains.size:
                self.kept[gains[0]] = True
                return True
            self.kept[index] = True
        return False

    def _pair(self, idle: Indices) -> bool:
        """Two idle survivors for the two weights of an unused unit. Says whether that is possible."""
        if idle.size < 2:
            return False
        self.kept[idle[:2]] = False
        layers = self._layers(self.kept)
        varies, lives = depends_on_an_input(layers), leads_to_an_output(layers)
        # Worth choosing: -inf for all other weights.
        worth = self._layers(np.where(self.allowed & ~self.kept, self.scores, -np.inf))
        best: tuple[float, list[int]] = (-np.inf, [])
        for layer, (first, second) in enumerate(pairwise(worth)):
            entering = np.where(varies[layer][:, None], first, -np.inf)
            leaving = np.where(lives[layer + 2], second, -np.inf)
            sums = np.where(varies[layer + 1] | lives[layer + 1], -np.inf, entering.max(axis=0) + leaving.max(axis=1))
            unit = int(sums.argmax())
            if sums[unit] > best[0]:
                source, target = int(entering[:, unit].argmax()), int(leaving[unit].argmax())
                into = int(self.starts[layer]) + source * first.shape[1] + unit
                out = int(self.starts[layer + 1]) + unit * second.shape[1] + target
                best = (float(sums[unit]), [into, out])
        self.kept[best[1] or idle[:2]] = True
        return bool(best[1])

    def _opened(self, kept: BoolArray) -> BoolArray:
        """Which weights are on a path if they survive."""
        layers = self._layers(kept)
        varies, lives = depends_on_an_input(layers)[:-1], leads_to_an_output(layers)[1:]
        return np.concatenate([np.logical_and.outer(*ends).ravel() for ends in zip(varies, lives, strict=True)])

    def _idle(self, opened: BoolArray) -> Indices:
        """The survivors on no path, lowest score first; among equal scores the last first."""
        idle = np.flatnonzero(self.kept & ~opened)[::-1]
        return idle[np.argsort(self.scores[idle], kind="stable")]

    def _gains(self, opened: BoolArray) -> Indices:
        """The pruned weights that would be on a path, highest score first; among equal scores the first first."""
        gains = np.flatnonzero(opened & ~self.kept & self.allowed)
        return gains[np.argsort(-self.scores[gains], kind="stable")]

    def _layers(self, whole: NDArray[_D]) -> list[NDArray[_D]]:
        parts = np.split(whole, self.starts[1:-1])
        return [part.reshape(shape) for part, shape in zip(parts, self.shapes, strict=True)]


def _last_true(holds: Callable[[int], bool], most: int) -> int:
    """The largest number up to `most` for which `holds`, which is true of 0 and, once false, stays false."""
    least = 0
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if holds(middle) else (least, middle - 1)
    return least
