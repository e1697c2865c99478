"""From an agent's state as it is saved, nested dicts of dense weights and their masks, to a compact one, and back.

A compact state holds each network as one vector, in weights, targets and moments alike, and computes on the survivors
alone. Nothing is lost on the way: pruned weights are zero, and back they are zero again.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import Algorithm, Tree
from rlottery.agents.kernels.layout import Layout, from_vector, layout_of, pattern_of, pays, to_vector
from rlottery.agents.kernels.native import Compact


@dataclass(frozen=True)
class Network:
    """One network's layout, and the masks (inputs, outputs) of its layers; None for those that have none.

    Attributes:
        sparse: of the layers that are computed on their survivors.
        full: of those that are masked all the same: nearly all of their weights survive, or the masks will change.
    """

    layout: Layout
    sparse: tuple[np.ndarray | None, ...]
    full: tuple[np.ndarray | None, ...]


def compact(algorithm: Algorithm, state: Any, *, masks_change: bool = False) -> tuple[Any, Tree]:
    """`state` in compact form, and what `expand` needs to undo it: a tree of `Network`, laid out as the weights.

    The masks of full layers become masks of the whole vector; a network without any has no mask.

    Args:
        masks_change: the number of survivors will change, so all layers are full: another mask is no other program.
    """
    networks = {
        group: _networks(tree, state.masks.get(group, {}), masks_change) for group, tree in state.params.items()
    }

    def pack(network: Network, tree: Tree) -> Compact:
        return Compact(jnp.asarray(to_vector(network.layout, _layers(tree), network.sparse)), network.layout)

    packed = algorithm.map_weights(lambda group, tree: _both(pack, networks[group], tree), state)
    patterns = _each(lambda network: jnp.asarray(pattern_of(network.layout, network.sparse)), networks)
    return packed._replace(masks=_each(_vector_mask, networks), patterns=patterns), networks


def expand(algorithm: Algorithm, state: Any, networks: Tree, masks: Tree) -> Any:
    """The state that `compact` was given, as it has become; `masks` are that state's."""

    def unpack(network: Network, packed: Compact) -> Tree:
        layers = from_vector(network.layout, np.asarray(packed.vector), network.sparse)
        named = zip(_names(len(layers)), layers, strict=True)
        return {name: {key: jnp.asarray(array) for key, array in layer.items()} for name, layer in named}

    wide = algorithm.map_weights(lambda group, tree: _both(unpack, networks[group], tree), state)
    return wide._replace(masks=masks, patterns={})


def depth(tree: Tree) -> int:
    """Layers of the deepest network in a tree of weights."""
    if "layer_0" in tree:
        return len(tree)
    return max((depth(of_name) for of_name in tree.values()), default=0)


def _networks(tree: Tree, masks: Tree, masks_change: bool) -> Any:
    """The `Network` of each multilayer perceptron of a tree of weights."""
    if "layer_0" not in tree:
        return {name: _networks(of_name, masks.get(name, {}), masks_change) for name, of_name in tree.items()}
    names = _names(len(tree))
    widths = [tree[names[0]]["kernel"].shape[0], *(tree[name]["kernel"].shape[1] for name in names)]
    found = [np.asarray(masks[name]["kernel"]) if masks else None for name in names]
    sparse = tuple(mask if mask is not None and pays(mask) and not masks_change else None for mask in found)
    full = tuple(
        mask if one is None and mask is not None and (masks_change or not mask.all()) else None
        for mask, one in zip(found, sparse, strict=True)
    )
    return Network(layout_of(widths, sparse), sparse, full)


def _vector_mask(network: Network) -> Any:
    """Which entries of the vector stay what they are; nothing if all may change."""
    layout = network.layout
    if all(mask is None for mask in network.full):
        return {}
    parts = []
    for mask, count, width in zip(network.full, layout.counts, layout.widths[1:], strict=True):
        parts += [np.ones(count, np.bool_) if mask is None else mask.reshape(-1), np.ones(width, np.bool_)]
    return Compact(jnp.asarray(np.concatenate(parts)), layout)


def _both(change: Callable[[Network, Any], Any], networks: Any, tree: Any) -> Any:
    """A tree of networks changed one by one."""
    if isinstance(networks, Network):
        return change(networks, tree)
    return {name: _both(change, of_name, tree[name]) for name, of_name in networks.items()}


def _each(change: Callable[[Network], Any], networks: Any) -> Any:
    if isinstance(networks, Network):
        return change(networks)
    return {name: _each(change, of_name) for name, of_name in networks.items()}


def _layers(tree: Tree) -> list[Tree]:
    return [{key: np.asarray(array) for key, array in tree[name].items()} for name in _names(len(tree))]


def _names(number: int) -> list[str]:
    return [f"layer_{index}" for index in range(number)]
