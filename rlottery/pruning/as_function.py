"""`rlottery.prune`: a mask for anybody's arrays."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal, TypeAlias, get_args

from rlottery.errors import MaskError
from rlottery.pruning.criteria import Criterion, Estimator, criterion_of, find_criterion, score_with
from rlottery.pruning.foreign_kernels import Axes, ForeignKernels, below, find_kernels, paths_of
from rlottery.pruning.given_data import check_data, gather, with_flow
from rlottery.pruning.import_path import did_you_mean
from rlottery.pruning.masks import GroupMask, check_connected
from rlottery.pruning.parameter_mask import ParameterMask, checked_seed
from rlottery.pruning.prune import Rule
from rlottery.pruning.prune import prune as prune_group
from rlottery.pruning.ranking import RealArray, Scores
from rlottery.pruning.schedule_math import sparsity_after

Allocation: TypeAlias = Rule | Sequence[float] | Mapping[str, float]
Share: TypeAlias = float | Mapping[str, float]
"""One sparsity of several layers, or layer -> its sparsity."""


def prune(
    weights: Any,
    criterion: str | Callable[..., RealArray] = "magnitude",
    sparsity: float | Mapping[str, float] | None = None,
    *,
    allocation: Allocation = "global",
    data: Mapping[str, Any] | None = None,
    estimator: Estimator | None = None,
    seed: int = 0,
    floor: int = 1,
    structure: Literal["weights", "units"] = "weights",
    reclaim: bool = False,
    within: ParameterMask | None = None,
    exclude: str | Iterable[str] = (),
    networks: Mapping[str, Sequence[str]] | None = None,
    axes: Axes | None = None,
) -> ParameterMask:
    """A mask that keeps the weights with the highest scores. Nothing is changed: the mask's methods apply it.

        >>> mask = rlottery.prune(module, "magnitude", sparsity=0.9)  # doctest: +SKIP

    Every matrix is a kernel and is pruned; biases and other vectors are not. Arrays may be of NumPy, JAX or PyTorch, in
    dicts, lists and dataclasses (such as Flax's and Equinox's), or be the parameters of a PyTorch module.

    Args:
        weights: the trained weights; the initial ones, for criteria that prune before training.
        criterion: a name of `rlottery.pruning.criteria.CRITERIA`, an import path, or a function that scores one layer:
            the names of its parameters say what it reads, and higher scores are better.
        sparsity: share of the weights to prune, in [0, 1). Or name -> share, where a name is that of a network, or what
            the names of some layers begin with: each is then pruned by itself, and together they have all layers.
        allocation: "global" ranks all weights that share a sparsity together, "uniform" takes the same share of each
            layer, "erk" keeps small layers denser. Or the share of each layer: in the order of layers, or by name.
        data: what the criterion reads besides the weights, such as ``{"gradients": batches}`` (docs/functions.md).
        estimator: "mean-abs" or "abs-mean", for criteria that read `mean_abs_gradient`.
        seed: of the criterion "random".
        floor: minimum weights per layer; minimum units per hidden layer with structure "units".
        structure: prune single weights, or whole hidden units.
        reclaim: exchange survivors on no path from input to output for weights on one.
        within: an earlier mask of the same weights; what it pruned stays pruned. Sparsities are shares of all weights.
        exclude: names of arrays, or what they begin with, that stay dense and don't count.
        networks: name -> its layers from input to output. By default, layers whose names are equal up to the last dot
            are a network if their shapes follow each other.
        axes: "in-out" if kernels are (inputs, outputs), "out-in" if (outputs, inputs). By default, names say so
            (`kernel` and `w`, or `weight` and PyTorch's tensors), or else the shapes of layers that follow each other.

    Raises:
        MaskError: one of the arguments makes no sense, data is missing, or no input of a network would reach its
            outputs. The message says how to fix it.
    """
    _check_choices(structure=structure, estimator=estimator, floor=floor, within=within, networks=networks, data=data)
    seed = checked_seed(seed)
    chosen, name = _criterion(criterion)
    found = find_kernels(weights, axes=axes, exclude=exclude, networks=networks)
    shares = _shares(found, sparsity, allocation)
    if networks is None and any(name.endswith("synaptic_flow") for name in chosen.reads):
        _check_connected_layers(found, name)
    given = {} if data is None else data
    check_data(chosen, name, estimator, given)
    rule: Rule = allocation if isinstance(allocation, str) else "global"
    with _by_their_names(found):
        statistics, batches = gather(chosen, estimator, found, given, seed)
        kept = None if within is None else within.kept_of(found)
        for turn in range(1, chosen.iterations + 1):
            at = with_flow(chosen, statistics, found.paths, kept)
            scores = score_with(chosen, name, at, estimator=estimator)
            now = {group: _after(turn / chosen.iterations, share) for group, share in shares.items()}
            last = turn == chosen.iterations
            kept = _kept(
                scores, found, now, kept, rule=rule, floor=floor, structure=structure, reclaim=reclaim and last
            )
    assert kept is not None
    about = {
        "criterion": name,
        "estimator": chosen.estimator(estimator),
        "batches": batches,
        "allocation": allocation if isinstance(allocation, str) else "given",
        "seed": seed,
    }
    return ParameterMask(kept, dict(found.parameters), dict(found.networks), about)


def _check_choices(**given: Any) -> None:
    """Raise MaskError for arguments of which Python would only say something deep inside."""
    for key, known in {"structure": ("weights", "units"), "estimator": (None, *get_args(Estimator))}.items():
        if given[key] not in known:
            names = ", ".join(repr(one) for one in known if one is not None)
            raise MaskError(f"{key} must be one of {names}, not {given[key]!r}.")
    if type(given["floor"]) is not int or given["floor"] < 0:
        raise MaskError(f"floor must be a whole number of at least 0, not {given['floor']!r}.")
    for key, example in {"data": "{'gradients': batches}", "networks": "{'actor': ['fc1', 'fc2', 'mean']}"}.items():
        if given[key] is not None and not isinstance(given[key], Mapping):
            raise MaskError(f"{key} must be a dict, such as {example}, not a {type(given[key]).__name__}.")
    if given["within"] is not None and not isinstance(given["within"], ParameterMask):
        raise MaskError(f"within must be a mask from rlottery.prune, not a {type(given['within']).__name__}.")


def _criterion(given: str | Callable[..., RealArray]) -> tuple[Criterion, str]:
    """The criterion and its name."""
    if isinstance(given, str):
        return find_criterion(given), given
    if not callable(given):
        raise MaskError(f"criterion must be a name or a function, not a {type(given).__name__}.")
    name = f"{getattr(given, '__module__', '?')}:{getattr(given, '__qualname__', type(given).__name__)}"
    return criterion_of(given, name), name


def _check_connected_layers(found: ForeignKernels, name: str) -> None:
    """Raise MaskError if layers may belong to a network that their names don't tell."""
    alone = [layers[0] for layers in found.networks.values() if len(layers) == 1]
    if alone and len(found.kernels) > 1:
        raise MaskError(
            f"The criterion {name!r} follows weights through whole networks, but it is unclear what comes before "
            f"and after {alone[0]!r}. Name each network's layers from input to output: networks={{'actor': [...]}}."
        )


def _shares(
    found: ForeignKernels, sparsity: float | Mapping[str, float] | None, allocation: Allocation
) -> dict[tuple[str, ...], Share]:
    """Layers that share a budget -> their sparsity, or that of each of them."""
    layers = tuple(found.kernels)
    if isinstance(allocation, str):
        if allocation not in get_args(Rule):
            close = did_you_mean(allocation, get_args(Rule))
            raise MaskError(f"There is no allocation {allocation!r}.{close} Choose one of {', '.join(get_args(Rule))}.")
        if sparsity is None:
            raise MaskError("sparsity is missing: the share of the weights to prune, such as sparsity=0.9.")
        if not isinstance(sparsity, Mapping):
            return {layers: _number(sparsity, "sparsity")}
        return {of: _number(sparsity[name], f"sparsity[{name!r}]") for name, of in _parts(found, sparsity).items()}
    if sparsity is not None:
        raise MaskError("The sparsity of each layer is given as the allocation, so leave sparsity out.")
    if isinstance(allocation, Mapping):
        by_layer: dict[str, Any] = dict(allocation)
    elif isinstance(allocation, Sequence) and len(allocation) == len(layers):
        by_layer = {layer: allocation[index] for index, layer in enumerate(layers)}
    else:
        raise MaskError(f"allocation needs {len(layers)} sparsities, one for each of {', '.join(layers)}.")
    if by_layer.keys() != set(layers):
        other = ", ".join(str(layer) for layer in by_layer.keys() ^ set(layers))
        raise MaskError(f"allocation must name the layers {', '.join(layers)}; these differ: {other}.")
    return {layers: {layer: _number(by_layer[layer], f"allocation[{layer!r}]") for layer in layers}}


def _number(share: Any, where: str) -> float:
    try:
        number = float(share)
    except (TypeError, ValueError):
        raise MaskError(f"{where} must be a number, not {share!r}.") from None
    if not 0 <= number < 1:
        raise MaskError(f"{where} must be at least 0 and below 1, not {number}.")
    return number


def _parts(found: ForeignKernels, names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Name -> the layers that it means. Each layer is meant by one name."""
    parts, layers = {}, list(found.kernels)
    for name in names:
        parts[name] = found.networks.get(name) or tuple(layer for layer in layers if below(layer, name))
        if not parts[name]:
            close = did_you_mean(name, [*found.networks, *layers])
            raise MaskError(f"sparsity: no layer is called {name!r}.{close} The layers are {', '.join(layers)}.")
    times = Counter(layer for part in parts.values() for layer in part)
    if twice := [layer for layer in layers if times[layer] > 1]:
        raise MaskError(f"sparsity: several names mean the layer {twice[0]!r}. Give one sparsity for each layer.")
    if left := [layer for layer in layers if not times[layer]]:
        raise MaskError(
            f"sparsity: there is none for {', '.join(left)}. Add it (0.0 keeps all weights), or name them in exclude."
        )
    return parts


def _after(part: float, share: Share) -> Share:
    if isinstance(share, float):
        return sparsity_after(part, share)
    return {layer: sparsity_after(part, each) for layer, each in share.items()}


def _kept(
    scores: Scores,
    found: ForeignKernels,
    shares: Mapping[tuple[str, ...], Share],
    within: GroupMask | None,
    *,
    rule: Rule,
    floor: int,
    structure: Literal["weights", "units"],
    reclaim: bool,
) -> GroupMask:
    """Which weights survive, by layer. Layers that share a budget are pruned together."""
    kept: GroupMask = {}
    for members, share in shares.items():
        # A network of which other layers have another budget is checked in the end, when all its masks are made.
        whole = {net: of for net, of in found.networks.items() if set(of) <= set(members)}
        rest = [layer for layer in members if not any(layer in of for of in whole.values())]
        paths = paths_of(whole | {f"{layer}/": (layer,) for layer in rest})
        budgets = [members] if isinstance(share, float) else [*whole.values(), *((layer,) for layer in rest)]
        for budget in budgets:
            made = prune_group(
                {paths[layer]: scores[layer] for layer in budget},
                share if isinstance(share, float) else [share[layer] for layer in budget],
                allocation=rule,
                floor=floor,
                structure=structure,
                within=None if within is None else {paths[layer]: within[layer] for layer in budget},
                twins="shared",
                reclaim=reclaim,
                group="weights",
            )
            kept |= {layer: made[paths[layer]] for layer in budget}
    check_connected({found.paths[layer]: kept[layer] for layer in found.kernels})
    return {layer: kept[layer] for layer in found.kernels}


@contextmanager
def _by_their_names(found: ForeignKernels) -> Iterator[None]:
    """Messages call layers as the user does."""
    try:
        yield
    except MaskError as error:
        text = str(error)
        for layer, path in sorted(found.paths.items(), key=lambda pair: -len(pair[1])):
            text = text.replace(path, layer) if "/" in path else text
        raise MaskError(text) from None
