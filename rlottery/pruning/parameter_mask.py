"""A mask for somebody's parameters: what `rlottery.prune` returns and `rlottery.load_mask` reads."""

import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.foreign_kernels import ForeignKernels, Parameter, below, find_kernels, networks_of, paths_of
from rlottery.pruning.mask_file import mask_to_bytes
from rlottery.pruning.masks import GroupMask, Mask, check_shapes, make_mask, sparsity_of, survivors
from rlottery.pruning.plain_mask_file import LONE_GROUP, PLAIN, plain_mask_bytes, read_any_mask
from rlottery.pruning.random_masks import random_like
from rlottery.pruning.ranking import BoolArray
from rlottery.pruning.trees import changed, is_module, is_tensor, leaves_of

_PARAMETERS = "parameters"


@dataclass(frozen=True, eq=False, repr=False)
class ParameterMask:
    """Which weights of somebody's parameters survive.

    Attributes:
        layers: layer -> bool (inputs, outputs), true if the weight survives; in order.
        parameters: layer -> the name of its kernel, and whether that is (outputs, inputs).
        networks: name -> its layers, from input to output. Layers that don't follow each other are networks of one.
        about: how it was made: criterion, estimator, batches, allocation, seed; task, for masks of studies.
    """

    layers: GroupMask
    parameters: Mapping[str, Parameter]
    networks: Mapping[str, tuple[str, ...]]
    about: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        total = sum(layer.size for layer in self.layers.values())
        by = f", by {self.about['criterion']}" if self.about.get("criterion") else ""
        return (
            f"<ParameterMask: {100 * self.sparsity:.4g} % of {total:,} weights in {len(self.layers)} layers pruned{by}>"
        )

    @property
    def sparsity(self) -> float:
        """Pruned share of all weights of the layers. Biases never count."""
        return sparsity_of(self.layers)

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Layer -> (weights kept, weights in all)."""
        return survivors(self.layers)

    def part(self, name: str) -> "ParameterMask":
        """The mask of the layers whose names begin with `name`, such as "actor", without that beginning.

        Raises:
            MaskError: there are none.
        """
        inside = {layer: _inside(layer, name) for layer in self.layers if below(layer, name)}
        if not inside:
            raise MaskError(f"The mask has no layers below {name!r}. It has {', '.join(self.layers)}.")
        layers = {inside[layer]: self.layers[layer] for layer in inside}
        parameters = {
            inside[layer]: Parameter(_inside(self.parameters[layer].name, name), self.parameters[layer].outputs_first)
            for layer in inside
        }
        return ParameterMask(layers, parameters, networks_of(layers), self.about)

    def random_control(self, seed: int) -> "ParameterMask":
        """A random mask with the same count in every layer: what a ticket has to beat.

        Raises:
            MaskError: no draw connects input and output, or the seed is no whole number of 0 or more.
        """
        paths = paths_of(self.networks)
        seed = checked_seed(seed)
        drawn = random_like({paths[layer]: self.layers[layer] for layer in self.layers}, np.random.default_rng(seed))
        layers = {layer: drawn[paths[layer]] for layer in self.layers}
        return ParameterMask(layers, self.parameters, self.networks, {"criterion": "random", "seed": seed})

    def apply(self, weights: Any, names: Mapping[str, str] | None = None) -> Any:
        """The weights with zeros where they are pruned: a tree like `weights` that shares no memory with it.

        A PyTorch module is changed and returned instead, by `torch.nn.utils.prune.custom_from_mask`: its weights stay
        pruned when it is trained.

        Args:
            names: as for `to_torch`.

        Raises:
            MaskError: the mask doesn't fit the weights.
        """
        if is_module(weights):
            custom_from_mask = importlib.import_module("torch.nn.utils.prune").custom_from_mask
            for parameter, mask in self.to_torch(weights, names).items():
                owner, _, leaf = parameter.rpartition(".")
                custom_from_mask(weights.get_submodule(owner), leaf, mask)
            return weights
        masks = self._placed(weights, names)

        def masked(name: str, array: Any) -> Any:
            if name not in masks:
                return array.clone() if is_tensor(array) else np.copy(array) if isinstance(array, np.ndarray) else array
            if isinstance(array, np.ndarray):
                return np.where(masks[name], array, array.dtype.type(0))
            return array * (_tensor(masks[name], array) if is_tensor(array) else masks[name])

        return changed(weights, masked)

    def to_torch(self, module: Any, names: Mapping[str, str] | None = None) -> dict[str, Any]:
        """The mask as bool tensors by name of the parameter, in PyTorch's layout and on the parameter's device.

        Kernels are found by the names that the mask was made with. If the module has others, it must have as many
        kernels, of the same shapes and in the same order.

        Args:
            module: a module or its `state_dict()`. Nothing is changed: `apply` does that.
            names: layer of the mask -> name of the parameter, if neither fits.

        Raises:
            MaskError: the mask doesn't fit the module.
        """
        leaves = leaves_of(module)
        return {name: _tensor(mask, leaves[name]) for name, mask in self._placed(module, names).items()}

    def to_flax(self, params: Any, names: Mapping[str, str] | None = None) -> Any:
        """A tree like `params` of bool arrays: the masks of the kernels, and all true for everything else.

        `jax.tree.map(jnp.multiply, params, tree)` prunes; the same with gradients or optax's updates keeps it so.

        Args:
            params: dicts, dataclasses (such as Equinox's modules), lists or tuples of arrays.
            names: as for `to_torch`.

        Raises:
            MaskError: the mask doesn't fit the parameters.
        """
        masks = self._placed(params, names)
        return changed(params, lambda name, array: masks.get(name, np.ones(np.shape(array), dtype=np.bool_)))

    def save(self, path: str | os.PathLike[str], *, task: str = "", seed: int | None = None) -> Path:
        """Write a mask file (docs/mask-files.md): a pickle for `.pkl`, or an `.npz` or a `.safetensors` file.

        Args:
            task: the task of the agent that the mask is of, if it is for a study.
            seed: the seed of that agent.

        Returns:
            The file.

        Raises:
            MaskError: another ending, the file exists, or it can't be written.
        """
        to = Path(path).expanduser()
        if to.suffix not in (".pkl", *PLAIN):
            raise MaskError(f"{to}: a mask file ends in .pkl, {' or '.join(PLAIN)}.")
        mask = self._as_file(
            task or str(self.about.get("task", "")), self.about.get("seed", 0) if seed is None else seed
        )
        data = mask_to_bytes(mask) if to.suffix == ".pkl" else plain_mask_bytes(mask, to.suffix)
        try:
            with to.open("xb") as file:
                file.write(data)
        except FileExistsError:
            raise MaskError(f"{to} exists. Choose another name.") from None
        except OSError as error:
            raise MaskError(f"{to} can't be written: {error.strerror or error}.") from None
        return to

    def kept_of(self, found: ForeignKernels) -> GroupMask:
        """The mask by the layers of `found`. Raises MaskError if it has others, or other shapes."""
        check_shapes(self.layers, found.kernels)
        return {layer: self.layers[layer] for layer in found.kernels}

    def _placed(self, tree: Any, names: Mapping[str, str] | None) -> dict[str, BoolArray]:
        """Name of a parameter in `tree` -> its mask, in the layout of the parameter."""
        leaves = {name: leaf for name, leaf in leaves_of(tree).items() if len(leaf.shape) <= 2}
        masks = {}
        for layer, parameter in self._targets(leaves, names).items():
            mask, shape = parameter.shaped(self.layers[layer]), tuple(leaves[parameter.name].shape)
            if mask.shape != shape:
                raise MaskError(
                    f"The mask of {layer!r} has the shape {mask.shape} in the layout of {parameter.name}, which has "
                    f"{shape}. A mask fits only networks with the inputs and widths that it was made for."
                )
            masks[parameter.name] = np.array(mask, order="C")
        return masks

    def _targets(self, leaves: Mapping[str, Any], names: Mapping[str, str] | None) -> Mapping[str, Parameter]:
        """Layer -> the parameter that its mask is for: by name, or else by order."""
        if names is None and all(parameter.name in leaves for parameter in self.parameters.values()):
            return self.parameters
        if names is not None:
            if wrong := [layer for layer in self.layers if names.get(layer) not in leaves]:
                raise MaskError(
                    f"names must give a parameter for each layer of the mask. For {wrong[0]!r} it gives "
                    f"{names.get(wrong[0])!r}; the parameters are {', '.join(leaves)[:500]}."
                )
            layer_of: dict[str, str] = {}
            for layer in self.layers:
                if (other := layer_of.setdefault(names[layer], layer)) != layer:
                    raise MaskError(f"names gives {names[layer]!r} to two layers of the mask: {other!r} and {layer!r}.")
            leaves = {name: leaves[name] for name in layer_of}
        found = list(find_kernels(leaves).parameters.values())
        if names is not None:
            by_name = {parameter.name: parameter for parameter in found}
            return {layer: by_name[names[layer]] for layer in self.layers}
        if len(found) != len(self.layers):
            raise MaskError(
                f"The mask has the layers {', '.join(self.layers)[:300]}, but the parameters have the kernels "
                f"{', '.join(parameter.name for parameter in found)[:300]}. Take a part of the mask (mask.part), or "
                "say which belong together: names={layer of the mask: parameter}."
            )
        return dict(zip(self.layers, found, strict=True))

    def _as_file(self, task: str, seed: int) -> Mask:
        """The mask with groups of networks: the first parts of the layers' names, if all have one."""
        groups: dict[str, GroupMask] = {}
        named = all("." in layer for layer in self.layers)
        for layer, mask in self.layers.items():
            group, _, path = layer.partition(".") if named else (LONE_GROUP, "", layer)
            groups.setdefault(group, {})[path] = mask
        parameters = {
            layer: [parameter.name, "out-in" if parameter.outputs_first else "in-out"]
            for layer, parameter in self.parameters.items()
        }
        batches = self.about.get("batches")
        return make_mask(
            groups,
            task=task,
            seed=seed,
            criterion=self.about.get("criterion", "by hand"),
            estimator=self.about.get("estimator"),
            fingerprint={_PARAMETERS: parameters},
            scored=None if batches is None else {"batches": batches},
        )


def load_mask(path: str | os.PathLike[str]) -> ParameterMask:
    """A mask from a file of any format: of a study (`mask.pkl`), from `ParameterMask.save`, or of another tool.

    Raises:
        MaskError: it is missing, damaged, no mask, or hostile. Nothing in it is executed.
    """
    mask = read_any_mask(Path(path).expanduser())
    layers, stored = mask.all_layers, mask.metadata["fingerprint"].get(_PARAMETERS)
    if len(mask.groups) == 1:
        [(group, inside)] = mask.groups.items()
        # Earlier versions called the group "network", as networks are called, too: then the parameters tell.
        if group == LONE_GROUP or (isinstance(stored, dict) and stored.keys() == inside.keys()):
            layers = dict(inside)
    made_for = _parameters(stored, layers)
    if made_for is not None:
        layers = {layer: layers[layer] for layer in made_for}
    about = {key: mask.metadata[key] for key in ("task", "seed", "criterion", "estimator")}
    parameters = made_for or {layer: Parameter(f"{layer}.kernel") for layer in layers}
    return ParameterMask(layers, parameters, networks_of(layers), about)


def checked_seed(seed: Any) -> int:
    """The seed. Raises MaskError if it is no whole number of 0 or more."""
    if not isinstance(seed, int | np.integer) or seed < 0:
        raise MaskError(f"seed must be a whole number of at least 0, not {seed!r}.")
    return int(seed)


def _parameters(stored: object, layers: Mapping[str, Any]) -> dict[str, Parameter] | None:
    """Where the kernels lie in the parameters that the mask was made for; None if the file doesn't say."""
    if not isinstance(stored, dict) or stored.keys() != layers.keys():
        return None
    found = {}
    for layer, entry in stored.items():
        if not isinstance(entry, list | tuple) or len(entry) != 2 or not isinstance(entry[0], str):
            return None
        found[layer] = Parameter(entry[0], entry[1] == "out-in")
    return found


def _inside(name: str, part: str) -> str:
    return name.removeprefix(part).removeprefix(".") or name


def _tensor(mask: BoolArray, like: Any) -> Any:
    """The mask as a bool tensor on the device of another."""
    try:
        torch = importlib.import_module("torch")
    except ImportError:
        raise MaskError("Masks as tensors need PyTorch: pip install torch") from None
    return torch.from_numpy(mask).to(getattr(like, "device", "cpu"))
