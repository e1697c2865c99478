"""What a criterion reads, from what somebody measured: gradients, inputs of layers, initial weights.

Batches are streamed: whatever their number, memory holds one of them and the sums.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.criteria import INITIAL, STATISTICS, Criterion, Estimator, sources_of
from rlottery.pruning.foreign_kernels import ForeignKernels, Parameter
from rlottery.pruning.import_path import did_you_mean
from rlottery.pruning.synaptic_flow import synaptic_flow
from rlottery.pruning.trees import as_numpy, is_array, is_module, leaves_of

Layers: TypeAlias = dict[str, np.ndarray]
"""Layer -> array."""
Form: TypeAlias = Literal["kernel", "samples", "inputs", "input"]
"""Shape of an array that belongs to a kernel: the kernel's own; (samples, *the kernel's own); (samples, inputs); or
(inputs,)."""


@dataclass(frozen=True)
class _Batches:
    """Something that is measured on batches, and averaged.

    Attributes:
        what: it is, in words.
        form: of a batch's arrays.
        averages: statistic -> what of a batch is averaged for it.
    """

    what: str
    form: Form
    averages: Mapping[str, Callable[[np.ndarray], np.ndarray]]


_MEASURED = {
    "gradients": _Batches(
        "the gradient of a batch's loss, with the kernel's shape",
        "kernel",
        {"mean_gradient": lambda gradient: gradient, "mean_abs_gradient": np.abs},
    ),
    "sample_gradients": _Batches(
        "the gradient of each sample's own loss, (samples, *the kernel's shape)",
        "samples",
        {"mean_squared_gradient": np.square},
    ),
    "hessian_gradients": _Batches(
        "Hessian times gradient of a batch's loss, with the kernel's shape",
        "kernel",
        {"hessian_gradient": lambda product: product},
    ),
    "inputs": _Batches("what the layer gets, (samples, inputs)", "inputs", {"input_norm": np.square}),
}
"""Key of `data` -> what it is. With the prefix `initial_`, it is measured at the initial weights."""
_MEASURED_FOR = {statistic: key for key, batches in _MEASURED.items() for statistic in batches.averages}
_FORMS: dict[str, Form] = {"input_norm": "input"}
"""Of statistics that don't have the kernel's shape."""
_KEYS = [f"{INITIAL}weights", *(f"{at}{name}" for name in (*_MEASURED_FOR, *_MEASURED) for at in ("", INITIAL))]


def check_data(criterion: Criterion, name: str, estimator: Estimator | None, data: Mapping[str, Any]) -> None:
    """Check that `data` has all that the criterion reads, under keys that exist.

    Raises:
        MaskError: lists everything that is missing, with its shape; or names what is unknown.
    """
    if unknown := [key for key in data if key not in _KEYS]:
        close = did_you_mean(str(unknown[0]), _KEYS)
        raise MaskError(f"data may not have the key {unknown[0]!r}.{close} Possible keys: {', '.join(_KEYS)}.")
    needed = [_keys_for(statistic, criterion) for statistic in sources_of(criterion, estimator).values()]
    missing = {tuple(keys): None for keys in needed if keys and data.keys().isdisjoint(keys)}
    if missing:
        listed = "\n".join(f"  {_how_to_give(keys)}" for keys in missing)
        raise MaskError(f"The criterion {name!r} reads what is not in data. Add, as a tree like the weights:\n{listed}")


def gather(
    criterion: Criterion, estimator: Estimator | None, found: ForeignKernels, data: Mapping[str, Any], seed: int
) -> tuple[dict[str, Layers], int | None]:
    """What the criterion reads, by name of the statistic and layer; and the number of batches, if some were averaged.

    Synaptic flow is not among it: `with_flow` adds it for the weights that are left in each turn.

    Args:
        data: as `check_data` has checked it. Weights that are pruned before training are the initial ones.
        seed: of the random numbers that the criterion `random` reads.

    Raises:
        MaskError: an array is missing, has another shape or can't be read, or there are no batches.
    """
    weights: Layers = dict(found.kernels)
    statistics = {} if criterion.before_training else {"weights": weights}
    initial = f"{INITIAL}weights"
    if initial in data:
        statistics[initial] = _by_layer(data[initial], found, initial, "kernel")
    elif criterion.before_training:
        statistics[initial] = weights
    batches = None
    averaged: dict[str, list[str]] = {}
    for statistic in dict.fromkeys(sources_of(criterion, estimator).values()):
        base = statistic.removeprefix(INITIAL)
        if statistic == "random":
            uniform = np.random.default_rng(seed)
            statistics[statistic] = {layer: uniform.random(kernel.shape) for layer, kernel in weights.items()}
        elif base in _MEASURED_FOR:
            key = next(key for key in _keys_for(statistic, criterion) if key in data)
            if key.removeprefix(INITIAL) in _MEASURED:
                averaged.setdefault(key, []).append(statistic)
            else:
                statistics[statistic] = _by_layer(data[key], found, key, _FORMS.get(base, "kernel"))
    for key, of_key in averaged.items():
        means, batches = _averaged(data[key], found, key, of_key)
        statistics |= means
    return statistics, batches


def with_flow(
    criterion: Criterion, statistics: Mapping[str, Layers], paths: Mapping[str, str], mask: Layers | None
) -> dict[str, Layers]:
    """The statistics, with synaptic flow if the criterion reads it, at the weights that `mask` leaves.

    Args:
        paths: layer -> its path, which tells its network (`ForeignKernels.paths`).
    """
    found = dict(statistics)
    for at in ("", INITIAL):
        if f"{at}synaptic_flow" in criterion.reads:
            weights = found[f"{at}weights"]
            if mask is not None:
                weights = {layer: np.where(mask[layer], kernel, 0) for layer, kernel in weights.items()}
            flow = synaptic_flow({paths[layer]: kernel for layer, kernel in weights.items()})
            found |= {f"{at}weights": weights, f"{at}synaptic_flow": {layer: flow[paths[layer]] for layer in weights}}
    return found


def _keys_for(statistic: str, criterion: Criterion) -> list[str]:
    """The keys of `data` that a statistic can be taken from; none if it follows from the weights or the seed."""
    base = statistic.removeprefix(INITIAL)
    if base in _MEASURED_FOR:
        prefixes = ("",) if statistic == base else (INITIAL, "") if criterion.before_training else (INITIAL,)
        return [f"{prefix}{name}" for prefix in prefixes for name in (_MEASURED_FOR[base], base)]
    return [] if statistic == base or criterion.before_training else [f"{INITIAL}weights"]


def _how_to_give(keys: Iterable[str]) -> str:
    ways = []
    for key in keys:
        batches = _MEASURED.get(key.removeprefix(INITIAL))
        at = ", at the initial weights" * key.startswith(INITIAL)
        what = (
            STATISTICS[key].replace("(inputs, outputs)", "with the kernel's shape")
            if batches is None
            else f"{batches.what}{at}; or an iterable of one tree for each batch"
        )
        ways.append(f"data[{key!r}]: {what}")
    return "\n  or ".join(ways)


def _averaged(given: Any, found: ForeignKernels, key: str, statistics: Iterable[str]) -> tuple[dict[str, Layers], int]:
    """The mean over all batches of what each statistic averages, by layer, and the number of batches.

    The batches are read once, since an iterator can't be read again.
    """
    measured = _MEASURED[key.removeprefix(INITIAL)]
    sums: dict[str, Layers] = {statistic: {} for statistic in statistics}
    batches = samples = 0
    for batch in _batches_of(given, found):
        layers = _by_layer(batch, found, f"{key}, batch {batches}", measured.form)
        for layer, array in layers.items():
            for statistic, of_statistic in sums.items():
                seen = measured.averages[statistic.removeprefix(INITIAL)](array.astype(np.float64))
                seen = seen if measured.form == "kernel" else seen.sum(axis=0)
                of_statistic[layer] = of_statistic.get(layer, 0.0) + seen
        batches += 1
        samples += 1 if measured.form == "kernel" else len(next(iter(layers.values())))
    if not samples:
        raise MaskError(f"data[{key!r}] has no batches. An iterator can be read only once: make one for each call.")
    root = np.sqrt if measured.form == "inputs" else np.asarray
    return {
        statistic: {layer: root(total / samples) for layer, total in of_statistic.items()}
        for statistic, of_statistic in sums.items()
    }, batches


def _batches_of(given: Any, found: ForeignKernels) -> Iterator[Any]:
    """The tree of each batch, of one tree or of many."""
    many = (
        isinstance(given, Iterable) and not isinstance(given, Mapping) and not is_module(given) and not is_array(given)
    )
    if many and not isinstance(given, Iterator):  # a list may be a tree, too
        leaves = leaves_of(given)
        many = not all(layer in leaves or one.name in leaves for layer, one in found.parameters.items())
    if many:
        yield from given
    else:
        yield given


def _by_layer(tree: Any, found: ForeignKernels, where: str, form: Form) -> Layers:
    """The arrays of a tree by layer, named as the parameters or as their layers, with inputs before outputs."""
    leaves, layers = leaves_of(tree), {}
    for layer, parameter in found.parameters.items():
        name = parameter.name if parameter.name in leaves else layer
        if name not in leaves:
            has = ", ".join(leaves)[:300] or "no arrays"
            raise MaskError(f"data: {where} has no array for {parameter.name}. It has {has}.")
        array = as_numpy(leaves[name], f"data: {where}, {name}")
        layers[layer] = _of_form(array, parameter, found.kernels[layer].shape, form, f"data: {where}, {name}")
    return layers


def _of_form(array: np.ndarray, parameter: Parameter, shape: tuple[int, ...], form: Form, where: str) -> np.ndarray:
    """The array of a kernel (inputs, outputs) with its own axes in the same order."""
    own = shape[::-1] if parameter.outputs_first else shape
    expected = {"kernel": own, "samples": ("samples", *own), "inputs": ("samples", shape[0]), "input": shape[:1]}[form]
    lead = form in ("samples", "inputs")
    if array.ndim != len(expected) or array.shape[lead:] != tuple(expected[lead:]):
        wanted = ", ".join(map(str, expected))
        raise MaskError(f"{where} has the shape {array.shape}, not ({wanted}{',' * (len(expected) == 1)}).")
    return np.swapaxes(array, -1, -2) if parameter.outputs_first and form in ("kernel", "samples") else array
