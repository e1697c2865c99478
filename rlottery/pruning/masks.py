"""Step 3, select: masks, what they keep, and how two of them overlap."""

import contextlib
import hashlib
import json
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rlottery.errors import MaskError, naming
from rlottery.pruning.effective import Effective, check_chained, depends_on_an_input, effective
from rlottery.pruning.ranking import BoolArray, Scores, keep_highest

T = TypeVar("T")

GroupMask: TypeAlias = dict[str, BoolArray]
"""Layer path -> bool (inputs, outputs), true if the weight survives; layers from input to output."""

DRAWS = 100
"""Draws of a random mask before giving up on one that connects input and output."""

MASK_FORMAT = 1
"""Raised by hand when the content of a mask or its metadata changes."""


@dataclass(frozen=True, eq=False)
class Mask:
    """Which kernel weights of an agent survive, and how the mask was made.

    Attributes:
        groups: name of the group, such as actor or critic -> its mask.
        metadata: plain values: task, seed, method, criterion, estimator, sparsity_asked and
            sparsity_reached (each by group), layers (group -> path -> [kept, total]), effective (by group:
            `Effective.as_metadata`), rank_one (group -> path -> `rank_one_share` of the scores), format_version,
            fingerprint, digest. Masks of earlier versions have no `effective`.
    """

    groups: dict[str, GroupMask]
    metadata: dict[str, Any]

    @property
    def all_layers(self) -> GroupMask:
        """All groups as one, with paths such as `actor.layer_0` and `critic.q1.layer_0`."""
        return {f"{group}.{path}": m for group, layers in self.groups.items() for path, m in layers.items()}


@dataclass(frozen=True)
class Overlap:
    """Overlap of two masks: |A and B| / |A or B|, and its value for random masks."""

    jaccard: float
    chance: float


def select(scores: Scores, counts: Mapping[str, int], within: GroupMask | None = None) -> GroupMask:
    """Keeps exactly counts[path] of the highest scores of each layer; among equal scores the lowest flat index wins.

    Args:
        within: the last mask, with the same paths and shapes; only its survivors are ranked.

    Raises:
        MaskError: other paths or shapes, a count above the number of weights, or NaN scores.
    """
    if scores.keys() != counts.keys():
        raise MaskError(f"Scores and counts have different layers: {', '.join(scores)} and {', '.join(counts)}.")
    if within is not None:
        check_shapes(within, scores)
    mask = {}
    for path, layer in scores.items():
        kept = np.ones(layer.shape, dtype=np.bool_) if within is None else within[path].copy()
        kept[kept] = keep_highest(layer[kept], counts[path])
        mask[path] = kept
    return mask


def make_mask(
    groups: Mapping[str, Mapping[str, ArrayLike]],
    *,
    task: str,
    seed: int,
    method: str = "listed",
    criterion: str = "by hand",
    estimator: str | None = None,
    sparsity: Mapping[str, float] | None = None,
    fingerprint: Mapping[str, Any] = MappingProxyType({}),
    scored: Mapping[str, Any] | None = None,
    rank_one: Mapping[str, Mapping[str, float | None]] | None = None,
) -> Mask:
    """Joins the masks of all groups and describes them. The defaults are for a mask of your own.

    Args:
        groups: group -> path of each layer -> which weights survive, (inputs, outputs): bool, or all 0 or 1. Layers are
            ordered as by `in_layer_order`.
        method: "magnitude" or "gradient", as the user asked; "listed" for an arm of the config's list.
        estimator: how gradients were averaged (`CRITERIA[criterion].estimator()`); None if none were read.
        sparsity: the sparsity asked for, by group; by default the one that the mask reaches.
        fingerprint: what the mask was made from, as plain values.
        scored: batches, their size, and each group's loss, if the criterion read data.
        rank_one: the `rank_one_share` of each layer's scores by group, if a criterion scored them.

    Raises:
        MaskError: a layer is neither a bool matrix nor one of zeros and ones.
    """
    # Pickle writes a string once for each object. Interned names make the bytes independent of where they come from.
    masks: dict[str, GroupMask] = {
        sys.intern(group): in_layer_order(check_group_mask(_as_bool(layers), group)) for group, layers in groups.items()
    }
    reached = {group: sparsity_of(layers) for group, layers in masks.items()}
    sparsity = sparsity or reached
    metadata = {
        "format_version": MASK_FORMAT,
        "task": task,
        "seed": seed,
        "method": method,
        "criterion": criterion,
        "estimator": estimator,
        "sparsity_asked": {group: float(sparsity[group]) for group in masks},
        "sparsity_reached": reached,
        "layers": {group: layer_counts(layers) for group, layers in masks.items()},
        "fingerprint": dict(fingerprint),
        "digest": digest(Mask(masks, {})),
    }
    with contextlib.suppress(MaskError):  # its layers form no network, which is checked where the mask is used
        metadata["effective"] = {group: effective_of(layers).as_metadata() for group, layers in masks.items()}
    if scored is not None:
        metadata["scored"] = dict(scored)
    if rank_one is not None:
        metadata["rank_one"] = {group: dict(layers) for group, layers in rank_one.items()}
    return Mask(masks, metadata)


def by_network(layers: Mapping[str, T]) -> dict[str, dict[str, T]]:
    """Network name (the part before the last dot of a path, or "") -> its layers, in order."""
    networks: dict[str, dict[str, T]] = {}
    for path, layer in layers.items():
        networks.setdefault(path.rpartition(".")[0], {})[path] = layer
    return networks


def in_layer_order(layers: Mapping[str, T]) -> dict[str, T]:
    """The layers network by network, and from input to output if their names end in numbers: `layer_2`, `layer_10`.

    Names without numbers keep their order. JAX, for one, returns a dict in the order of its keys: `layer_10` first.
    """
    networks = _by_number(by_network(layers))
    return {path: layer for network in networks.values() for path, layer in _by_number(network).items()}


def _by_number(named: Mapping[str, T]) -> dict[str, T]:
    """The entries by the numbers that their names end in, if the names are equal up to these numbers."""
    parts = {name: re.fullmatch(r"(.*?)(\d{1,9})", name, re.DOTALL | re.ASCII) for name in named}
    numbers = {name: int(part[2]) for name, part in parts.items() if part}
    if len(numbers) < len(named) or len({part[1] for part in parts.values() if part}) > 1:
        return dict(named)
    return {name: named[name] for name in sorted(named, key=numbers.__getitem__)}


def survivors(mask: GroupMask) -> dict[str, tuple[int, int]]:
    """path -> (weights kept, weights in all)."""
    return {path: (int(np.count_nonzero(layer)), layer.size) for path, layer in mask.items()}


def kept_weights(mask: GroupMask) -> int:
    """Number of the group's weights that survive."""
    return sum(kept for kept, _ in survivors(mask).values())


def layer_counts(mask: GroupMask) -> dict[str, list[int]]:
    """path -> [kept, total]: `survivors` as metadata stores it."""
    return {path: list(counts) for path, counts in survivors(mask).items()}


def sparsity_of(mask: GroupMask) -> float:
    """Pruned share of the group's kernel weights."""
    total = sum(layer.size for layer in mask.values())
    return (total - kept_weights(mask)) / total


def rank_one_of(mask: Mask, group: str, path: str) -> float | None:
    """The `rank_one_share` of a layer's scores; None if the metadata have none, as in masks of earlier versions."""
    told: Any = mask.metadata
    for key in ("rank_one", group, path):
        told = told.get(key) if isinstance(told, dict) else None
    return told if isinstance(told, float) and 0 <= told <= 1 else None


def effective_of(mask: GroupMask) -> Effective:
    """What the mask of a group really keeps. Raises MaskError if its layers form no networks."""
    return effective(by_network(mask))


def check_group_mask(layers: object, where: str) -> GroupMask:
    """Returns `layers` as a group mask.

    Raises:
        MaskError: not a dict of path -> C-ordered bool matrix with at least one weight.
    """
    if type(layers) is not dict or not layers:
        raise MaskError(f"{where} is not a dict of layer masks.")
    for path, layer in layers.items():
        if type(path) is not str:
            raise MaskError(f"{where} has a layer name of type {type(path).__name__}.")
        if type(layer) is not np.ndarray:
            raise MaskError(f"{where}: layer {path!r} is of type {type(layer).__name__}, not a NumPy array.")
        if layer.dtype != np.bool_ or layer.ndim != 2 or layer.size == 0 or not layer.flags.c_contiguous:
            raise MaskError(
                f"{where}: layer {path!r} must be a C-ordered bool matrix (inputs, outputs); "
                f"it is {layer.dtype} with shape {layer.shape}. Say which weights survive: scores > threshold."
            )
    return layers


def _as_bool(layers: Mapping[str, ArrayLike]) -> object:
    """Layers of zeros and ones, or in another order of memory, as a group mask has them; anything else unchanged."""
    if not isinstance(layers, Mapping):
        return layers
    found = {}
    for path, layer in layers.items():
        try:
            # np.asarray would lose what a masked array hides.
            array = layer if isinstance(layer, np.ma.MaskedArray) else np.asarray(layer)
        except ValueError:  # lists of different lengths
            return layers
        if array.dtype.kind in "iuf" and np.isin(array, (0, 1)).all():
            array = array.astype(np.bool_)
        found[path] = array.copy(order="C")
    return found


def check_fits(mask: Mask, kernels: Mapping[str, Mapping[str, NDArray[Any]]]) -> None:
    """Check that the mask has the groups, layers and shapes of the kernels.

    Raises:
        MaskError: names the groups or layers that only one of them has, or the layer and both shapes.
    """
    if missing := [group for group in kernels if group not in mask.groups]:
        raise MaskError(f"The mask has no group {', '.join(missing)}. It has {', '.join(mask.groups)}.")
    if extra := [group for group in mask.groups if group not in kernels]:
        raise MaskError(f"The mask has a group {', '.join(extra)}, which the agent doesn't have.")
    for group, layers in mask.groups.items():
        with naming(group):
            check_shapes(layers, kernels[group])


def check_shapes(mask: GroupMask, kernels: Mapping[str, NDArray[Any]]) -> None:
    """Check that the mask has the layers and shapes of the kernels.

    Raises:
        MaskError: names the layers that only one of them has, or the layer and both shapes.
    """
    if missing := [path for path in kernels if path not in mask]:
        raise MaskError(f"The mask has no layer {', '.join(missing)}. It has {', '.join(mask)}.")
    if extra := [path for path in mask if path not in kernels]:
        raise MaskError(f"The mask has a layer {', '.join(extra)}, which the network doesn't have.")
    for path, layer in mask.items():
        if layer.shape != kernels[path].shape:
            raise MaskError(
                f"The mask of layer {path!r} has shape {layer.shape}, but the network's kernel has shape "
                f"{kernels[path].shape}. "
                + (
                    "It looks transposed: rows must be inputs, and columns units."
                    if layer.shape[::-1] == kernels[path].shape
                    else "A mask fits only networks with the inputs and widths that it was made for."
                )
            )


def check_connected(mask: GroupMask, remedy: str = "Use a lower sparsity.") -> None:
    """Check that in every network a path of surviving weights connects an input and an output.

    Raises:
        MaskError: names the network that is cut, the layer at which paths end, and the remedy.
    """
    for name, layers in by_network(mask).items():
        check_chained(layers)
        reached = depends_on_an_input(list(layers.values()))[1:]
        for path, units in zip(layers, reached, strict=True):
            if not units.any():
                network = f"The network {name!r}" if name else "The network"
                raise MaskError(
                    f"{network} is cut at layer {path!r}: no path of surviving weights leads on from an "
                    f"input, so its output would be constant. {remedy}"
                )


def first_connected(draw: Callable[[], GroupMask]) -> GroupMask:
    """The first of at most `DRAWS` random masks that connects input and output in every network.

    Args:
        draw: may raise MaskError itself for a mask that can't be used.

    Raises:
        MaskError: no mask can be used. The message has the reason for the last one.
    """
    reason = ""
    for _ in range(DRAWS):
        try:
            mask = draw()
            check_connected(mask)
        except MaskError as error:
            reason = str(error)
        else:
            return mask
    raise MaskError(f"None of {DRAWS} random masks can be used. {reason}")


def overlap(mask_a: GroupMask, mask_b: GroupMask) -> Overlap:
    """Jaccard overlap of two masks of one group, or of whole agents (`Mask.all_layers`).

    If two independent random masks keep a and b of the n weights of a layer, they share a*b/n of them on average.
    `chance` is the ratio of expectations, sum(a*b/n) / sum(a + b - a*b/n). The expectation of the ratio is larger by a
    share of order 1/weights, which is negligible for real layers. Two masks that keep nothing have overlap 1.

    Raises:
        MaskError: other layers or shapes.
    """
    try:
        check_shapes(mask_a, mask_b)
    except MaskError as error:
        raise MaskError(f"The two masks belong to different networks. {error}") from error
    kept = kept_weights(mask_a) + kept_weights(mask_b)
    if not kept:
        return Overlap(jaccard=1.0, chance=1.0)
    a, b = survivors(mask_a), survivors(mask_b)
    shared = sum(int(np.count_nonzero(layer & mask_b[path])) for path, layer in mask_a.items())
    by_chance = sum(a[path][0] * b[path][0] / size for path, (_, size) in a.items())
    return Overlap(jaccard=shared / (kept - shared), chance=by_chance / (kept - by_chance))


def digest(mask: Mask) -> str:
    """SHA-256 over groups, paths, shapes and packed bits, in order of path: the mask without its metadata."""
    sha = hashlib.sha256()
    for group, layers in sorted(mask.groups.items()):
        for path, layer in sorted(layers.items()):
            sha.update(json.dumps([group, path, *layer.shape]).encode() + b"\n")
            sha.update(np.packbits(layer).tobytes())
    return sha.hexdigest()
