"""Step 3, select: the mask itself, what it keeps, and how it compares with another."""

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from rlottery.errors import MaskError
from rlottery.pruning.allocation import by_network
from rlottery.pruning.ranking import BoolArray, Scores, keep_highest

GroupMask: TypeAlias = dict[str, BoolArray]
"""Layer path -> bool (inputs, outputs), true where the weight survives; layers from input to output."""

DRAWS = 100
"""Random masks drawn before one that joins input to output is given up."""

FORMAT_VERSION = 1
"""Raised by hand when the content of a mask or its metadata changes."""


@dataclass(frozen=True, eq=False)
class Mask:
    """Which kernel weights of an agent survive, and where the mask comes from.

    Attributes:
        groups: name of the group, such as actor or critic -> its mask.
        metadata: plain values: task, seed, method, criterion, estimator, sparsity_asked and
            sparsity_reached (each by group), layers (group -> path -> [kept, total]), format_version,
            fingerprint, digest.
    """

    groups: dict[str, GroupMask]
    metadata: dict[str, Any]

    @property
    def all_layers(self) -> GroupMask:
        """All groups as one, with paths such as `actor.layer_0` and `critic.q1.layer_0`."""
        return {f"{group}.{path}": m for group, layers in self.groups.items() for path, m in layers.items()}


@dataclass(frozen=True)
class Overlap:
    """How much two masks share: |A and B| / |A or B|, and what chance would give."""

    jaccard: float
    chance: float


def select(scores: Scores, counts: Mapping[str, int], within: GroupMask | None = None) -> GroupMask:
    """Keeps exactly counts[path] of the highest scores of each layer, ties by the lowest flat index.

    Args:
        scores: path -> (inputs, outputs).
        counts: path -> number of survivors, same paths.
        within: the last mask, same paths and shapes: only its survivors are ranked, and may survive.

    Raises:
        MaskError: other paths or shapes, a count that the layer can't give, or NaN scores.
    """
    if scores.keys() != counts.keys():
        raise MaskError(f"Scores and counts name other layers: {', '.join(scores)} against {', '.join(counts)}.")
    if within is not None:
        check_shapes(within, scores)
    mask = {}
    for path, layer in scores.items():
        kept = np.ones(layer.shape, dtype=np.bool_) if within is None else within[path].copy()
        kept[kept] = keep_highest(layer[kept], counts[path])
        mask[path] = kept
    return mask


def make_mask(
    groups: dict[str, GroupMask],
    *,
    task: str,
    seed: int,
    method: str,
    criterion: str,
    estimator: str | None,
    sparsity: Mapping[str, float],
    fingerprint: Mapping[str, Any],
    scored: Mapping[str, Any] | None = None,
) -> Mask:
    """Joins the masks of all groups and describes them.

    Args:
        method: "magnitude" or "gradient", as the user asked; "listed" for an arm of the config's list.
        estimator: how gradients were averaged (`CRITERIA[criterion].estimator`); None where none were read.
        sparsity: what was asked for, by group.
        fingerprint: plain values that say what the mask was made from.
        scored: batches, their size, and each group's loss, where the criterion read data.

    Raises:
        MaskError: a layer is no bool matrix.
    """
    for group, layers in groups.items():
        check_group_mask(layers, group)
    metadata = {
        "format_version": FORMAT_VERSION,
        "task": task,
        "seed": seed,
        "method": method,
        "criterion": criterion,
        "estimator": estimator,
        "sparsity_asked": {group: float(sparsity[group]) for group in groups},
        "sparsity_reached": {group: sparsity_of(layers) for group, layers in groups.items()},
        "layers": {group: layer_counts(layers) for group, layers in groups.items()},
        "fingerprint": dict(fingerprint),
        "digest": digest(Mask(groups, {})),
    }
    if scored is not None:
        metadata["scored"] = dict(scored)
    return Mask(groups, metadata)


def survivors(mask: GroupMask) -> dict[str, tuple[int, int]]:
    """path -> (weights kept, weights in all)."""
    return {path: (int(np.count_nonzero(layer)), layer.size) for path, layer in mask.items()}


def kept_weights(mask: GroupMask) -> int:
    """How many of the group's weights survive."""
    return sum(kept for kept, _ in survivors(mask).values())


def layer_counts(mask: GroupMask) -> dict[str, list[int]]:
    """path -> [kept, total]: `survivors` in the form that metadata holds."""
    return {path: list(counts) for path, counts in survivors(mask).items()}


def sparsity_of(mask: GroupMask) -> float:
    """Pruned share of the group's kernel weights."""
    total = sum(layer.size for layer in mask.values())
    return (total - kept_weights(mask)) / total


def check_group_mask(layers: object, where: str) -> GroupMask:
    """Gives `layers` back as a group mask.

    Raises:
        MaskError: not a dict of path -> C-ordered bool matrix with at least one weight in each.
    """
    if type(layers) is not dict or not layers:
        raise MaskError(f"{where} is no dict of layer masks.")
    for path, layer in layers.items():
        if type(path) is not str:
            raise MaskError(f"{where} has a layer name of type {type(path).__name__}.")
        if type(layer) is not np.ndarray:
            raise MaskError(f"{where}: layer {path!r} is of type {type(layer).__name__}, no NumPy array.")
        if layer.dtype != np.bool_ or layer.ndim != 2 or layer.size == 0 or not layer.flags.c_contiguous:
            raise MaskError(
                f"{where}: layer {path!r} must be a C-ordered bool matrix (inputs, outputs); "
                f"it is {layer.dtype} of shape {layer.shape}."
            )
    return layers


def check_shapes(mask: GroupMask, kernels: Mapping[str, NDArray[Any]]) -> None:
    """Passes if the mask fits the kernels: the same layers with the same shapes.

    Raises:
        MaskError: names the layers that only one of them has, or the layer and both shapes.
    """
    if missing := [path for path in kernels if path not in mask]:
        raise MaskError(f"The mask lacks the layer {', '.join(missing)}; it has {', '.join(mask)}.")
    if extra := [path for path in mask if path not in kernels]:
        raise MaskError(f"The mask has the layer {', '.join(extra)}, the network does not.")
    for path, layer in mask.items():
        if layer.shape != kernels[path].shape:
            raise MaskError(
                f"The mask of layer {path!r} has shape {layer.shape}, the network's kernel "
                f"{kernels[path].shape}. "
                "A mask fits only networks of the task and widths that it was made for."
            )


def check_connected(mask: GroupMask) -> None:
    """Passes if in every network some path of surviving weights leads from an input to an output.

    Raises:
        MaskError: names the network that is cut, the layer where the signal ends, and the mend.
    """
    for name, layers in by_network(mask).items():
        reached: BoolArray = np.ones(next(iter(layers.values())).shape[0], dtype=np.bool_)
        for path, layer in layers.items():
            if layer.shape[0] != reached.size:
                raise MaskError(
                    f"Layer {path!r} has {layer.shape[0]} inputs, the layer before it {reached.size} outputs."
                )
            reached = np.logical_or.reduce(layer[reached], axis=0)
            if not reached.any():
                network = f"The network {name!r}" if name else "The network"
                raise MaskError(
                    f"{network} is cut at layer {path!r}: no path of surviving weights leads on from an "
                    "input, so its output would be constant. Ask for a lower sparsity."
                )


def first_connected(draw: Callable[[], GroupMask], draws: int, otherwise: str) -> GroupMask:
    """The first of at most `draws` random masks that joins input to output in every network.

    Args:
        draw: may raise MaskError itself for a mask that won't do.
        otherwise: how the error begins if none does; why the last one didn't follows.

    Raises:
        MaskError: none does.
    """
    fault = ""
    for _ in range(draws):
        try:
            mask = draw()
            check_connected(mask)
        except MaskError as error:
            fault = str(error)
        else:
            return mask
    raise MaskError(f"{otherwise} {fault}")


def overlap(mask_a: GroupMask, mask_b: GroupMask) -> Overlap:
    """Jaccard overlap of two masks of one group, or of whole agents (`Mask.all_layers`).

    With a and b of n weights kept in a layer, two independent random masks share a*b/n of them on average.
    `chance` is the ratio of expectations, sum(a*b/n) / sum(a + b - a*b/n). The expectation of the ratio is
    larger by a share of order 1/weights, which is nothing for real layers. Two masks that keep nothing have
    overlap 1.

    Raises:
        MaskError: other layers or shapes.
    """
    try:
        check_shapes(mask_a, mask_b)
    except MaskError as error:
        raise MaskError(f"The two masks are of different networks. {error}") from error
    shared = union = 0
    shared_by_chance = kept_by_both = 0.0
    for path, a in mask_a.items():
        b = mask_b[path]
        shared += int(np.count_nonzero(a & b))
        union += int(np.count_nonzero(a | b))
        kept_a, kept_b = np.count_nonzero(a), np.count_nonzero(b)
        shared_by_chance += kept_a * kept_b / a.size
        kept_by_both += kept_a + kept_b
    if union == 0:
        return Overlap(jaccard=1.0, chance=1.0)
    return Overlap(jaccard=shared / union, chance=shared_by_chance / (kept_by_both - shared_by_chance))


def digest(mask: Mask) -> str:
    """SHA-256 over groups, paths, shapes and packed bits, in order of path: the mask without its metadata."""
    sha = hashlib.sha256()
    for group, layers in sorted(mask.groups.items()):
        for path, layer in sorted(layers.items()):
            sha.update(json.dumps([group, path, *layer.shape]).encode() + b"\n")
            sha.update(np.packbits(layer).tobytes())
    return sha.hexdigest()
