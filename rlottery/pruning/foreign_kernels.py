"""The kernels of other people's networks: which arrays they are, which axis has the inputs, and what follows what.

Every matrix is a kernel. Other libraries name it (``actor.0.weight``, ``params.Dense_0.kernel``) and lay it out in
their own way; here it gets the name of its layer (``actor.0``) and the shape (inputs, outputs).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.import_path import did_you_mean
from rlottery.pruning.masks import by_network, in_layer_order
from rlottery.pruning.trees import Leaves, as_numpy, is_tensor, leaves_of

Axes: TypeAlias = Literal["in-out", "out-in"]
"""The shape of kernels: (inputs, outputs), for ``x @ w``, or (outputs, inputs), for ``w @ x``."""

_INPUTS_FIRST = ("kernel", "w")
"""What Flax, Keras and rlottery, and what Haiku call kernels of shape (inputs, outputs)."""
_OUTPUTS_FIRST = "weight"
"""What PyTorch and Equinox call kernels of shape (outputs, inputs)."""


@dataclass(frozen=True)
class Parameter:
    """Where a kernel lies in somebody's parameters.

    Attributes:
        name: its dotted name there, such as ``actor.0.weight``.
        outputs_first: whether its shape there is (outputs, inputs).
    """

    name: str
    outputs_first: bool = False

    def shaped(self, kernel: np.ndarray) -> np.ndarray:
        """A matrix (inputs, outputs) in the parameter's own layout, or back: both ways are the same."""
        return kernel.T if self.outputs_first else kernel


@dataclass(frozen=True)
class ForeignKernels:
    """The kernels of somebody's parameters.

    Attributes:
        kernels: layer -> (inputs, outputs), in order.
        parameters: layer -> where it lies.
        networks: name -> its layers, from input to output. A layer that doesn't follow another is one by itself.
    """

    kernels: Mapping[str, np.ndarray]
    parameters: Mapping[str, Parameter]
    networks: Mapping[str, tuple[str, ...]]

    @property
    def paths(self) -> dict[str, str]:
        """Layer -> a path whose part before the last dot is its network, as `masks.by_network` reads it."""
        return paths_of(self.networks)


def find_kernels(
    weights: object,
    *,
    axes: Axes | None = None,
    exclude: str | Iterable[str] = (),
    networks: Mapping[str, Sequence[str]] | None = None,
) -> ForeignKernels:
    """The kernels of dicts, lists, dataclasses or PyTorch modules of arrays.

    Args:
        axes: the shape of all kernels; by default it follows from names, or from which layers follow each other.
        exclude: names of layers or parts that are no kernels, or that stay dense.
        networks: name -> its layers from input to output. By default the layers whose names are equal up to the last
            dot form a network, in the order of `in_layer_order`, if each has as many inputs as the one before it has
            outputs.

    Raises:
        MaskError: there are none; an array has more than two axes; the axes can't be told; a name is unknown; layers
            of a given network don't follow each other.
    """
    if axes is not None and axes not in get_args(Axes):
        raise MaskError(f"axes={axes!r} is unknown. Choose 'in-out' for (inputs, outputs), or 'out-in'.")
    leaves = leaves_of(weights)
    if not leaves:
        raise MaskError(
            f"There are no arrays in what is to be pruned (a {type(weights).__name__}). Give a dict of arrays, nested "
            "as you like, a list of them, a Flax or Equinox tree, or a PyTorch module or its state_dict()."
        )
    names = _kernel_names(leaves, _name_list([exclude] if isinstance(exclude, str) else exclude, "exclude"))
    by_layer = in_layer_order(_layer_names(names, leaves))
    grouped = _grouped(by_layer, networks)
    by_layer = {layer: by_layer[layer] for layers in grouped.values() for layer in layers}
    arrays = {layer: as_numpy(leaves[name], name) for layer, name in by_layer.items()}
    first = _outputs_first(by_layer, leaves, arrays, grouped, axes)
    parameters = {layer: Parameter(name, first[layer]) for layer, name in by_layer.items()}
    kernels = {layer: parameters[layer].shaped(array) for layer, array in arrays.items()}
    return ForeignKernels(kernels, parameters, _connected(grouped, kernels, given=networks or {}))


def paths_of(networks: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Layer -> a path whose part before the last dot is its network, as `masks.by_network` reads it.

    Args:
        networks: name -> its layers.
    """
    own = {layer: layer.replace(".", "/") for layers in networks.values() for layer in layers}
    return {
        layer: f"{network}.{own[layer]}" if network else own[layer]
        for network, layers in networks.items()
        for layer in layers
    }


def networks_of(kernels: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """The networks of layers (inputs, outputs), by the names of the layers and which of them follow each other."""
    return _connected(_grouped(kernels, None), kernels, given={})


def below(name: str, part: str) -> bool:
    """Whether `name` is `part`, or lies in it."""
    return name == part or name.startswith(f"{part}.")


def _name_list(given: Any, of: str) -> list[str]:
    """A list of names. Raises MaskError if it is none."""
    names: list[Any] = list(given) if isinstance(given, Iterable) and not isinstance(given, str) else [None]
    if not all(isinstance(name, str) for name in names):
        raise MaskError(f"{of} must be a list of names, such as ['actor.fc1', 'actor.fc2'], not {repr(given)[:100]}.")
    return names


def _kernel_names(leaves: Leaves, exclude: Sequence[str]) -> list[str]:
    for part in exclude:
        if not any(below(name, part) for name in leaves):
            raise MaskError(f"exclude names {part!r}, but no array is called so.{did_you_mean(part, leaves)}")
    left = {name: leaf for name, leaf in leaves.items() if not any(below(name, part) for part in exclude)}
    if stacked := [name for name, leaf in left.items() if len(leaf.shape) > 2]:
        raise MaskError(
            f"{stacked[0]} has the shape {tuple(leaves[stacked[0]].shape)}, but only matrices can be pruned. Split "
            f"stacked networks into an entry for each, or leave it as it is: exclude=[{stacked[0]!r}]."
        )
    names = [name for name, leaf in left.items() if len(leaf.shape) == 2]
    if not names:
        raise MaskError(f"There is no matrix to prune among {', '.join(left)[:500] or 'what exclude leaves'}.")
    if empty := [name for name in names if 0 in leaves[name].shape]:
        raise MaskError(f"{empty[0]} has the shape {tuple(leaves[empty[0]].shape)}: no weights.")
    return names


def _layer_names(names: Sequence[str], leaves: Leaves) -> dict[str, str]:
    """Layer -> name of its kernel. A layer is called as its kernel, less the part that only says that it is one."""
    axes: dict[str, list[int]] = {}
    for name, leaf in leaves.items():
        axes.setdefault(name.rpartition(".")[0], []).append(len(leaf.shape))
    layers = {}
    for name in names:
        parent, _, leaf = name.rpartition(".")
        with_bias = axes[parent].count(2) == 1 and len(axes[parent]) > 1
        layers[name] = parent if parent and (with_bias or leaf in (*_INPUTS_FIRST, _OUTPUTS_FIRST)) else name
    shared = Counter(layers.values())
    return {layer if shared[layer] == 1 else name: name for name, layer in layers.items()}


def _grouped(by_layer: Mapping[str, Any], given: Mapping[str, Sequence[str]] | None) -> dict[str, tuple[str, ...]]:
    """Network -> layers: the given ones, and the others by their names."""
    taken: dict[str, tuple[str, ...]] = {}
    for network, members in (given or {}).items():
        layers = _name_list(members, f"networks[{network!r}]")
        for layer in layers:
            if layer not in by_layer:
                close = did_you_mean(layer, by_layer)
                raise MaskError(f"networks: there is no layer {layer!r}.{close} The layers are {', '.join(by_layer)}.")
            if any(layer in others for others in taken.values()) or layers.count(layer) > 1:
                raise MaskError(f"networks: the layer {layer!r} is named twice.")
        taken[str(network)] = tuple(layers)
    left = {layer: layer for layer in by_layer if not any(layer in layers for layers in taken.values())}
    others = {network: tuple(layers) for network, layers in by_network(left).items()}
    return taken | {network + "/" * (network in taken): layers for network, layers in others.items()}


def _outputs_first(
    by_layer: Mapping[str, str],
    leaves: Leaves,
    arrays: Mapping[str, np.ndarray],
    networks: Mapping[str, Sequence[str]],
    axes: Axes | None,
) -> dict[str, bool]:
    """Layer -> whether its kernel has the shape (outputs, inputs)."""
    if axes is not None:
        return dict.fromkeys(by_layer, axes == "out-in")
    # Only PyTorch's own tensors are known to be laid out as their names say.
    ends = {layer: name.rpartition(".")[2] for layer, name in by_layer.items()}
    if all(is_tensor(leaves[name]) for name in by_layer.values()):
        return {layer: end not in _INPUTS_FIRST for layer, end in ends.items()}
    pairs = [pair for layers in networks.values() for pair in pairwise(layers)]
    forwards = sum(arrays[one].shape[1] == arrays[after].shape[0] for one, after in pairs)
    backwards = sum(arrays[one].shape[0] == arrays[after].shape[1] for one, after in pairs)
    named = {layer: end == _OUTPUTS_FIRST for layer, end in ends.items() if end in (*_INPUTS_FIRST, _OUTPUTS_FIRST)}
    if len(named) == len(ends):
        says = set(named.values())
        if (says == {True} and forwards > backwards) or (says == {False} and backwards > forwards):
            raise MaskError(_unclear("Their names say one thing, and which layers follow each other another"))
        return named
    if forwards == backwards:
        raise MaskError(_unclear("Neither names nor shapes say so"))
    return dict.fromkeys(by_layer, backwards > forwards)


def _unclear(why: str) -> str:
    return (
        f"Which axis of the kernels has the inputs? {why}. Say axes='in-out' for (inputs, outputs), or axes='out-in'."
    )


def _connected(
    grouped: Mapping[str, tuple[str, ...]], kernels: Mapping[str, Any], given: Mapping[str, Sequence[str]]
) -> dict[str, tuple[str, ...]]:
    """The networks whose layers follow each other; of the others, each layer by itself."""
    found: dict[str, tuple[str, ...]] = {}
    for network, layers in grouped.items():
        broken = [pair for pair in pairwise(layers) if kernels[pair[0]].shape[1] != kernels[pair[1]].shape[0]]
        if not broken:
            found[network] = layers
            continue
        if network in given:
            before, after = broken[0]
            raise MaskError(
                f"networks: in {network!r}, {after!r} has {kernels[after].shape[0]} inputs, but {before!r} before it "
                f"has {kernels[before].shape[1]} outputs. Name the layers from input to output."
            )
        # A slash keeps a layer apart from a network of its name.
        found |= {layer + "/" * (layer in grouped): (layer,) for layer in layers}
    return found
