"""What the training of each kind of arm starts from."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np

from rlottery.agents.base import jax_key, kernels
from rlottery.agents.networks import Tree
from rlottery.config import NetworkSettings
from rlottery.config.recipes import SparseTrainingRecipe
from rlottery.config.schedules import DropAndGrow
from rlottery.pruning.initial_weights import rescale
from rlottery.pruning.masks import Mask, kept_weights
from rlottery.study.planning.inputs import given_mask, rewound_to
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import small_network, task_spec
from rlottery.study.stages.agents import (
    algorithm_for,
    initial_weights,
    saved_agent,
    settings_of,
    streams_of,
    weights_from,
)
from rlottery.training.dynamic_sparsity import DynamicSparsity, masks_of


@dataclass(frozen=True)
class Start:
    """What a run's training starts from, and what it does besides updating weights.

    Attributes:
        weights: fresh or initial weights; None if `agent` is given.
        agent: a whole agent to continue from, with an empty buffer and a fresh optimiser.
        dynamic: what changes the masks during training.
        network: hidden widths, if they aren't the config's.
        saves: the steps at which the whole agent is saved for others to rewind to.
    """

    weights: Tree | None = None
    agent: Any = None
    masks: Mask | None = None
    dynamic: DynamicSparsity | None = None
    network: NetworkSettings | None = None
    saves: Sequence[int] = ()


def start_of(job: Job, mask: Mask | None) -> Start:
    """What the training of a ticket or a control starts from."""
    arm, streams, control = job.ticket_arm, streams_of(job), job.ticket_arm.control
    if arm.rewind_step != 0:
        return Start(agent=saved_agent(*rewound_to(job)), masks=mask)
    network = None
    if arm.has_small_network and (source := job.mask_source) is not None:
        kept = {group: kept_weights(mask) for group, mask in given_mask(source).groups.items()}
        network = small_network(job.config, job.task, task_spec(job.task), kept)
    if control is not None and control.fresh_weights:
        weights = weights_from(job, streams.for_purpose("fresh weights"), network)
    else:
        weights = initial_weights(job)
    if isinstance(arm.recipe, SparseTrainingRecipe):
        dynamic = _dynamic(job, arm.recipe)
        if arm.rescale:
            first = masks_of(dynamic.start(algorithm_for(job).init(weights, jax_key(0), settings_of(job))))
            weights = _with_kernels(weights, lambda layers, group: rescale(layers, first[group]))
        return Start(weights, dynamic=dynamic)
    if mask is not None and control is not None and (change := control.change_weights) is not None:
        generator = streams.generator("permuted weights")
        weights = _with_kernels(weights, lambda layers, group: change(layers, mask.groups[group], generator))
    if mask is not None and arm.rescale:
        weights = _with_kernels(weights, lambda layers, group: rescale(layers, mask.groups[group]))
    return Start(weights, masks=mask, network=network)


def _with_kernels(weights: Tree, change: Callable[[Mapping[str, Any], str], Mapping[str, Any]]) -> Tree:
    """`weights` with the kernels of each group changed; biases stay as they are."""
    changed: Tree = jax.tree.map(lambda leaf: leaf, weights)
    for group, tree in weights.items():
        layers = change({path: np.asarray(kernel) for path, kernel in kernels(tree).items()}, group)
        for path, kernel in layers.items():
            reduce(getitem, path.split("."), changed[group])["kernel"] = jnp.asarray(kernel)
    return changed


def _dynamic(job: Job, recipe: SparseTrainingRecipe) -> DynamicSparsity:
    arm, training = job.ticket_arm, job.config.training_for(job.task)
    assert arm.sparsity is not None
    begin, end = recipe.updates.window(training)
    return DynamicSparsity(
        kind=cast(Any, recipe.kind),
        interval=recipe.updates.interval,
        begin=begin,
        end=end,
        drop=recipe.updates.drop if isinstance(recipe.updates, DropAndGrow) else 0.0,
        sparsity=arm.sparsity,
        allocation=recipe.rule,
        floor=recipe.floor,
        algorithm=algorithm_for(job),
        settings=settings_of(job),
        streams=streams_of(job),
        twins=arm.twins,
    )
