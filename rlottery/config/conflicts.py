"""Conflicts between an arm's recipe and the study's other settings."""

from collections.abc import Sequence

from rlottery.config.recipes import PrunedRecipe, Recipe, SparseTrainingRecipe, TransferRecipe
from rlottery.config.sections import EvaluationSettings, NetworkSettings, Training
from rlottery.config.yaml_lines import KeyPath


def conflict(
    recipe: Recipe,
    *,
    network: NetworkSettings,
    training: Training,
    evaluation: EvaluationSettings,
    tasks: Sequence[str],
    seeds: Sequence[int],
) -> tuple[KeyPath, str] | None:
    """The key of the recipe that the other settings make impossible, and why; None if there is none.

    Args:
        training: the settings of one task.
        tasks: ids of the study's tasks.
    """
    if isinstance(recipe, TransferRecipe):
        found = recipe.transfer.conflict(tasks, seeds)
        return None if found is None else (("transfer", found[0]), found[1])
    if not isinstance(recipe, PrunedRecipe):
        return None
    problem = _layers(recipe, network) or _warmup_data(recipe, training)
    if problem is None and isinstance(recipe, SparseTrainingRecipe):
        steps = training.env_steps
        found = recipe.updates.conflict(steps, training.warmup_steps, evaluation.first_scored(steps))
        problem = None if found is None else (("schedule", recipe.kind, found[0]), found[1])
    return problem or _rewind_point(recipe, training, evaluation)


def _layers(recipe: PrunedRecipe, network: NetworkSettings) -> tuple[KeyPath, str] | None:
    for group, shares in dict(recipe.given_layers or {}).items():
        layers = len(getattr(network, group)) + 1
        if len(shares) != layers:
            needed = f"must have {layers} entries, one for each layer that network.{group} makes, not {len(shares)}"
            return ("allocation", group), needed
    return None


def _warmup_data(recipe: PrunedRecipe, training: Training) -> tuple[KeyPath, str] | None:
    if recipe.scoring is None or not recipe.scoring.needs_warmup:
        return None
    reads = f"{recipe.criterion} reads the data of the warm-up"
    if training.warmup_steps == 0:
        return ("criterion",), f"{reads}, but warmup_steps is 0; raise it"
    if training.capacity < training.env_steps:
        kept = f"the last {training.capacity} of {training.env_steps} transitions"
        return ("criterion",), f"{reads}, but only {kept} are kept; set replay_capacity: all"
    return None


def _rewind_point(
    recipe: PrunedRecipe, training: Training, evaluation: EvaluationSettings
) -> tuple[KeyPath, str] | None:
    """Why no ticket can be rewound to that step of its dense run."""
    step, steps, warmup = recipe.rewind_step, training.env_steps, training.warmup_steps
    if not step:
        return None
    if step <= warmup:
        problem = f"must be above warmup_steps ({warmup}), not {step}: until then the weights are the initial ones"
        return ("rewind", "step"), problem
    # The remaining steps must be enough for the ticket's own warm-up, and for the evaluations that make its score.
    needed = max(warmup + 1, evaluation.interval, (evaluation.score_evaluations - 1) * evaluation.interval + 1)
    if step > steps - needed:
        problem = (
            f"must leave the ticket at least {needed} of env_steps ({steps}), for a warm-up ({warmup}) and "
            f"score_evaluations ({evaluation.score_evaluations}), one per {evaluation.interval} steps, not {step}"
        )
        return ("rewind", "step"), problem
    return None
