"""The interface of a learning algorithm: pure functions of one state.

An agent's weights are nested dicts, ``{group: networks}``, described by `rlottery.agents.description`: each network is
a multilayer perceptron as in `networks`. Leaves called ``kernel`` are the prunable matrices, of shape (inputs,
outputs), ordered from input to output. Masks are the same nested dicts with only the kernels, as bool arrays; a dense
agent has none (an empty dict). During training an agent may be compact (`rlottery.agents.compact`): each network is one
vector, and its sparsity pattern is in `state.patterns`. An algorithm passes both to `networks.mlp` and treats dense and
compact agents alike.

An agent's state is a NamedTuple with `params`, `masks`, `patterns`, and whatever else the algorithm needs.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import reduce
from importlib import import_module
from operator import getitem
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.description import Description, Spec
from rlottery.agents.discrete import largest
from rlottery.agents.kernels.native import Compact
from rlottery.agents.networks import Tree
from rlottery.errors import StudyError
from rlottery.storage.transitions import columns


@dataclass(frozen=True)
class Algorithm:
    """A learning algorithm as pure functions. Each works under `jax.jit` and `jax.vmap`.

    Attributes:
        description: its networks and settings, readable without JAX.
        init_params: (key, spec, settings) -> fresh weights.
        init: (params, key, settings) -> dense state at the start of training. `key` seeds the noise of the updates.
        rewind: (saved state, key, settings) -> dense state with everything that `saved` has learned (weights, targets,
            temperature) and a fresh optimiser. `key` seeds the noise of the updates to come.
        map_weights: (f, state) -> state with every tree shaped like a group's weights (the weights, targets, the
            optimiser's moments) replaced by ``f(group, tree)``.
        explore: (outputs of the acting network (..., out), standard normal noise (..., `noise_size`), step, settings)
            -> actions (..., act) for collecting data; NumPy to NumPy. Discrete ones are one-hot. Continuous ones may
            exceed [-1, 1]: they are stored as they are, and environments clip them. The step is the agent's, for
            schedules: that of the run, counted on from the step that the agent was rewound to. Actions are NaN where
            outputs are not finite.
        update: (state, batch, settings) -> (state, metrics as scalars by name). The state has the structure of the one
            given, and the same masks and patterns.
        losses: (state, batch, key, settings) -> ``{group: f(the group's params) -> scalar}``: each group's own loss as
            a function of its weights, everything else fixed at `state`. A loss is a mean over the batch's transitions
            and applies each network of its group once, to the inputs that `layer_inputs` returns. The gradients of
            single transitions can therefore be separated at the cost of one.
        layer_inputs: (state, batch, settings) -> ``{group: {path: (batch, in)}}``: the input of each kernel on the
            batch's observations (and actions, for a critic), with the paths of `kernels`.
        exploit: (outputs) -> the deterministic continuous actions that are evaluated; NaN as for `explore`. Discrete
            ones are where the largest output is.
        noise_size: (spec) -> the number of standard normal numbers that `explore` needs for an action.
        acting_arrays: (state) -> small arrays by name that acting needs in addition to the acting network, such as the
            statistics that observations are normalised with.
        see: (observations (..., obs), those arrays) -> the inputs of the acting network; NumPy to NumPy.
        complete: (outputs of the acting network, those arrays) -> the outputs that `explore` and `exploit` are given.
        observe: (state, rollout, settings) -> state, with statistics that include those of a rollout. On-policy only.
        prepare: (state, rollout, settings, the state that collected it) -> rows that `update` learns from, (n, row). A
            rollout is `Transitions` in order of time, those of several environments in turn. None: transitions
            themselves are learned from.
        batch: (rows, spec) -> the batch that `update`, `losses` and `layer_inputs` read, as a NamedTuple of arrays.
        elementwise: whether an update changes each weight by its own gradients alone. Compact vectors may then be
            padded, which would change the last bits of a norm of all gradients.
    """

    description: Description = field(hash=False)  # holds dicts, which have no hash, and `jax.jit` needs one
    init_params: Callable[..., Tree]
    init: Callable[..., Any]
    rewind: Callable[..., Any]
    map_weights: Callable[..., Any]
    explore: Callable[..., Any]
    update: Callable[..., tuple[Any, dict[str, jax.Array]]]
    losses: Callable[..., dict[str, Callable[[Tree], jax.Array]]]
    layer_inputs: Callable[..., dict[str, dict[str, jax.Array]]]
    exploit: Callable[..., Any] = largest
    noise_size: Callable[[Spec], int] = lambda spec: spec.action_size
    acting_arrays: Callable[[Any], dict[str, Any]] = lambda state: {}
    see: Callable[[Any, Mapping[str, Any]], Any] = lambda observations, arrays: observations
    complete: Callable[[Any, Mapping[str, Any]], Any] = lambda outputs, arrays: outputs
    observe: Callable[..., Any] = lambda state, rollout, settings: state
    prepare: Callable[..., jax.Array] | None = None
    batch: Callable[[Any, Spec], Any] = lambda rows, spec: columns(rows, *spec.sizes)
    elementwise: bool = False

    def acting(self, params: Tree) -> Any:
        """The network that chooses actions."""
        return reduce(getitem, self.description.acting.split("."), params)

    def deterministic(self, outputs: np.ndarray, spec: Spec) -> np.ndarray:
        """The deterministic actions (..., act) for outputs (..., out); discrete ones where the largest output is."""
        actions: np.ndarray = largest(outputs) if spec.discrete else self.exploit(outputs)
        return actions

    def with_masks(self, state: Any, masks: Tree) -> Any:
        """`state` with pruned weights set to zero in online and target networks and in the optimiser's moments.

        `update` keeps them at zero.
        """
        return self.map_weights(lambda group, tree: apply_masks(tree, masks[group]), state)._replace(masks=masks)

    def masks_hold(self, state: Any) -> bool:
        """Whether every pruned weight is exactly zero in all the trees that `with_masks` changes."""
        held = [True]

        def look(group: str, tree: Tree) -> Tree:
            held.append(zeros_hold(tree, state.masks[group]))
            return tree

        if state.masks:
            self.map_weights(look, state)
        return all(held)


def functions_of(description: Description) -> Algorithm:
    """The algorithm with this description. Its code, and JAX with it, is imported here."""
    module, _, name = description.functions.partition(":")
    algorithm: Algorithm = getattr(import_module(module), name)
    return algorithm


def apply_masks(tree: Any, masks: Any) -> Any:
    """`tree` with zeros wherever `masks` is False. Leaves that `masks` doesn't name are unchanged."""
    if isinstance(tree, Compact):
        return Compact(jnp.where(masks.vector, tree.vector, 0.0), tree.layout) if masks else tree
    masked = dict(tree)
    for name, mask in masks.items():
        leaf = tree[name]
        nested = isinstance(mask, dict | Compact)
        masked[name] = apply_masks(leaf, mask) if nested else jnp.where(mask, leaf, 0.0)
    return masked


def kernels(tree: Tree, prefix: str = "") -> dict[str, Any]:
    """The kernels of a nested dict by path, such as ``layer_0`` or ``q1.layer_0``, ordered from input to output."""
    found: dict[str, Any] = {}
    # JAX returns a dict in the order of its keys: `layer_10` before `layer_2`.
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
    """Masks by group and path in the form that a state holds: nested, on the device."""
    return {group: nest_kernels({p: jnp.asarray(m) for p, m in layers.items()}) for group, layers in masks.items()}


def jax_key(seed: int) -> jax.Array:
    """A JAX key made from all 64 bits of `seed`."""
    words = jnp.array([seed >> 32, seed & 0xFFFFFFFF], jnp.uint32)
    key: jax.Array = jax.random.wrap_key_data(words)
    return key


def zeros_hold(tree: Tree, masks: Tree) -> bool:
    """Whether every pruned entry of `tree` is exactly zero."""
    weights = kernels(tree)
    return not any(np.any(np.asarray(weights[path])[~np.asarray(mask)]) for path, mask in kernels(masks).items())


def to_arrays(state: Any) -> dict[str, np.ndarray]:
    """Every leaf of a state by its dotted path, as NumPy arrays. Random keys become their raw words."""
    leaves = _leaves(state).items()
    return {name: np.asarray(jax.random.key_data(leaf) if is_key(leaf) else leaf) for name, leaf in leaves}


def from_arrays(template: Any, arrays: dict[str, np.ndarray]) -> Any:
    """The inverse of `to_arrays`: a state with the structure of `template` and the leaves in `arrays`.

    Args:
        template: arrays, or their shapes from `jax.eval_shape`.

    Raises:
        StudyError: names, shapes or types differ from those of the template.
    """

    def kind(leaf: Any) -> tuple[tuple[int, ...], str]:
        return ((*leaf.shape, 2), "uint32") if is_key(leaf) else (tuple(leaf.shape), str(leaf.dtype))

    leaves = _leaves(template)
    expected = {name: kind(leaf) for name, leaf in leaves.items()}
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
    restored = {name: jnp.asarray(arrays[name]) for name in leaves}
    keys = {name: jax.random.wrap_key_data(restored[name]) for name, leaf in leaves.items() if is_key(leaf)}
    return jax.tree.unflatten(jax.tree.structure(template), (restored | keys).values())


def _leaves(tree: Any) -> dict[str, Any]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): leaf for path, leaf in leaves}


def is_key(leaf: Any) -> bool:
    """Whether a leaf of a state is a typed key of JAX."""
    return bool(jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key))
