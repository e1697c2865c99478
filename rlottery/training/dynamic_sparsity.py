"""Masks that change during training: gradual magnitude pruning, and dynamic sparse training with SET or RigL.

`prune_more` and `drop_and_grow` are one update of one group's mask: pure functions of NumPy arrays. `DynamicSparsity`
decides when to apply them to an agent. It has no state of its own: the mask is part of the agent's state, and random
numbers depend only on the run and the step. Training therefore resumes from any saved state exactly.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, partial
from math import floor as round_down
from typing import Any, Literal

import jax
import numpy as np

from rlottery.agents.base import Algorithm, jax_key, kernels, nest_masks
from rlottery.errors import naming
from rlottery.pruning.criteria import Kernels
from rlottery.pruning.masks import GroupMask, check_connected, first_connected, select, survivors
from rlottery.pruning.prune import Rule, Twins, allocate
from rlottery.pruning.ranking import Scores
from rlottery.pruning.schedule_math import cubic_sparsity, drop_fraction
from rlottery.seeding import Streams
from rlottery.storage.transitions import Transitions
from rlottery.training.compilation import compiler_options


def prune_more(
    weights: Kernels,
    mask: GroupMask,
    sparsity: float,
    allocation: Rule = "global",
    floor: int = 1,
    twins: Twins = "separate",
) -> GroupMask:
    """One step of gradual magnitude pruning (Zhu and Gupta 2017, arXiv:1710.01878): keep the largest survivors.

    Args:
        weights: path -> (inputs, outputs), layers in order.
        mask: the current survivors; pruned weights stay pruned.
        sparsity: share of the group's weights that is pruned afterwards, in [0, 1); the count is exact.
        floor: minimum weights per layer.
        twins: as for `prune`.

    Raises:
        MaskError: there are fewer survivors than should be kept, the sparsity is out of range, or the minimum weights
            per layer can't be met.
    """
    scores = _magnitudes(weights, mask)
    return select(scores, allocate(allocation, scores, sparsity, floor, mask, twins), within=mask)


def drop_and_grow(
    weights: Kernels, mask: GroupMask, fraction: float, growth_scores: Scores
) -> tuple[GroupMask, GroupMask]:
    """Drop the smallest survivors of each layer and grow as many other weights: the new mask is kept | grown.

    Of n survivors, k = floor(fraction n) are dropped, but no more than the layer has pruned weights. Then the k weights
    with the highest growth scores are grown, out of all that were not kept, including the dropped ones (Evci et al.
    2020, algorithm 1). Ties go to the lowest index. With |dense gradient| as growth score this is RigL; with uniform
    random numbers it is SET (Mocanu et al. 2018, who drop the smallest weights of each sign separately).

    Args:
        weights, growth_scores: path -> (inputs, outputs), the mask's layers at least.
        mask: path -> bool (inputs, outputs).
        fraction: share of each layer's survivors to drop, in [0, 1].

    Returns:
        (kept, grown): disjoint, and together as many per layer as before.

    Raises:
        MaskError: a weight or a growth score is NaN.
    """
    share = Fraction(repr(float(fraction)))
    counts = survivors(mask)
    dropped = {path: min(round_down(share * count), size - count) for path, (count, size) in counts.items()}
    kept = select(_magnitudes(weights, mask), {path: counts[path][0] - dropped[path] for path in mask}, within=mask)
    scores = {path: growth_scores[path] for path in mask}
    return kept, select(scores, dropped, within={path: ~layer for path, layer in kept.items()})


def masks_of(state: Any) -> dict[str, GroupMask]:
    """The masks in an agent's state by group, {} for a dense one: C-ordered copies, layers in order."""
    return {
        group: {path: np.array(layer, np.bool_, order="C") for path, layer in kernels(tree).items()}
        for group, tree in state.masks.items()
    }


@dataclass(frozen=True)
class DynamicSparsity:
    """How an agent's masks change during training.

    Attributes:
        kind: "gradual" prunes more and more weights; "set" and "rigl" drop and grow a constant number.
        interval: environment steps between two mask updates.
        begin, end: the window of environment steps in which masks change, from the first update on. Gradual pruning
            reaches its full sparsity at `end`, even if `end` is not a multiple of the interval.
        drop: share of each layer's survivors that is dropped at `begin`; it falls to 0 at `end`. Unused by "gradual".
        sparsity: group -> pruned share: constant for "set" and "rigl", reached at `end` for "gradual".
        floor: minimum weights per layer.
        twins: as for `prune`; only "gradual" ranks globally.
    """

    kind: Literal["gradual", "set", "rigl"]
    interval: int
    begin: int
    end: int
    drop: float
    sparsity: dict[str, float]
    allocation: Rule
    floor: int
    algorithm: Algorithm
    settings: Any
    streams: Streams
    twins: Twins = "separate"

    @property
    def counts_change(self) -> bool:
        """Whether the number of survivors changes during training."""
        return self.kind == "gradual"

    def start(self, state: Any) -> Any:
        """`state` with the masks that training starts with: nothing pruned ("gradual"), or a random mask.

        Raises:
            MaskError: no connected network has the sparsity of a group, which the message names.
        """
        generator = self.streams.generator("start mask")
        masks = {}
        for group, sparsity in self.sparsity.items():
            shapes = {path: kernel.shape for path, kernel in kernels(state.params[group]).items()}
            if self.kind == "gradual":
                masks[group] = {path: np.ones(shape, np.bool_) for path, shape in shapes.items()}
            else:
                with naming(group):
                    masks[group] = _random_mask(shapes, sparsity, self.allocation, self.floor, generator)
        return self.algorithm.with_masks(state, nest_masks(masks))

    def update(self, state: Any, step: int, batch: Transitions) -> Any:
        """`state` after the mask update that is due at `step`, or `state` itself if none is.

        To be called after the gradient updates of an environment step, if there are any. A grown weight starts from
        zero, with zero moments and a zero in the target, even if the same update dropped it.

        Args:
            batch: RigL takes the dense gradient on it. The last batch that the agent was updated on after this step; if
                there was no update, one that was sampled for this.

        Raises:
            MaskError: gradual pruning disconnected a network, or can't meet its sparsity. SET and RigL may disconnect
                a network for a while.
        """
        if not self.due(step):
            return state
        masks, with_masks = masks_of(state), self.algorithm.with_masks
        weights = {group: kernels(state.params[group]) for group in masks}
        if self.kind == "gradual":
            return with_masks(state, nest_masks(self._pruned(weights, masks, step)))
        fraction = drop_fraction(step - self.begin, self.end - self.begin, self.drop)
        scores = self._growth_scores(state, masks, step, batch)
        kept, changed = {}, {}
        for group, mask in masks.items():
            kept[group], grown = drop_and_grow(weights[group], mask, fraction, scores[group])
            changed[group] = {path: layer | grown[path] for path, layer in kept[group].items()}
        # First set all dropped weights to zero, so that a weight that is grown again starts from zero.
        return with_masks(with_masks(state, nest_masks(kept)), nest_masks(changed))

    def due(self, step: int) -> bool:
        """Whether the masks change after this environment step."""
        if step == self.end:
            return self.kind == "gradual"
        return self.begin <= step < self.end and step % self.interval == 0

    def _pruned(self, weights: Mapping[str, Kernels], masks: dict[str, GroupMask], step: int) -> dict[str, GroupMask]:
        pruned = {}
        for group, mask in masks.items():
            sparsity = cubic_sparsity(step, self.begin, self.end, self.sparsity[group])
            with naming(group):
                pruned[group] = prune_more(weights[group], mask, sparsity, self.allocation, self.floor, self.twins)
                check_connected(pruned[group])
        return pruned

    def _growth_scores(
        self, state: Any, masks: dict[str, GroupMask], step: int, batch: Transitions
    ) -> dict[str, Scores]:
        seed = self.streams.for_purpose("mask update", step)
        if self.kind == "set":
            generator = np.random.default_rng(seed)
            return {g: {path: generator.random(m.shape) for path, m in layers.items()} for g, layers in masks.items()}
        gradients = _compile_gradients(self.algorithm, self.settings)(state, batch, jax_key(seed))
        return {g: {path: np.abs(by) for path, by in layers.items()} for g, layers in gradients.items()}


@cache
def _compile_gradients(algorithm: Algorithm, settings: Any) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    """``(state, batch, key) -> group -> path -> dense gradient``, compiled once per process."""

    @partial(jax.jit, compiler_options=compiler_options())
    def gradients(state: Any, batch: Transitions, key: jax.Array) -> dict[str, dict[str, jax.Array]]:
        losses = algorithm.losses(state, batch, key, settings)
        return {group: kernels(jax.grad(loss)(state.params[group])) for group, loss in losses.items()}

    return gradients


def _random_mask(
    shapes: dict[str, tuple[int, int]], sparsity: float, allocation: Rule, floor: int, generator: np.random.Generator
) -> GroupMask:
    """The survivors of uniform random scores, redrawn until every network connects input and output."""

    def draw() -> GroupMask:
        scores = {path: generator.random(shape) for path, shape in shapes.items()}
        return select(scores, allocate(allocation, scores, sparsity, floor))

    return first_connected(draw)


def _magnitudes(weights: Kernels, mask: GroupMask) -> dict[str, Any]:
    return {path: np.abs(weights[path]) for path in mask}
