"""What each kind of run starts training from."""

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
from rlottery.config.recipes import Rewiring
from rlottery.pruning.controls import permute_weights, rescale
from rlottery.pruning.masks import Mask, kept_weights
from rlottery.study.planning.inputs import given_mask, rewound_to
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.networks import small_network
from rlottery.study.stages.agents import (
    ALGORITHM,
    initial_weights,
    saved_agent,
    settings_of,
    spec_of,
    streams_of,
    weights_from,
)
from rlottery.training.dynamic_sparsity import DynamicSparsity, masks_of


@dataclass(frozen=True)
class Start:
    """What a run's training starts from, and what it does beside updating weights.

    Attributes:
        weights: fresh or initial ones; None where `agent` says all.
        agent: a whole agent that the run goes on from, with an empty buffer and a fresh optimiser.
        masks: of a ticket.
        dynamic: what changes the masks in training.
        network: hidden widths, where they are not the config's.
        saves: steps of which the whole agent is saved for others to go back to.
    """

    weights: Tree | None = None
    agent: Any = None
    masks: Mask | None = None
    dynamic: DynamicSparsity | None = None
    network: NetworkSettings | None = None
    saves: Sequence[int] = ()


def start_of(job: Job, mask: Mask | None) -> Start:
    """What a ticket's or a control's recipe starts from."""
    arm, streams = job.ticket_arm, streams_of(job)
    if arm.kind == "small-dense":
        source = job.mask_source
        assert source is not None
        masks = given_mask(source).groups
        network = small_network(job.config, job.task, spec_of(job), {g: kept_weights(m) for g, m in masks.items()})
        return Start(weights_from(job, streams.for_purpose("fresh weights"), network), network=network)
    if arm.rewind_step != 0:
        return Start(agent=saved_agent(*rewound_to(job)), masks=mask)
    if arm.kind == "fresh-weights":
        weights = weights_from(job, streams.for_purpose("fresh weights"))
    else:
        weights = initial_weights(job)
    if arm.is_dynamic:
        dynamic = _dynamic(job)
        if arm.rescale:
            first = masks_of(dynamic.start(ALGORITHM.init(weights, jax_key(0), settings_of(job))))
            weights = _with_kernels(weights, lambda layers, group: rescale(layers, first[group]))
        return Start(weights, dynamic=dynamic)
    if mask is not None and arm.kind == "permuted-weights":
        generator = streams.generator("permuted weights")
        weights = _with_kernels(weights, lambda layers, g: permute_weights(layers, mask.groups[g], generator))
    if mask is not None and arm.rescale:
        weights = _with_kernels(weights, lambda layers, g: rescale(layers, mask.groups[g]))
    return Start(weights, masks=mask)


def _with_kernels(weights: Tree, change: Callable[[Mapping[str, Any], str], Mapping[str, Any]]) -> Tree:
    """`weights` with each group's kernels changed; biases stay."""
    changed: Tree = jax.tree.map(lambda leaf: leaf, weights)
    for group, tree in weights.items():
        layers = change({path: np.asarray(kernel) for path, kernel in kernels(tree).items()}, group)
        for path, kernel in layers.items():
            reduce(getitem, path.split("."), changed[group])["kernel"] = jnp.asarray(kernel)
    return changed


def _dynamic(job: Job) -> DynamicSparsity:
    arm = job.ticket_arm
    recipe, training = arm.recipe, job.config.training_for(job.task)
    assert arm.sparsity is not None
    chosen = recipe.schedule.in_training
    assert chosen is not None
    begin, end = recipe.schedule.window(training.env_steps, training.warmup_steps)
    return DynamicSparsity(
        kind=cast(Any, arm.kind),
        interval=chosen.interval,
        begin=begin,
        end=end,
        drop=chosen.drop if isinstance(chosen, Rewiring) else 0.0,
        sparsity=arm.sparsity,
        allocation=recipe.rule,
        floor=recipe.floor,
        algorithm=ALGORITHM,
        settings=settings_of(job),
        streams=streams_of(job),
    )
