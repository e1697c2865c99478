"""Warnings about recipes before anything starts, such as a rewind step after which a part of an agent can't learn."""

from collections.abc import Sequence

from rlottery.config import Config
from rlottery.config.models import needed_updates
from rlottery.config.recipes import PrunedRecipe
from rlottery.study.planning.few_weights import few_weights_warnings
from rlottery.study.planning.jobs import Job


def recipe_warnings(config: Config, jobs: Sequence[Job]) -> list[str]:
    """What is said about the recipes of these jobs before they start: too few weights, or too few updates."""
    return [*few_weights_warnings(config, jobs), *few_updates_warnings(config, jobs)]


def few_updates_warnings(config: Config, jobs: Sequence[Job]) -> list[str]:
    """A sentence for each arm and task of these jobs whose rewind step leaves a ticket fewer updates than it needs."""
    found: dict[str, None] = {}
    for job in jobs:
        recipe = None if job.arm is None else job.arm.recipe
        if job.arm is None or not isinstance(recipe, PrunedRecipe) or not recipe.rewind_step:
            continue
        training, needed = config.training_for(job.task), needed_updates(config.hyperparameters_for(job.task))
        left = training.updates_by(training.env_steps - recipe.rewind_step)
        if left < needed.updates:
            updates = "1 update" if left == 1 else f"{left} updates"
            found[
                f"Warning: {job.arm.name} on {job.task.id}: rewind step {recipe.rewind_step} leaves {updates}, fewer "
                f"than {needed.key} ({needed.updates}): {needed.without}. Use an earlier step, or a lower {needed.key}."
            ] = None
    return list(found)
