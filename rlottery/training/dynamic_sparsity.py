"""Masks that change while an agent trains: gradual magnitude pruning, SET and RigL.

`prune_more` and `rewire` are one update of one group's mask, pure functions over NumPy arrays. `Dynamic` says when they
happen and applies them to an agent. It holds nothing that changes: the mask lives in the agent's state, and what is
random follows from the run and the step, so training goes on from any saved state as if it had never stopped.
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
from rlottery.pruning.allocation import MIN_SURVIVORS_PER_LAYER
from rlottery.pruning.criteria import Kernels
from rlottery.pruning.masks import DRAWS, GroupMask, check_connected, first_connected, select, survivors
from rlottery.pruning.prune import Rule, allocate
from rlottery.pruning.ranking import Scores
from rlottery.pruning.schedules import cubic_sparsity, drop_fraction
from rlottery.seeding import Streams
from rlottery.storage.transitions import Transitions
from rlottery.training.compilation import compiler_options


def prune_more(
    weights: Kernels,
    mask: GroupMask,
    sparsity: float,
    allocation: Rule = "global",
    floor: int = MIN_SURVIVORS_PER_LAYER,
) -> GroupMask:
    """One step of gradual magnitude pruning (Zhu and Gupta 2017, arXiv:1710.01878): the largest survivors stay.

    Args:
        weights: path -> (inputs, outputs), layers in order.
        mask: who survived so far; nobody comes back.
        sparsity: share of the group's weights that are pruned afterwards, in [0, 1); the count is exact.
        allocation: "global", "uniform" or "erk".
        floor: survivors that each layer keeps at least.

    Raises:
        MaskError: fewer survivors than asked to keep, sparsity out of range, or floors that can't be met.
    """
    scores = _magnitudes(weights, mask)
    return select(scores, allocate(allocation, scores, sparsity, floor, within=mask), within=mask)


def rewire(weights: Kernels, mask: GroupMask, fraction: float, growth_scores: Scores) -> tuple[GroupMask, GroupMask]:
    """Drops the smallest survivors of each layer and grows as many elsewhere: the new mask is kept | grown.

    Of n survivors k = floor(fraction n) are dropped, at most as many as the layer has empty places: a dense layer has
    nothing to look for. The k highest growth scores of all that was not kept are grown, the dropped among them
    (Evci et al. 2020, algorithm 1). Ties by the lowest index. |dense gradient| as growth score makes it RigL, uniform
    random numbers make it SET (Mocanu et al. 2018, which drops the smallest of either sign; here, of both).

    Args:
        weights, growth_scores: path -> (inputs, outputs), the mask's layers at least.
        mask: path -> bool (inputs, outputs).
        fraction: share of each layer's survivors to rewire, in [0, 1].

    Returns:
        (kept, grown): disjoint, and of each layer's count together.

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
    """The masks in an agent's state by group, {} for a dense one: own copies, C-ordered, layers in order."""
    return {
        group: {path: np.array(layer, np.bool_, order="C") for path, layer in kernels(tree).items()}
        for group, tree in state.masks.items()
    }


@dataclass(frozen=True)
class Dynamic:
    """What changes an agent's masks as it trains.

    Attributes:
        kind: "gradual" prunes more and more, "set" and "rigl" rewire a constant number of weights.
        interval: environment steps between two updates of the masks.
        begin, end: environment steps of the window in which masks change; `begin` is after the warm-up. Gradual
            pruning is at its full sparsity at `end`, whether or not the interval meets it; rewiring has died down.
        drop: share of each layer's survivors that are rewired at `begin`; it falls to 0 at `end`. Gradual has no use
            for it.
        sparsity: group -> share pruned: throughout for set and rigl, from `end` on for gradual.
        allocation: "global", "uniform" or "erk".
        floor: survivors that each layer keeps at least.
        algorithm, settings: the agent's.
        streams: the run's.
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

    @property
    def counts_change(self) -> bool:
        """Whether the number of survivors changes."""
        return self.kind == "gradual"

    def start(self, state: Any) -> Any:
        """`state` with the masks that training starts from: nothing pruned (gradual), or a random network.

        Raises:
            MaskError: names the group whose sparsity can't be met by a connected network.
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
        """`state` after the update of its masks that is due at `step`, or itself if none is.

        Called after the gradient updates of an environment step. A weight that is grown starts from zero, with
        clean moments and zero in the target, also where it was dropped in the same update.

        Args:
            batch: the last that the agent was updated on; RigL takes the dense gradient on it.

        Raises:
            MaskError: gradual pruning cut a network, or can't meet its sparsity. Rewired networks may heal.
        """
        if not self.due(step):
            return state
        masks, with_masks = masks_of(state), self.algorithm.with_masks
        weights = {group: _to_numpy(kernels(state.params[group])) for group in masks}
        if self.kind == "gradual":
            return with_masks(state, nest_masks(self._pruned(weights, masks, step)))
        fraction = drop_fraction(step - self.begin, self.end - self.begin, self.drop)
        scores = self._growth_scores(state, masks, step, batch)
        kept, rewired = {}, {}
        for group, mask in masks.items():
            kept[group], grown = rewire(weights[group], mask, fraction, scores[group])
            rewired[group] = {path: layer | grown[path] for path, layer in kept[group].items()}
        # The first clears what is dropped, so that nothing of it is left where it is grown again.
        return with_masks(with_masks(state, nest_masks(kept)), nest_masks(rewired))

    def due(self, step: int) -> bool:
        """Whether masks change after this environment step."""
        if step == self.end:
            return self.kind == "gradual"
        return self.begin <= step < self.end and step % self.interval == 0

    def _pruned(self, weights: Mapping[str, Kernels], masks: dict[str, GroupMask], step: int) -> dict[str, GroupMask]:
        pruned = {}
        for group, mask in masks.items():
            sparsity = cubic_sparsity(step, self.begin, self.end, self.sparsity[group])
            with naming(group):
                pruned[group] = prune_more(weights[group], mask, sparsity, self.allocation, self.floor)
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
        return {g: {path: np.abs(by) for path, by in _to_numpy(layers).items()} for g, layers in gradients.items()}


@cache
def _compile_gradients(algorithm: Algorithm, settings: Any) -> Callable[..., dict[str, dict[str, jax.Array]]]:
    """``(state, batch, key) -> group -> path -> dense gradient``, compiled once a process."""

    @partial(jax.jit, compiler_options=compiler_options())
    def gradients(state: Any, batch: Transitions, key: jax.Array) -> dict[str, dict[str, jax.Array]]:
        losses = algorithm.losses(state, batch, key, settings)
        return {group: kernels(jax.grad(loss)(state.params[group])) for group, loss in losses.items()}

    return gradients


def _random_mask(
    shapes: dict[str, tuple[int, int]], sparsity: float, allocation: Rule, floor: int, generator: np.random.Generator
) -> GroupMask:
    """The survivors of uniform random scores, drawn anew until input reaches output."""

    def draw() -> GroupMask:
        scores = {path: generator.random(shape) for path, shape in shapes.items()}
        return select(scores, allocate(allocation, scores, sparsity, floor))

    return first_connected(draw, DRAWS, f"Each of {DRAWS} random masks was cut.")


def _magnitudes(weights: Kernels, mask: GroupMask) -> dict[str, Any]:
    return {path: np.abs(weights[path]) for path in mask}


def _to_numpy(layers: dict[str, jax.Array]) -> dict[str, Any]:
    return {path: np.asarray(layer) for path, layer in layers.items()}
