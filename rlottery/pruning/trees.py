"""Other people's parameters: the arrays in nested containers and PyTorch modules, by dotted names.

Only what arrays and containers look like counts. No library of theirs is imported: an array has a shape and a dtype, a
PyTorch tensor can be detached, and a module has named parameters.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias

import numpy as np

from rlottery.errors import MaskError, typed_text

Leaves: TypeAlias = dict[str, Any]
"""Dotted name -> array, in the order of the containers."""

_DEEPEST = 64
_ORIGINAL, _MASK = "_orig", "_mask"
"""How torch.nn.utils.prune names a pruned weight and its mask."""


def is_module(thing: object) -> bool:
    """Whether something is a PyTorch module."""
    return all(hasattr(thing, name) for name in ("named_parameters", "named_buffers", "state_dict"))


def is_tensor(thing: object) -> bool:
    """Whether something is a PyTorch tensor."""
    return all(hasattr(thing, name) for name in ("detach", "cpu", "numpy"))


def is_array(thing: object) -> bool:
    """Whether something is an array of any library."""
    return hasattr(thing, "shape") and hasattr(thing, "dtype") and not isinstance(thing, type)


def leaves_of(tree: object) -> Leaves:
    """The arrays of dicts, lists, tuples, dataclasses and PyTorch modules, nested in any way, by dotted names.

    A weight that torch.nn.utils.prune has pruned has its own name, and its value under the mask. Everything else than
    arrays is left out.

    Raises:
        MaskError: two arrays have the same name, or the containers are nested too deeply.
    """
    found: Leaves = {}
    for name, leaf in _walked(tree, "", 0):
        if name in found:
            raise MaskError(f"Two arrays are called {name!r}. Rename an entry, so that each has a name of its own.")
        found[name] = leaf
    return _under_their_masks(found)


def changed(tree: Any, change: Callable[[str, Any], Any], prefix: str = "") -> Any:
    """The same containers with other arrays: ``change(name, array)`` in place of each.

    Containers are copied, never changed. PyTorch modules stay as they are.
    """
    if is_array(tree):
        return change(prefix.removesuffix(_ORIGINAL), tree)
    if is_module(tree) or (children := _children(tree)) is None:
        return tree
    made = {key: changed(child, change, _joined(prefix, str(key))) for key, child in children.items()}
    if isinstance(tree, MutableMapping):
        new = copy.copy(tree)
        new.update(made)
        return new
    if isinstance(tree, Mapping):
        return type(tree)(made)  # type: ignore[call-arg]  # immutable dicts, such as Flax's, are made from others
    if hasattr(tree, "_fields"):
        return type(tree)(**made)
    if isinstance(tree, (list, tuple)):
        return type(tree)(made.values())
    new = copy.copy(tree)
    for name, child in made.items():
        object.__setattr__(new, name, child)  # frozen ones, such as Equinox's modules, too
    return new


def as_numpy(array: Any, name: str) -> np.ndarray:
    """The array as a NumPy array of real floats. Half precision that NumPy doesn't have becomes float32.

    Raises:
        MaskError: it can't be read, or doesn't hold real floats.
    """
    try:
        found = _tensor_as_numpy(array) if is_tensor(array) else np.asarray(array)
        if found.dtype.kind == "V":  # bfloat16 and the like
            found = found.astype(np.float32)
    except Exception as error:
        raise MaskError(f"{name} can't be read as an array: {typed_text(error)}") from None
    if found.dtype.kind != "f":
        raise MaskError(f"{name} holds {found.dtype}, not floats. If it is no weight, name it in exclude.")
    return found


def _tensor_as_numpy(tensor: Any) -> np.ndarray:
    here = tensor.detach().cpu()
    try:
        return np.asarray(here.numpy())
    except TypeError:  # NumPy has no such type
        return np.asarray(here.float().numpy())


def _walked(node: object, name: str, depth: int) -> Iterator[tuple[str, Any]]:
    if depth > _DEEPEST:
        raise MaskError(f"Containers are nested more than {_DEEPEST} deep at {name[:200]}. Give the weights alone.")
    if is_array(node):
        yield name, node
    elif (children := _children(node)) is not None:
        for key, child in children.items():
            yield from _walked(child, _joined(name, str(key)), depth + 1)


def _children(node: Any) -> Mapping[Any, Any] | None:
    """What a container holds by key; None for anything else."""
    if is_module(node):
        return _of_module(node)
    if isinstance(node, Mapping):
        return node
    if isinstance(node, tuple) and hasattr(node, "_fields"):
        return {name: getattr(node, name) for name in node._fields}
    if isinstance(node, (list, tuple)):
        return dict(enumerate(node))
    if is_dataclass(node) and not isinstance(node, type):
        return {field.name: getattr(node, field.name) for field in fields(node) if hasattr(node, field.name)}
    return None


def _of_module(module: Any) -> Leaves:
    """The parameters of a PyTorch module, and the masks of those that are pruned already; not its other buffers."""
    found = dict(module.named_parameters())
    for name, parameter in found.items():
        if type(parameter).__name__.startswith("Uninitialized"):
            raise MaskError(f"{name} has no shape yet. Call the module on a batch first: its layers are lazy.")
    return found | {
        name: mask for name, mask in module.named_buffers() if name.removesuffix(_MASK) + _ORIGINAL in found
    }


def _under_their_masks(leaves: Leaves) -> Leaves:
    found = {}
    for name, leaf in leaves.items():
        base = name.removesuffix(_ORIGINAL)
        if name.endswith(_MASK) and name.removesuffix(_MASK) + _ORIGINAL in leaves:
            continue
        masked = name.endswith(_ORIGINAL) and base + _MASK in leaves
        found[base if masked else name] = leaf * leaves[base + _MASK] if masked else leaf
    return found


def _joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key
