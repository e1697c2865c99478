"""Sparsities that leave a network so few weights that its mask often connects no input with an output.

Such a mask can't be used, which is only known once it is made: for tickets after the dense agents were trained.
"""

import math
from collections.abc import Iterator, Mapping, Sequence

from rlottery.agents.description import kernel_shapes, weight_count
from rlottery.config import Config
from rlottery.config.recipes import ROUND, PrunedRecipe, TicketRecipe
from rlottery.pruning.allocation import allocate_erk, allocate_uniform, survivor_count
from rlottery.pruning.masks import DRAWS, by_network
from rlottery.study.planning.arms import Arm
from rlottery.study.planning.checks import budgets
from rlottery.study.planning.jobs import Job
from rlottery.study.planning.network_sizes import networks_of, task_spec

Layers = Mapping[str, tuple[int, int]]
_LOWER = (0.999, 0.998, 0.995, 0.99, 0.98, 0.95, 0.9, 0.8, 0.5, 0.0)
"""The sparsities that a message recommends, of which it takes the highest that is low enough."""

_LEAST_RANKED = 10
"""Paths that are expected at least where a ranking divides the weights among the layers: never as it is best."""


def few_weights_warnings(config: Config, jobs: Sequence[Job]) -> list[str]:
    """A sentence for each arm and task whose masks, which these jobs make, would often be cut."""
    found: dict[str, None] = {}
    for job in jobs:
        arm = job.arm
        if arm is None or job.stage != arm.stages[0] or ROUND in arm.name:
            continue
        shapes = kernel_shapes(networks_of(config, job.task, task_spec(job.task)))
        for group, layers, sparsity in _cut(arm, shapes):
            total = weight_count(layers)
            reclaim = ", or reclaim: true" if isinstance(arm.recipe, TicketRecipe) and arm.recipe.floor == 1 else ""
            late = "" if arm.recipe.is_dynamic else ", after the dense agents were trained"
            lower = next(share for share in _LOWER if share < sparsity and _is_enough(arm, layers, share))
            fix = f"Use a sparsity of at most {lower:g}" if lower else "Use wider networks"
            found[
                f"Warning: {arm.name} on {job.task.id}: a sparsity of {sparsity:g} leaves {group} "
                f"{survivor_count(total, sparsity):,} of {total:,} weights. Masks with so few often connect no input "
                f"with an output, and then the run fails{late}. {fix}{reclaim}."
            ] = None
    return list(found)


def _cut(arm: Arm, shapes: Mapping[str, Layers]) -> Iterator[tuple[str, Layers, float]]:
    """The groups of an arm whose masks would often be cut: name, layers that share a budget, sparsity."""
    recipe = arm.recipe
    if not isinstance(recipe, PrunedRecipe) or recipe.structure == "units" or getattr(recipe, "reclaim", False):
        return  # whole units and reclaimed weights are on paths
    for group, sparsity in (arm.sparsity or {}).items():
        for layers in budgets(arm, shapes[group]):
            if not _is_enough(arm, layers, sparsity):
                yield group, layers, sparsity
                break


def _is_enough(arm: Arm, layers: Layers, sparsity: float) -> bool:
    least = min(_LEAST_RANKED if arm.ranks_globally else 1, expected_paths(arm, layers, 0.0))
    draws = DRAWS if arm.kind in ("set", "rigl") else 1  # these draw their first mask until it is connected
    return draws * expected_paths(arm, layers, sparsity) >= least


def expected_paths(arm: Arm, layers: Layers, sparsity: float) -> float:
    """How many paths from an input to an output a random mask has on average, in the worst network of a budget.

    The probability that there is one at all is at most that (Markov's inequality). With layers of n_1, n_2, ... weights
    and hidden layers of h_1, h_2, ... units, it is n_1 n_2 ... / (h_1 h_2 ...). Where a ranking decides about the
    layers' numbers, those with the most paths count.
    """
    recipe = arm.recipe
    assert isinstance(recipe, PrunedRecipe)
    rule = {"uniform": allocate_uniform, "erk": allocate_erk}.get(recipe.rule)
    counts = None if rule is None else rule(layers, sparsity, recipe.floor)
    paths = []
    for network in by_network(layers).values():
        hidden = math.prod(outputs for _, outputs in list(network.values())[:-1])
        if counts is None:
            survivors = survivor_count(weight_count(layers), sparsity)
            paths.append(_most(list(map(math.prod, network.values())), survivors) / hidden)
        else:
            paths.append(math.prod(counts[path] for path in network) / hidden)
    return min(paths)


def _most(sizes: Sequence[int], total: float) -> float:
    """The largest product of numbers up to these sizes that have this sum."""
    product = 1.0
    for index, size in enumerate(sorted(sizes)):
        share = min(size, total / (len(sizes) - index))
        product, total = product * share, total - share
    return product
