"""What the rest of rlottery knows of a learning algorithm: pure functions over one state.

An algorithm keeps its weights as two groups, ``actor`` and ``critic``: multilayer perceptrons as `networks` has them,
the actor one, the critic a dict of them. Their leaves called ``kernel`` are the prunable matrices, of shape (inputs,
outputs), in order from input to output. Masks are the same nested dicts with the kernels alone, as bool arrays; a dense
agent has none (an empty dict). While it trains, an agent may be compact (`rlottery.agents.compact`): each network one
vector, with its pattern in `state.patterns`. An algorithm hands both to `networks.mlp` and needn't know.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.kernels.native import Compact
from rlottery.errors import StudyError

Tree = dict[str, Any]


class Spec(NamedTuple):
    """Sizes that a task gives to an agent: flat observations and actions in [-1, 1]."""

    observation_size: int
    action_size: int


class State(Protocol):
    """The whole of an agent: weights, targets, optimiser, masks, random key; patterns while it is compact."""

    @property
    def params(self) -> Tree: ...
    @property
    def masks(self) -> Tree: ...
    @property
    def patterns(self) -> Tree: ...


@dataclass(frozen=True)
class Algorithm:
    """A learning algorithm as pure functions; each works under `jax.jit` and `jax.vmap`.

    Attributes:
        settings: (config, task) -> what the other functions take as `settings`; hashable, static under `jax.jit`.
        init_params: (key, spec, settings) -> fresh weights.
        init: (params, key, settings) -> state, dense, at the start of training; `key` is the noise's alone.
        map_weights: (f, state) -> state with ``f(group, tree)`` in the place of every tree that is laid out as that
            group's weights: themselves, targets, the optimiser's moments.
        act: (the actor's outputs (..., out), standard normal noise (..., act) or None) -> actions (..., act) in
            [-1, 1]: with noise as data is collected, without it as they are evaluated. From NumPy to NumPy.
        update: (state, batch, settings) -> (state, metrics as scalars by name).
        rewind: (saved state, key, settings) -> dense state with everything that `saved` has learnt (weights, targets,
            temperature), and a fresh optimiser; `key` is the noise's of the updates to come.
        losses: (state, batch, key, settings) -> ``{"actor": f(actor params) -> scalar, "critic": f(critic params)}``:
            each group's own loss as a function of that group's weights, all else fixed at `state`. It is a mean over
            the batch's transitions, and applies each network of its group once, to what `layer_inputs` says: so the
            gradients of single transitions can be told apart at the cost of one.
        layer_inputs: (state, batch) -> ``{"actor": {path: (batch, in)}, "critic": ...}``: what enters each kernel on
            the batch's observations (and actions, in a critic), paths as `kernels` gives them.
        loss_names: group -> its loss, in words.
    """

    settings: Callable[..., Any]
    init_params: Callable[..., Tree]
    init: Callable[..., Any]
    map_weights: Callable[..., Any]
    act: Callable[..., Any]
    update: Callable[..., tuple[Any, dict[str, jax.Array]]]
    rewind: Callable[..., Any]
    losses: Callable[..., dict[str, Callable[[Tree], jax.Array]]]
    layer_inputs: Callable[..., dict[str, dict[str, jax.Array]]]
    loss_names: Mapping[str, str] = field(hash=False)  # a dict has no hash, and jax.jit wants the algorithm's

    def with_masks(self, state: Any, masks: Tree) -> Any:
        """`state` with pruned weights zero in online and target networks and in the optimiser's moments.

        They stay so under `update`.
        """
        return self.map_weights(lambda group, tree: apply_masks(tree, masks[group]), state)._replace(masks=masks)

    def masks_hold(self, state: Any) -> bool:
        """Whether every pruned weight is exactly zero wherever `with_masks` made it so."""
        held = [True]

        def look(group: str, tree: Tree) -> Tree:
            held.append(zeros_hold(tree, state.masks[group]))
            return tree

        if state.masks:
            self.map_weights(look, state)
        return all(held)


def apply_masks(tree: Any, masks: Any) -> Any:
    """`tree` with zeros wherever `masks` is False. What `masks` doesn't name passes through."""
    if isinstance(tree, Compact):
        return Compact(jnp.where(masks.vector, tree.vector, 0.0), tree.layout) if masks else tree
    masked = dict(tree)
    for name, mask in masks.items():
        leaf = tree[name]
        nested = isinstance(mask, dict | Compact)
        masked[name] = apply_masks(leaf, mask) if nested else jnp.where(mask, leaf, 0.0)
    return masked


def kernels(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """The kernels of a nested dict by path: ``{"layer_0": ..., "layer_1": ...}`` or ``{"q1.layer_0": ...}``."""
    found: dict[str, Any] = {}
    # From input to output: JAX gives a dict back in the order of its keys, `layer_10` before `layer_2`.
    for name, value in sorted(tree.items(), key=lambda item: (len(item[0]), item[0])):
        if name == "kernel":
            found[prefix] = value
        elif isinstance(value, dict):
            found |= kernels(value, f"{prefix}.{name}" if prefix else name)
    return found


def nest_kernels(flat: dict[str, Any]) -> Tree:
    """The inverse of `kernels`: nested dicts in which each path ends in a ``kernel``."""
    nested: Tree = {}
    for path, value in flat.items():
        node = nested
        for name in path.split("."):
            node = node.setdefault(name, {})
        node["kernel"] = value
    return nested


def nest_masks(masks: Mapping[str, Mapping[str, Any]]) -> Tree:
    """Masks by group and path as a state holds them: nested, on the device."""
    return {group: nest_kernels({p: jnp.asarray(m) for p, m in layers.items()}) for group, layers in masks.items()}


def jax_key(seed: int) -> jax.Array:
    """A JAX key that holds all 64 bits of `seed`."""
    words = jnp.array([seed >> 32, seed & 0xFFFFFFFF], jnp.uint32)
    key: jax.Array = jax.random.wrap_key_data(words)
    return key


def zeros_hold(tree: Tree, masks: Tree) -> bool:
    """Whether every pruned entry of `tree` is exactly zero."""
    for name, mask in masks.items():
        held = (
            zeros_hold(tree[name], mask)
            if isinstance(mask, dict)
            else not bool(np.any(np.asarray(tree[name])[~np.asarray(mask)]))
        )
        if not held:
            return False
    return True


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """Every leaf of a state by its dotted path, as NumPy arrays; random keys as their words."""
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(
            jax.random.key_data(leaf) if _is_key(leaf) else leaf
        )
        for path, leaf in jax.tree_util.tree_leaves_with_path(state)
    }


def from_arrays(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A state like `template` (arrays, or their shapes from `jax.eval_shape`), with the leaves that `to_arrays` gave.

    Raises:
        StudyError: names, shapes or types differ from the template's.
    """

    def kind(leaf: Any) -> tuple[tuple[int, ...], str]:
        return ((*leaf.shape, 2), "uint32") if _is_key(leaf) else (tuple(leaf.shape), str(leaf.dtype))

    leaves = jax.tree_util.tree_leaves_with_path(template)
    expected = {jax.tree_util.keystr(path, simple=True, separator="."): kind(leaf) for path, leaf in leaves}
    found = {name: (array.shape, str(array.dtype)) for name, array in arrays.items()}
    if expected != found:
        wrong = min(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        has, asked = (
            "is missing" if of is None else f"is {of[1]} of shape {of[0]}"
            for of in (found.get(wrong), expected.get(wrong))
        )
        raise StudyError(
            f"A saved agent doesn't fit this config: {wrong[:100]} {has} in the file, and {asked} in this config."
        )

    def restore(path: Any, leaf: Any) -> Any:
        array = arrays[jax.tree_util.keystr(path, simple=True, separator=".")]
        return jax.random.wrap_key_data(jnp.asarray(array)) if _is_key(leaf) else jnp.asarray(array)

    return jax.tree_util.tree_map_with_path(restore, template)


def _is_key(leaf: Any) -> bool:
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
