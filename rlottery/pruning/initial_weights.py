"""Changes to the initial weights under a mask: permuted among the survivors, or rescaled for the inputs they lost.

Pruned weights stay as they are. A mask with other layers or shapes raises MaskError.
"""

import numpy as np

from rlottery.pruning.criteria import Kernels
from rlottery.pruning.masks import GroupMask, check_shapes
from rlottery.pruning.ranking import RealArray


def permute_weights(kernels: Kernels, mask: GroupMask, generator: np.random.Generator) -> dict[str, RealArray]:
    """Each layer's surviving weights, permuted among the surviving positions.

    The mask and the values stay the same, and only the positions of the values change (Vischer et al. 2022,
    mask/permuted weights; a milder version of the random reinitialisation of Frankle and Carbin 2019).
    """
    check_shapes(mask, kernels)
    permuted = {}
    for path, alive in mask.items():
        permuted[path] = kernels[path].copy()
        permuted[path][alive] = generator.permutation(kernels[path][alive])
    return permuted


def rescale(kernels: Kernels, mask: GroupMask) -> dict[str, RealArray]:
    """Surviving weights times sqrt(inputs / survivors) of their unit.

    A unit that keeps k of n independent weights has k/n of the variance in its pre-activation. The factor restores it
    (He et al. 2015 with the remaining fan-in; Evci et al. 2022, Gradient Flow in Sparse Neural Networks, section 3).
    Units without survivors have nothing to rescale.
    """
    check_shapes(mask, kernels)
    rescaled = {}
    for path, alive in mask.items():
        factor = np.sqrt(alive.shape[0] / np.maximum(alive.sum(axis=0), 1)).astype(kernels[path].dtype)
        rescaled[path] = np.where(alive, kernels[path] * factor, kernels[path])
    return rescaled
