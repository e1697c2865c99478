"""Converts an agent's state from nested dicts of dense weights and masks to a compact form, and back.

A compact state holds each network as one vector, for weights, targets and moments, and computes only with surviving
weights. The conversion loses nothing: pruned weights are zero, and they are zero again after the way back.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm
from rlottery.agents.kernels.layout import Layout, from_vector, layout_of, pattern_of, pays, to_vector, value_counts
from rlottery.agents.kernels.native import Compact
from rlottery.agents.networks import Tree, layer_names


@dataclass(frozen=True)
class Packing:
    """How one network is packed into a vector: its layout, and the masks (inputs, outputs) of its layers.

    Attributes:
        sparse: masks of the layers that store only their survivors; None for the others.
        full: masks of the layers that store all weights although they are masked: nearly all of their weights survive,
            or their masks will change. None for the others.
    """

    layout: Layout
    sparse: tuple[np.ndarray | None, ...]
    full: tuple[np.ndarray | None, ...]


def compact(algorithm: Algorithm, state: Any, *, masks_change: bool = False) -> tuple[Any, Tree]:
    """`state` in compact form, and a tree of `Packing` shaped like the weights, which `expand` needs to undo it.

    The masks of full layers become a mask of the whole vector; a network without such layers has no mask.

    Args:
        masks_change: the number of survivors will change. All layers are then stored in full, so that a change of the
            masks needs no new program.
    """
    padded = algorithm.elementwise
    packings = {
        group: _packings(tree, state.masks.get(group, {}), masks_change, padded) for group, tree in state.params.items()
    }

    def pack(packing: Packing, tree: Tree) -> Compact:
        layers = [tree[name] for name in layer_names(tree)]
        return Compact(jnp.asarray(to_vector(packing.layout, layers, packing.sparse)), packing.layout)

    packed = algorithm.map_weights(lambda group, tree: jax.tree.map(pack, packings[group], tree), state)
    patterns = jax.tree.map(lambda packing: jnp.asarray(pattern_of(packing.layout, packing.sparse)), packings)
    return packed._replace(masks=jax.tree.map(_vector_mask, packings), patterns=patterns), packings


def expand(algorithm: Algorithm, state: Any, packings: Tree, masks: Tree) -> Any:
    """The inverse of `compact`, with weights that are NumPy arrays. `masks` are those that `compact` was given."""

    def unpack(packing: Packing, packed: Compact) -> Tree:
        layers = from_vector(packing.layout, np.asarray(packed.vector), packing.sparse)
        return {f"layer_{index}": layer for index, layer in enumerate(layers)}

    wide = algorithm.map_weights(lambda group, tree: jax.tree.map(unpack, packings[group], tree), state)
    return wide._replace(masks=masks, patterns={})


def _packings(tree: Tree, masks: Tree, masks_change: bool, padded: bool) -> Any:
    """The `Packing` of each network in a tree of weights."""
    if "layer_0" not in tree:
        return {name: _packings(of_name, masks.get(name, {}), masks_change, padded) for name, of_name in tree.items()}
    names = layer_names(tree)
    widths = [tree[names[0]]["kernel"].shape[0], *(tree[name]["kernel"].shape[1] for name in names)]
    found = [np.asarray(masks[name]["kernel"]) if masks else None for name in names]
    sparse = tuple(mask if mask is not None and pays(mask) and not masks_change else None for mask in found)
    full = tuple(
        mask if one is None and mask is not None and (masks_change or not mask.all()) else None
        for mask, one in zip(found, sparse, strict=True)
    )
    return Packing(layout_of(widths, sparse, padded=padded), sparse, full)


def _vector_mask(packing: Packing) -> Any:
    """Which entries of the vector are not pruned; {} if all may change."""
    layout = packing.layout
    if all(mask is None for mask in packing.full):
        return {}
    parts = []
    counts = value_counts(layout.widths, packing.sparse)
    for mask, count, width in zip(packing.full, counts, layout.widths[1:], strict=True):
        parts += [np.ones(count, np.bool_) if mask is None else mask.reshape(-1), np.ones(width, np.bool_)]
    kept = np.concatenate(parts)
    return Compact(jnp.asarray(np.pad(kept, (0, layout.size - len(kept)))), layout)
