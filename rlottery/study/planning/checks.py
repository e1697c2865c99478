"""Checks of arms against the networks of each task, before anything starts. Nothing here imports JAX."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from rlottery.agents.description import Spec, kernel_shapes, weight_count
from rlottery.config import Config, Task
from rlottery.config.recipes import ROUND, PrunedRecipe, SparseTrainingRecipe
from rlottery.config.schedules import DropAndGrow
from rlottery.errors import MaskError, StudyError, naming
from rlottery.pruning.allocation import allocate_given, allocate_uniform, survivor_count
from rlottery.pruning.controls import given_mask
from rlottery.pruning.mask_file import MAX_MASK_BYTES
from rlottery.pruning.masks import Mask, by_network, check_connected, check_fits, check_shapes, kept_weights
from rlottery.pruning.plain_mask_file import read_any_mask
from rlottery.pruning.prune import allocate
from rlottery.pruning.structured import prune_units
from rlottery.study.planning.arms import Arm
from rlottery.study.planning.inputs import foreign_mask_path
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import networks_of, small_network, task_spec

MOST_WEIGHTS = MAX_MASK_BYTES - 2**20
"""A mask file has a byte for each weight, and metadata."""

LayerShapes = Mapping[str, Mapping[str, tuple[int, int]]]


def check_arms(config: Config, arms: Sequence[Arm]) -> None:
    """Check that every arm is possible on every task.

    Raises StudyError that names the arm, the task, what is impossible and how to fix it.
    """
    specs = {task.id: task_spec(task) for task in config.tasks}
    shapes = {task.id: kernel_shapes(networks_of(config, task, specs[task.id])) for task in config.tasks}
    for index, task in enumerate(config.tasks):
        weights = sum(map(weight_count, shapes[task.id].values()))
        if weights > MOST_WEIGHTS:
            raise StudyError(
                f"network: on {task.id}, the agent's networks have {weights:,} weights, and a mask file holds at most "
                f"{MOST_WEIGHTS:,}. Lower the widths in {' or '.join(f'network.{group}' for group in config.groups)}."
            )
        # Rounds of iterative pruning last: if one is impossible, so is the whole arm, whose message is clearer.
        for arm in sorted(arms, key=lambda arm: ROUND in arm.name):
            try:
                _check(config, arm, shapes, specs[task.id], task)
                if arm.root.transfer is not None:  # its mask comes from a file
                    for seed in config.seeds:
                        mask = _checked_file(Job(config, "mask", index, seed, arm.root), shapes[task.id])
                        _check_control(config, arm, mask, specs[task.id], task)
            except MaskError as error:
                raise StudyError(f"Arm {arm.name} on {task.id}: {error}") from None


def _check(config: Config, arm: Arm, shapes: Mapping[str, LayerShapes], spec: Spec, task: Task) -> None:
    """Raises MaskError if the arm's mask or network is impossible on that task."""
    own, transfer, recipe = shapes[task.id], arm.transfer, arm.recipe
    if transfer is not None and transfer.task is not None:
        for group, layers in shapes[transfer.task].items():
            with naming(f"the mask of {transfer.task} doesn't fit. {group}"):
                check_shapes(_arrays(layers), _arrays(own[group]))
    for group, sparsity in (arm.sparsity or {}).items():
        assert isinstance(recipe, PrunedRecipe)
        for layers in budgets(arm, own[group]):
            with naming(group):
                if recipe.structure == "units":
                    prune_units(_arrays(layers), sparsity, recipe.floor)
                else:
                    allocate_uniform(layers, sparsity, recipe.floor)  # possible if any allocation is
    if isinstance(recipe, SparseTrainingRecipe) and isinstance(recipe.updates, DropAndGrow):
        _check_that_masks_change(recipe, recipe.updates.drop, own)
    if arm.has_small_network and arm.root.transfer is None:
        small_network(config, task, spec, {g: _survivors(arm.root, g, layers) for g, layers in own.items()})


def _check_that_masks_change(recipe: SparseTrainingRecipe, drop: float, shapes: LayerShapes) -> None:
    """Raises MaskError if the first update of a schedule that drops and grows weights is too small to drop any."""
    kept = [
        count
        for group, (share,) in recipe.layer_sparsities.items()
        for path, count in allocate(recipe.rule, _arrays(shapes[group]), share, recipe.floor).items()
        if count < math.prod(shapes[group][path])
    ]
    if kept and drop * max(kept) < 1:
        raise MaskError(
            f"schedule.{recipe.kind}.drop of {drop:g} would drop no weight, because no layer that is pruned keeps more "
            f"than {max(kept):,}. Raise it to at least {math.ceil(1e6 / max(kept)) / 1e6:g}."
        )


def _survivors(arm: Arm, group: str, shapes: Mapping[str, tuple[int, int]]) -> int:
    """Weights of a group that the arm's mask keeps; an upper limit if whole units are pruned."""
    if arm.sparsity is not None:
        return sum(survivor_count(weight_count(layers), arm.sparsity[group]) for layers in budgets(arm, shapes))
    recipe = arm.recipe
    assert isinstance(recipe, PrunedRecipe) and recipe.allocation.layers is not None
    return sum(allocate_given(shapes, getattr(recipe.allocation.layers, group), recipe.floor).values())


def budgets(arm: Arm, shapes: Mapping[str, tuple[int, int]]) -> list[Mapping[str, tuple[int, int]]]:
    """The layers of a group, divided into those that share a budget."""
    return list(by_network(shapes).values()) if arm.ranks_globally and arm.twins == "separate" else [shapes]


def _checked_file(job: Job, shapes: LayerShapes) -> Mask:
    """The mask in the file of a transfer. Raises MaskError if it can't be used."""
    path = foreign_mask_path(job)
    try:
        found = path.exists()
    except OSError as error:
        raise MaskError(f"transfer.file can't be read: {error}") from None
    if not found:
        raise MaskError(f"there is no file {path.absolute()}, which transfer.file gives for seed {job.seed}.")
    mask = read_any_mask(path)
    with naming(f"{path} doesn't fit"):
        check_mask_fits(mask, shapes)
    with naming(str(path)):
        check_every_group(mask)
    return mask


def _check_control(config: Config, arm: Arm, mask: Mask, spec: Spec, task: Task) -> None:
    """Raise MaskError if a control makes no sense with the mask of a file."""
    if arm.control is None or arm.of is None:
        return
    if problem := arm.control.objection(given_mask(arm.of.name, mask.groups)):
        raise MaskError(f"{problem}.")
    if arm.has_small_network:
        small_network(config, task, spec, {group: kept_weights(layers) for group, layers in mask.groups.items()})


def check_mask_fits(mask: Mask, shapes: LayerShapes) -> None:
    """Check that the mask has the groups, layers and shapes of an agent's networks, or raise a MaskError."""
    check_fits(mask, {group: _arrays(layers) for group, layers in shapes.items()})


def check_every_group(mask: Mask) -> None:
    """Check that every network of a mask from a file connects its inputs and outputs, or raise a MaskError."""
    for group, layers in mask.groups.items():
        with naming(group):
            check_connected(layers, "Keep a path of weights through all layers of every network.")


def _arrays(layers: Mapping[str, tuple[int, int]]) -> dict[str, Any]:
    """Arrays of these shapes that use no memory."""
    return {path: np.broadcast_to(np.float32(0), shape) for path, shape in layers.items()}
