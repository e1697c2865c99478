"""Which recipes make no sense, and why: alone, and beside the arm that they are `of`."""

from math import ceil, log1p
from typing import Any, TypeAlias

from rlottery.config.fields import listed

Recipe: TypeAlias = Any
"""`rlottery.config.recipes.Recipe`, which imports this module."""
MAX_ROUNDS = 100
"""Of iterative pruning: each is a whole training."""

_DATA_KEYS = {"batches", "batch_size", "estimator"}
_OTHER_MASK = ("random", "random-erk", "shuffled", "first-layer", "inverted")
"""Controls whose mask is to differ from the ticket's."""
_INITIAL = "as they are before training"


def problem_of(recipe: Recipe) -> str | None:
    """What makes no sense in a recipe, in words that name the mend."""
    given = {key for key in recipe.model_fields_set - {"name"} if getattr(recipe, key) is not None}
    if recipe.control is not None:
        return _problem_of_control(recipe, given)
    if recipe.transfer is not None:
        return _problem_of_transfer(recipe, given)
    if recipe.of is not None:
        return "of belongs to a control or a transfer; name it: control: random, say"
    return _problem_of_ticket(recipe, given)


def _problem_of_control(recipe: Recipe, given: set[str]) -> str | None:
    if recipe.control == "dense-again":
        if extra := given - {"control"}:
            return f"dense-again is the dense agent with other data; leave out {listed(sorted(extra))}"
        return None
    if recipe.of is None:
        return f"a control needs the arm that it stands beside: of: NAME ({recipe.control})"
    if extra := given - {"control", "of", "rescale"}:
        return f"a control takes everything else from the arm it is `of`; leave out {listed(sorted(extra))}"
    if recipe.control == "small-dense" and recipe.rescale:
        return "small-dense has no mask to correct the scale for; leave out rescale"
    return None


def _problem_of_transfer(recipe: Recipe, given: set[str]) -> str | None:
    assert recipe.transfer is not None
    if recipe.transfer.file is None and recipe.of is None:
        return "a transfer needs the arm whose mask it takes: of: NAME"
    if recipe.transfer.file is not None and recipe.of is not None:
        return "a mask from a file is of no arm of this study; leave out `of`, or the file"
    if extra := given - {"transfer", "of", "rescale"}:
        return f"a transfer takes its mask as it is; leave out {listed(sorted(extra))}"
    return None


def _problem_of_ticket(recipe: Recipe, given: set[str]) -> str | None:
    schedule = recipe.schedule.name
    layers = recipe.given_layers
    if layers is None and recipe.sparsity is None:
        return "missing: sparsity, the share of the kernel weights to prune"
    if layers is not None and recipe.sparsity is not None:
        return "the sparsity follows from the layers that allocation gives; leave one of the two out"
    if layers is not None and schedule in ("iterative", "gradual"):
        return f"{schedule} pruning needs one sparsity to go towards; give sparsity, and allocation by a rule"
    if recipe.structure == "units":
        if schedule != "one-shot":
            return f"whole units are pruned at once; leave out structure: units, or schedule: {schedule}"
        if recipe.allocation is not None and recipe.allocation.rule not in ("global", "uniform"):
            return "structure: units takes allocation: global or uniform"
    if schedule != "one-shot" and any(one.actor == one.critic == 0 for one in recipe.sparsity or ()):
        return f"a sparsity of 0 prunes nothing, which makes no sense of schedule: {schedule}"
    if recipe.is_dynamic:
        return _problem_of_dynamic(recipe, given, schedule)
    return _problem_of_scored(recipe, given, schedule)


def _problem_of_dynamic(recipe: Recipe, given: set[str], schedule: str) -> str | None:
    if "rewind" in given and recipe.rewind.step != 0:
        return f"{schedule} makes its mask while it trains from the initial weights; leave out rewind"
    if schedule == "gradual":
        if recipe.criterion not in (None, "magnitude"):
            return "gradual pruning is by magnitude, of the weights as they are at that moment; leave out criterion"
        if recipe.rescale:
            return "gradual pruning starts dense: there is no scale to correct; leave out rescale"
    elif recipe.criterion is not None:
        return f"{schedule} drops by magnitude and grows by its own rule; leave out criterion"
    elif recipe.allocation is not None and recipe.allocation.rule == "global":
        return f"{schedule} starts from a random mask, which has no scores to rank globally; use erk or uniform"
    if recipe.given_layers is not None:
        return f"{schedule} takes allocation: erk or uniform"
    if extra := given & _DATA_KEYS:
        return f"{schedule} scores no replay; leave out {listed(sorted(extra))}"
    return None


def _problem_of_scored(recipe: Recipe, given: set[str], schedule: str) -> str | None:
    if recipe.criterion is None:
        return "missing: criterion; `rlottery arms` lists them, or name a function of your own: module:function"
    if recipe.rescale and recipe.rewind.step != 0:
        return "rescale corrects the scale of initial weights; leave it out, or rewind: initial"
    if (
        recipe.schedule.iterative is not None
        and (rounds := _rounds(recipe, recipe.schedule.iterative.rate)) > MAX_ROUNDS
    ):
        made = f"{rounds:,}" if rounds < 1e6 else "millions of"
        return f"schedule.iterative.rate makes {made} rounds, more than {MAX_ROUNDS}; raise it"
    known = recipe.scoring
    assert known is not None
    if known.before_training and known.reads != ("random",):
        if recipe.rewind.step != 0:
            return f"{recipe.criterion} scores the weights {_INITIAL}; leave out rewind, or score by magnitude, say"
        if schedule == "iterative":
            return f"{recipe.criterion} scores the weights {_INITIAL}, but iterative pruning scores trained ones"
    if known.iterations > 1 and recipe.structure == "units":
        return f"{recipe.criterion} scores and prunes weights in turn; leave out structure: units"
    if known.signed and recipe.structure == "units":
        return f"{recipe.criterion} gives scores with signs, which units have no mean square of; leave out structure"
    if (extra := given & _DATA_KEYS) and not known.needs_data:
        return f"{recipe.criterion} reads no replay; leave out {listed(sorted(extra))}"
    if recipe.estimator is not None and not any("mean_abs_gradient" in name for name in known.reads):
        return f"{recipe.criterion} has its own estimator; leave out estimator"
    return None


def _rounds(recipe: Recipe, rate: float) -> int:
    """Rounds of iterative pruning, to within one."""
    highest = max(max(one.actor, one.critic) for one in recipe.sparsity or ())
    return ceil(log1p(-highest) / log1p(-rate))


def problem_of_pair(recipe: Recipe, of: Recipe) -> str | None:
    """What makes no sense in a control, or a transfer, of that ticket."""
    if recipe.rescale and of.rewind.step != 0:
        return f"rescale corrects the scale of initial weights, and {of.name} doesn't start from them; leave it out"
    if recipe.transfer is not None:
        return None
    if recipe.control in _OTHER_MASK and (problem := _nothing_to_move(recipe, of)):
        return problem
    if recipe.control == "inverted":
        if of.kind != "one-shot":
            return f"inverted needs the scores of a one-shot mask; {of.name} has none"
        if of.scoring is not None and of.scoring.iterations > 1:
            return f"{of.criterion} scores and prunes in turn: there is no one score to invert"
    if recipe.control in ("fresh-weights", "permuted-weights") and of.is_dynamic:
        return f"{of.name} makes its mask as it trains: with another start, it would make another one; use random"
    if recipe.control in ("fresh-weights", "permuted-weights") and of.rewind.step != 0:
        return f"{recipe.control} replaces the initial weights, and {of.name} doesn't start from them"
    if recipe.control in ("random-erk", "shuffled", "first-layer") and of.structure == "units":
        return f"{recipe.control} moves single weights, and {of.name} prunes whole units; use random"
    return None


def _nothing_to_move(recipe: Recipe, of: Recipe) -> str | None:
    """Why a control with another mask than the ticket's would have the ticket's own."""
    layers = of.given_layers
    if layers is None:
        nothing = of.only_sparsity is not None and of.only_sparsity.actor == of.only_sparsity.critic == 0
    else:
        nothing = not any(layers.actor + layers.critic)
        if recipe.control == "shuffled" and any(layers.critic) and not any(layers.critic[:-1]):
            return f"{of.name} prunes the critics' last layer alone, which has one mask of those degrees; use random"
        for group, shares in (("actor", layers.actor), ("critic", layers.critic)):
            if recipe.control == "first-layer" and shares[0] and not any(shares[1:]):
                return f"{of.name} prunes nothing behind the {group}'s first layer, so there is nothing to shuffle"
    return f"{of.name} prunes nothing, so {recipe.control} would have its very mask" if nothing else None
