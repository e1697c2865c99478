"""Step 1, score: how much each kernel weight matters.

A criterion is a function that scores one layer, with an entry in `CRITERIA`. The names of its parameters say which
saliency statistics it reads (`STATISTICS`), and `rlottery.training.saliency` computes those from an agent and its
replay. Your own function works in the same way, by its import path.
"""

import hashlib
import inspect
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from rlottery.errors import MaskError, typed_text
from rlottery.pruning.import_path import check_import_path, did_you_mean, import_function
from rlottery.pruning.method import Method
from rlottery.pruning.ranking import RealArray, Scores

Kernels: TypeAlias = Mapping[str, RealArray]
"""Layer path -> kernel (inputs, outputs), from input to output. Biases are never here.

The part before the last dot of a path names an independent network (`q1.layer_0`). It may be missing.
"""

Estimator: TypeAlias = Literal["mean-abs", "abs-mean"]
"""How gradients, whose sign varies, are averaged over batches: E|g| or |E g|."""

INITIAL = "initial_"
"""Prefix of statistics at the initial weights, measured on what the random policy collected during the warm-up."""

MEAN_ABS_BATCH_GRADIENT = "mean over batches of |batch gradient|"
ABS_MEAN_BATCH_GRADIENT = "|mean over batches of batch gradient|"

_WITHOUT_DATA = {
    "weights": "(inputs, outputs): the kernel itself",
    "synaptic_flow": "(inputs, outputs), no unit: dR/d|w| with R = 1^T |W_1| ... |W_n| 1 of the layer's own network "
    "(SynFlow, Tanaka et al. 2020); needs only the kernels",
    "random": "(inputs, outputs), no unit: independent uniform numbers in [0, 1)",
}
ESTIMATES = {
    "mean_abs_gradient": MEAN_ABS_BATCH_GRADIENT,
    "mean_gradient": "mean over batches of batch gradient",
    "mean_squared_gradient": "mean over transitions of the squared gradient of one transition's loss",
    "hessian_gradient": "mean over batches of Hessian times gradient of the same batch",
    "input_norm": "root mean square over transitions",
}
"""Statistics that need data, and how they are averaged."""

_FROM_DATA = {
    "mean_abs_gradient": "(inputs, outputs), loss per weight: E|g|",
    "mean_gradient": "(inputs, outputs), loss per weight: E g with its sign; its absolute value is |E g|",
    "mean_squared_gradient": "(inputs, outputs), (loss per weight)^2: the empirical Fisher information's diagonal",
    "hessian_gradient": "(inputs, outputs), loss^2 per weight^3: H g of the group's loss, over its kernels only",
    "input_norm": "(inputs,), unit of the input: the size of each input of the layer; Wanda's ||X|| / sqrt(n), "
    "which gives the same ranking",
}
_EVERYWHERE = _WITHOUT_DATA | {name: f"{what}; {ESTIMATES[name]}" for name, what in _FROM_DATA.items()}

STATISTICS: dict[str, str] = _EVERYWHERE | {
    f"{INITIAL}{name}": f"{what}; at the initial weights{', on the data of the warm-up' * (name in ESTIMATES)}"
    for name, what in _EVERYWHERE.items()
    if name != "random"
}
"""What a criterion may read, by parameter name: shape, unit, meaning, estimator. Each group has its own loss."""


@dataclass(frozen=True)
class Criterion(Method):
    """A way to score kernel weights.

    Attributes:
        function: scores one layer, (inputs, outputs); higher is better. The names of its parameters say what it reads.
        iterations: how many times to score and prune in turn. With 1, all weights are pruned at once.
        signed: whether scores may be negative.
    """

    function: Callable[..., RealArray]
    iterations: int = 1
    signed: bool = False

    @property
    def source_digest(self) -> str | None:
        """SHA-256 of the function's source; None if Python can't read it."""
        try:
            return hashlib.sha256(inspect.getsource(self.function).encode()).hexdigest()
        except (OSError, TypeError):
            return None

    @cached_property
    def reads(self) -> tuple[str, ...]:
        """Names of the statistics that the function reads."""
        return tuple(inspect.signature(self.function).parameters)

    @property
    def before_training(self) -> bool:
        """Whether it needs no trained agent: everything it reads is random or at the initial weights."""
        return all(name == "random" or name.startswith(INITIAL) for name in self.reads)

    @property
    def reads_initial_weights(self) -> bool:
        """Whether it scores the weights as they are before training."""
        return self.before_training and any(name.startswith(INITIAL) for name in self.reads)

    @property
    def needs_replay(self) -> bool:
        """Whether it reads statistics of the trained weights on the dense agent's replay."""
        return any(name in ESTIMATES for name in self.reads)

    @property
    def needs_warmup(self) -> bool:
        """Whether it reads statistics of the initial weights on the data of the warm-up."""
        return any(name.startswith(INITIAL) and name.removeprefix(INITIAL) in ESTIMATES for name in self.reads)

    @property
    def needs_data(self) -> bool:
        """Whether it reads data at all."""
        return self.needs_replay or self.needs_warmup

    def estimator(self, choice: Estimator | None = None) -> str | None:
        """How the statistics that it reads are averaged, gradients by `choice`; None if they need no data.

        Raises:
            MaskError: the criterion doesn't read `mean_abs_gradient`, the only statistic that `choice` applies to.
        """
        averages = []
        for parameter, source in sources_of(self, choice).items():
            if (base := source.removeprefix(INITIAL)) in ESTIMATES:
                words = ESTIMATES[base] if source == parameter else ABS_MEAN_BATCH_GRADIENT
                averages.append(f"{words}, at the initial weights" if source.startswith(INITIAL) else words)
        return "; ".join(averages) or None


_BATCHES = "100 batches of gradients"

CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion(
        lambda weights: np.abs(weights),
        summary="|w|: the size of the trained weight",
        paper="Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks",
        use="As the first baseline: it needs only the trained agent, and is hard to beat.",
    ),
    # E|g| is the mean over batches of |batch gradient|. |E g| would be different: it vanishes at an optimum.
    "taylor": Criterion(
        lambda weights, mean_abs_gradient: np.abs(weights) * mean_abs_gradient,
        summary="|w| E|dL/dw|: first-order change of the loss when the weight is removed",
        paper="Molchanov et al. 2017, Pruning Convolutional Neural Networks for Resource Efficient Inference",
        cost=_BATCHES,
        use="If the effect of a weight on the loss should count, not only its size. Needs the replay.",
    ),
    "gradient": Criterion(
        lambda mean_abs_gradient: mean_abs_gradient,
        summary="E|dL/dw|: how much the loss depends on the weight",
        paper="Evci et al. 2020, Rigging the Lottery, which grows connections by this score",
        cost=_BATCHES,
        use="Next to taylor, to see what the size of the weight adds.",
    ),
    # The empirical Fisher information is the Hessian's diagonal; the first-order term is zero, as at an optimum.
    "fisher": Criterion(
        lambda weights, mean_squared_gradient: 0.5 * np.square(weights) * mean_squared_gradient,
        summary="w^2 E[g^2] / 2: second-order change of the loss, Hessian diagonal from single transitions' gradients",
        paper="LeCun et al. 1989, Optimal Brain Damage; Theis et al. 2018, Faster gaze prediction with dense networks "
        "and Fisher pruning",
        cost=_BATCHES,
        use="As a second-order check of taylor. The two rank weights almost alike (docs/scores.md).",
    ),
    "wanda": Criterion(
        lambda weights, input_norm: np.abs(weights) * input_norm[:, None],
        summary="|w| times the root mean square of its input: the size of the signal that the weight passes on",
        paper="Sun et al. 2023, A Simple and Effective Pruning Approach for Large Language Models",
        cost="100 forward batches",
        use="If observations differ in scale, which magnitude ignores.",
    ),
    "random": Criterion(
        lambda random: random,
        summary="a uniform random number, independent of the agent",
        paper="Liu et al. 2022, The Unreasonable Effectiveness of Random Pruning",
        use="As the control that every other criterion has to beat.",
    ),
    "magnitude-init": Criterion(
        lambda initial_weights: np.abs(initial_weights),
        summary="|w0|: the size of the initial weight",
        paper="Frankle et al. 2021, Pruning Neural Networks at Initialization: Why Are We Missing the Mark?",
        use="As the baseline for criteria that prune before training.",
    ),
    "snip": Criterion(
        lambda initial_weights, initial_mean_gradient: np.abs(initial_weights * initial_mean_gradient),
        summary="|w0 E g0|: first-order change of the loss when the initial weight is removed",
        paper="Lee et al. 2019, SNIP: Single-shot Network Pruning based on Connection Sensitivity",
        cost=_BATCHES,
        use="To prune before training, by the loss on what the random policy collects.",
    ),
    # Wang et al. remove the highest -w H g, so the highest w H g stay. Weights that reduce the gradient go first.
    "grasp": Criterion(
        lambda initial_weights, initial_hessian_gradient: initial_weights * initial_hessian_gradient,
        summary="w0 (H g)0: what the initial weight adds to the gradient's squared norm; scores are signed",
        paper="Wang et al. 2020, Picking Winning Tickets Before Training by Preserving Gradient Flow",
        cost="100 batches of Hessian-gradient products",
        use="To prune before training at high sparsity, where gradient flow is easily lost.",
        signed=True,
    ),
    "synflow": Criterion(
        lambda initial_weights, initial_synaptic_flow: np.abs(initial_weights) * initial_synaptic_flow,
        summary="|w0| dR/d|w0|: flow through all paths that contain the weight, scored and pruned in 100 rounds",
        paper="Tanaka et al. 2020, Pruning neural networks without any data by iteratively conserving synaptic flow",
        cost="100 rounds without data",
        use="To prune before training without data, at sparsities at which other scores would empty a layer.",
        iterations=100,
    ),
}
"""The built-in criteria by name. The mask keeps the highest scores."""

_imported: dict[str, Criterion] = {}
"""The user's own criteria that this process has imported, by import path."""


def known_criterion(name: str) -> Criterion | None:
    """The criterion called `name`; None for a function of the user's own that this process has not imported yet.

    Nothing is imported, so names in files of other people may be looked up.

    Raises:
        MaskError: the name is unknown, or an import path that can't be one.
    """
    if name in CRITERIA or ":" not in name:
        return _built_in(name)
    check_import_path(name)
    return _imported.get(name)


def find_criterion(name: str) -> Criterion:
    """The criterion called `name`, or the function at an import path such as ``my_module:my_score``, imported.

    Its module must be where Python finds it; `rlottery run` adds the current folder and that of the config file. The
    first line of its docstring becomes the summary.

    Raises:
        MaskError: the name is unknown; the module is missing or fails, or has no such function; the function has no
            parameters, or one that names no statistic.
    """
    if name in CRITERIA or ":" not in name:
        return _built_in(name)
    _imported[name] = criterion_of(import_function(name), name)
    return _imported[name]


def criterion_of(function: Callable[..., RealArray], name: str) -> Criterion:
    """The criterion that scores by a function of the user's own; the first line of its docstring is the summary.

    Raises:
        MaskError: the function has no parameters, or one that names no statistic.
    """
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        raise MaskError(f"The criterion {name!r} doesn't show its parameters. Write it as a Python function.") from None
    known = f"What a criterion may read: {', '.join(STATISTICS)}."
    if not parameters:
        raise MaskError(f"The criterion {name!r} has no parameters, but their names say what it reads. {known}")
    if unknown := [parameter for parameter in parameters if parameter not in STATISTICS]:
        raise MaskError(
            f"The criterion {name!r} asks for {unknown[0]!r}, which is not a known statistic."
            f"{did_you_mean(unknown[0], STATISTICS)} {known}"
        )
    summary = (inspect.getdoc(function) or f"the function {name}").partition("\n")[0]
    found = Criterion(function, summary=summary, paper="", use="Your own function.")
    return replace(found, cost="batches of data") if found.needs_data else found


def _built_in(name: str) -> Criterion:
    if name not in CRITERIA:
        raise MaskError(
            f"There is no criterion {name!r}.{did_you_mean(name, CRITERIA)} Choose one of {', '.join(CRITERIA)}, "
            "or give your own function as module:function."
        )
    return CRITERIA[name]


class Needed(NamedTuple):
    """Names of the statistics to compute, without prefix: at the trained and at the initial weights."""

    trained: tuple[str, ...]
    initial: tuple[str, ...]


def statistics_for(criterion: str, estimator: Estimator | None = None) -> Needed:
    """The statistics that `score` needs: everything that the criterion reads, and the weights in any case.

    The weights tell `score` which layers there are. They are the initial weights if the criterion needs no trained
    agent.

    Raises:
        MaskError: as `find_criterion`, or `estimator` is given to a criterion that doesn't read `mean_abs_gradient`.
    """
    chosen = find_criterion(criterion)
    names = dict.fromkeys(
        [f"{INITIAL}weights" if chosen.before_training else "weights", *sources_of(chosen, estimator).values()]
    )
    initial = [name for name in names if name.startswith(INITIAL) or (name == "random" and chosen.before_training)]
    return Needed(
        trained=tuple(name for name in names if name not in initial),
        initial=tuple(name.removeprefix(INITIAL) for name in initial),
    )


def score(name: str, statistics: Mapping[str, Mapping[str, Any]], *, estimator: Estimator | None = None) -> Scores:
    """Scores every kernel weight of one group. Higher is better.

    Args:
        name: of the criterion, as for `find_criterion`.
        statistics: name -> layer path -> array, for the names in `statistics_for`; others are ignored. Layers and
            shapes are those of `weights`, or else of `initial_weights`.
        estimator: "abs-mean" gives |mean_gradient| to a criterion that asks for `mean_abs_gradient`.

    Returns:
        path -> scores (inputs, outputs): finite floats, as precise as the criterion returned them. Whole numbers become
        floats that hold them exactly.

    Raises:
        MaskError: as `statistics_for`; a statistic is missing, has other layers or shapes, is not finite, or is
            negative where that is impossible; the function fails, or doesn't return one finite score for each weight.
    """
    return score_with(find_criterion(name), name, statistics, estimator=estimator)


def score_with(
    chosen: Criterion,
    name: str,
    statistics: Mapping[str, Mapping[str, Any]],
    *,
    estimator: Estimator | None = None,
) -> Scores:
    """As `score`, by a criterion that needs no name to be found by; `name` is for messages."""
    kernels = statistics.get("weights", statistics.get(f"{INITIAL}weights"))
    if kernels is None:
        raise MaskError(f"The criterion {name!r} was given no weights, so its layers are unknown.")
    read = {}
    for parameter, source in sources_of(chosen, estimator).items():
        layers = _checked(name, source, statistics, kernels)
        read[parameter] = layers if source == parameter else {path: np.abs(layer) for path, layer in layers.items()}
    return {
        path: _layer_scores(chosen, name, path, {each: layers[path] for each, layers in read.items()}, kernel.shape)
        for path, kernel in kernels.items()
    }


def sources_of(criterion: Criterion, estimator: Estimator | None) -> dict[str, str]:
    """Parameter of a criterion -> the statistic that it is computed from.

    Raises:
        MaskError: `estimator` is given to a criterion that doesn't read `mean_abs_gradient`.
    """
    averaged = {f"{at}mean_abs_gradient": f"{at}mean_gradient" for at in ("", INITIAL)}
    if estimator is None:
        return {name: name for name in criterion.reads}
    if averaged.keys().isdisjoint(criterion.reads):
        raise MaskError(
            f"The criterion reads {', '.join(criterion.reads)}, but not mean_abs_gradient, so the estimator "
            f"{estimator!r} has no effect. Leave the estimator out."
        )
    return {name: averaged.get(name, name) if estimator == "abs-mean" else name for name in criterion.reads}


def _checked(
    criterion: str, name: str, statistics: Mapping[str, Mapping[str, Any]], kernels: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The statistic `name`, layer by layer, read-only."""
    if name not in statistics:
        raise MaskError(f"The criterion {criterion!r} needs {name} of every kernel: {STATISTICS[name]}.")
    layers = statistics[name]
    if layers.keys() != kernels.keys():
        raise MaskError(f"{name} and kernels have different layers: {', '.join(layers)} and {', '.join(kernels)}.")
    checked = {}
    for path, given in layers.items():
        layer = np.asarray(given).view()
        layer.flags.writeable = False
        shape = kernels[path].shape
        expected = shape[:1] if name.endswith("input_norm") else shape
        if layer.shape != expected:
            raise MaskError(f"{name} of layer {path!r} has shape {layer.shape}, but its kernel {shape}.")
        if bad := layer.size - np.count_nonzero(np.isfinite(layer)):
            raise MaskError(
                f"{bad} of {layer.size} values of {name} of layer {path!r} are NaN or infinite: this agent diverged. "
                "Train the dense agent again with a lower learning rate."
            )
        if name.endswith("mean_abs_gradient") and (layer < 0).any():
            raise MaskError(
                f"{name} of layer {path!r} has negative values: "
                "take the absolute value of each batch gradient before the mean."
            )
        checked[path] = layer
    return checked


def _layer_scores(
    criterion: Criterion, name: str, path: str, read: Mapping[str, np.ndarray], shape: tuple[int, ...]
) -> RealArray:
    try:
        # Overflows and divisions by zero are reported once, below. Copied, in case the function uses its array again.
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            given = criterion.function(**read)
            scores = np.array(given) if hasattr(given, "__array__") else None
    except Exception as error:
        raise MaskError(f"The criterion {name!r} failed on layer {path!r}: {typed_text(error)}") from error
    if scores is None or isinstance(given, np.ma.MaskedArray):
        what = "a masked array" if scores is not None else type(given).__name__
        why = "; fill its masked entries first, such as with .filled(0)" if scores is not None else ""
        raise MaskError(f"The criterion {name!r} returned {what} for layer {path!r}, not an array{why}.")
    if scores.shape != shape:
        raise MaskError(
            f"The criterion {name!r} returned scores of shape {scores.shape} for layer {path!r} of shape {shape}."
        )
    if scores.dtype.kind in "biu":
        scores = _as_floats(scores, name, path)
    if scores.dtype.kind != "f":
        raise MaskError(
            f"The criterion {name!r} returned {scores.dtype} for layer {path!r}, not real numbers: whole numbers, or "
            "floats such as float32 and float64."
        )
    if bad := scores.size - np.count_nonzero(np.isfinite(scores)):
        raise MaskError(
            f"{bad} of {scores.size} {name} scores of layer {path!r} are NaN or infinite, although everything they are "
            f"computed from ({', '.join(read)}) is finite: a number grew too large, or was divided by zero."
        )
    return scores


def _as_floats(scores: np.ndarray, name: str, path: str) -> RealArray:
    """Whole numbers as the smallest floats that hold each of them exactly, so that no two become equal.

    Raises:
        MaskError: some are too large for any float of this machine.
    """
    for dtype in (np.float64, np.longdouble):
        # Every whole number up to 2^53 is a float64. An 80-bit long double, the largest on x86, has all of int64.
        limit = 2 ** (np.finfo(dtype).nmant + 1)
        if int(scores.max(initial=0)) <= limit and int(scores.min(initial=0)) >= -limit:
            return scores.astype(dtype)
    raise MaskError(
        f"The criterion {name!r} returned whole numbers above {limit} for layer {path!r}, which can't be ranked "
        "exactly on this machine. Return smaller ones, or floats."
    )
