"""Step 1, score: how much each kernel weight matters.

A criterion is one function of weights and gradients, and one line in `CRITERIA`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from rlottery.errors import MaskError
from rlottery.pruning.ranking import FloatArray, Scores

Kernels: TypeAlias = Mapping[str, FloatArray]
"""Layer path -> kernel (inputs, outputs), from input to output. Biases are never here.

What stands before the path's last dot names an independent network (`q1.layer_0`); it may be missing.
"""

ScoreFunction: TypeAlias = Callable[[FloatArray, FloatArray], FloatArray]
"""(weights, mean absolute gradient) -> scores: three arrays of one shape (inputs, outputs)."""

MEAN_ABS_BATCH_GRADIENT = "mean over batches of |batch gradient|"


def magnitude(weights: FloatArray, mean_abs_gradient: FloatArray) -> FloatArray:
    """|w|: small weights do little (Han et al. 2015; Frankle and Carbin 2019)."""
    return np.abs(weights)


def taylor(weights: FloatArray, mean_abs_gradient: FloatArray) -> FloatArray:
    """|w| E|dL/dw|: first-order change of the loss when w becomes zero (Molchanov et al. 2017).

    E|g| is the mean over batches of the absolute value of the batch gradient. It is not |E g|, which
    vanishes at a trained optimum.
    """
    return np.abs(weights) * mean_abs_gradient


def gradient(weights: FloatArray, mean_abs_gradient: FloatArray) -> FloatArray:
    """E|dL/dw|, the same estimator as `taylor`: how much the loss leans on w, whatever its size."""
    return mean_abs_gradient


@dataclass(frozen=True)
class Criterion:
    """A way to score kernel weights.

    Attributes:
        function: scores one layer.
        needs_gradient: whether the function reads its second argument.
        summary: what the score is, in a line.
        paper: where it comes from.
    """

    function: ScoreFunction
    needs_gradient: bool
    summary: str
    paper: str

    @property
    def estimator(self) -> str | None:
        """How the gradients of the score are averaged; None where none are read."""
        return MEAN_ABS_BATCH_GRADIENT if self.needs_gradient else None


CRITERIA: dict[str, Criterion] = {
    "magnitude": Criterion(
        magnitude,
        needs_gradient=False,
        summary="|w|: the size of the trained weight",
        paper="Han et al. 2015, Learning both Weights and Connections for Efficient Neural Networks",
    ),
    "taylor": Criterion(
        taylor,
        needs_gradient=True,
        summary="|w| E|dL/dw|: first-order change of the loss when the weight is removed",
        paper="Molchanov et al. 2017, Pruning Convolutional Neural Networks for Resource Efficient Inference",
    ),
    "gradient": Criterion(
        gradient,
        needs_gradient=True,
        summary="E|dL/dw|: how much the loss leans on the weight",
        paper="Evci et al. 2020, Rigging the Lottery, which grows connections by this score",
    ),
}


def score(criterion: str, kernels: Kernels, mean_abs_gradient: Kernels | None = None) -> Scores:
    """Scores every kernel weight of one group (actor or critic); the highest are worth keeping.

    Args:
        criterion: a name in `CRITERIA`.
        kernels: path -> (inputs, outputs).
        mean_abs_gradient: same paths and shapes: the mean over batches of the absolute batch gradient.
            Needed by criteria that read gradients, ignored by the others.

    Returns:
        path -> scores (inputs, outputs), all finite.

    Raises:
        MaskError: unknown criterion; gradients missing, of other paths or shapes, or negative (averaged
            before the absolute value); a score that is NaN or infinite, with its layer.
    """
    if criterion not in CRITERIA:
        raise MaskError(f"There is no criterion {criterion!r}. Choose one of {', '.join(CRITERIA)}.")
    chosen = CRITERIA[criterion]
    if chosen.needs_gradient:
        gradients = _checked_gradients(criterion, kernels, mean_abs_gradient)
    else:
        # NaN, so that a criterion which reads gradients without saying so fails below and is not just wrong.
        gradients = {path: np.broadcast_to(np.float32(np.nan), w.shape) for path, w in kernels.items()}
    scores = {path: chosen.function(weights, gradients[path]) for path, weights in kernels.items()}
    for path, layer in scores.items():
        if layer.shape != kernels[path].shape:
            raise MaskError(
                f"The criterion {criterion!r} gave scores of shape {layer.shape} for layer {path!r} "
                f"of shape {kernels[path].shape}."
            )
        bad = layer.size - np.count_nonzero(np.isfinite(layer))
        if bad:
            raise MaskError(
                f"{bad} of {layer.size} {criterion} scores of layer {path!r} are NaN or infinite: the "
                "weights or gradients of this agent diverged. "
                "Train the dense agent again, with a lower learning rate."
            )
    return scores


def _checked_gradients(criterion: str, kernels: Kernels, gradients: Kernels | None) -> Kernels:
    if gradients is None:
        raise MaskError(f"The criterion {criterion!r} needs the mean absolute gradient of every kernel.")
    if gradients.keys() != kernels.keys():
        raise MaskError(
            f"Gradients and kernels name other layers: {', '.join(gradients)} against {', '.join(kernels)}."
        )
    for path, layer in gradients.items():
        if layer.shape != kernels[path].shape:
            raise MaskError(
                f"The gradient of layer {path!r} has shape {layer.shape}, its kernel {kernels[path].shape}."
            )
        if (layer < 0).any():
            raise MaskError(
                f"The mean absolute gradient of layer {path!r} has negative values: "
                "take the absolute value of each batch gradient before the mean."
            )
    return gradients
