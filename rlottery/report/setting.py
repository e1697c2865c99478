"""The setting that a study's answers hold for, in one line: algorithm, network, training steps, allocation."""

from collections import Counter

from rlottery.activations import DEFAULT_ACTIVATION
from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.description import Spec
from rlottery.config import Config
from rlottery.config.recipes import PrunedRecipe
from rlottery.report.wording import joined

_ALLOCATIONS = {"global": "one ranking over each network (global)", "erk": "ERK", "uniform": "uniform"}


def setting_line(config: Config) -> str:
    """``SAC with 2 x 128 units, 15,000 steps, one ranking over each network (global)``; ``2 x 64 tanh units``.

    Of several tasks the fewest and the most steps; of several arms every allocation.
    """
    steps = [config.training_for(task).env_steps for task in config.tasks]
    low, high = min(steps), max(steps)
    span = f"{low:,}" if low == high else f"{low:,} to {high:,}"
    made = [f"{algorithm_of(config).label} with {_networks(config)}", f"{span} steps"]
    return ", ".join([*made, joined(allocations)] if (allocations := _allocations(config)) else made)


def _networks(config: Config) -> str:
    widths = config.hidden_layers
    units = "units" if config.network.activation == DEFAULT_ACTIVATION else f"{config.network.activation} units"
    if len(set(widths.values())) == 1:
        return f"{_units(next(iter(widths.values())))} {units}"
    algorithm = algorithm_of(config)
    networks = algorithm.networks(Spec(1, 1), algorithm.settings(config, config.tasks[0]))  # as many for every task
    number = Counter(network.group for network in networks)
    critics = "the critic" if number["critic"] == 1 else "each critic"
    return f"{_units(widths['actor'])} {units} in the actor and {_units(widths['critic'])} in {critics}"


def _units(widths: tuple[int, ...]) -> str:
    """``2 x 128``; ``256, 128`` if the layers differ."""
    if len(set(widths)) == 1:
        return f"{len(widths)} x {widths[0]}"
    return ", ".join(map(str, widths))


def _allocations(config: Config) -> list[str]:
    """How the layers' weights are counted out, in the words of `_ALLOCATIONS`; [] if no arm has a mask of its own."""
    if not config.arms:
        return [_ALLOCATIONS[config.pruning.allocation]]
    pruned = [recipe for recipe in config.recipes if isinstance(recipe, PrunedRecipe) and recipe.structure == "weights"]
    rules = {recipe.rule for recipe in pruned if not recipe.allocation.layers}
    named = [text for rule, text in _ALLOCATIONS.items() if rule in rules]
    return named + ["sparsities given by layer"] * any(recipe.allocation.layers for recipe in pruned)
