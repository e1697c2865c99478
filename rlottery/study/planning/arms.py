"""The arms of a study: those that the config lists in `arms:`, or those that `pruning:` is shorthand for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rlottery.config import Config, Pruning
from rlottery.config.built_in import recipes_for
from rlottery.config.fields import Sparsity
from rlottery.config.recipe_keys import Transfer
from rlottery.config.recipes import (
    ROUND,
    ControlRecipe,
    PrunedRecipe,
    Recipe,
    TicketRecipe,
    TransferRecipe,
)
from rlottery.config.schedules import Iterative
from rlottery.errors import MaskError, RlotteryError, or_closest
from rlottery.pruning.controls import Control
from rlottery.pruning.criteria import Criterion
from rlottery.pruning.prune import Twins
from rlottery.pruning.schedule_math import round_sparsities
from rlottery.storage.study_record import twins_of

_SPREAD = re.compile(r"-(\d[\d.]*|a\d[\d.]*-c\d[\d.]*)")
_ONE_OF_SEVERAL = re.compile(f"(.+){_SPREAD.pattern}")


@dataclass(frozen=True)
class Arm:
    """A ticket, sparse training, a control or a transferred mask: a recipe with the arms that it refers to.

    Attributes:
        name: unique in the study; the name of its folder.
        recipe: with one sparsity at most.
        of: the arm that this one is a control of, or whose mask it takes.
        method: "magnitude" or "gradient" for a ticket of the two built-in methods and its controls: names the file that
            the mask is published as.
        scored: the arm whose trained agent the criterion scores: the previous round, or None for the dense agent.
        twins: whether each twin critic has a budget of its own under `allocation: global`, as its study has it.
    """

    name: str
    recipe: Recipe
    of: "Arm | None" = None
    method: str | None = None
    scored: "Arm | None" = None
    twins: Twins = "separate"

    @property
    def kind(self) -> str:
        """The control's name, "transfer", or the schedule."""
        return self.recipe.control if isinstance(self.recipe, ControlRecipe) else self.recipe.kind

    @property
    def control(self) -> Control | None:
        """What kind of control it is, if it is one."""
        return self.recipe.about if isinstance(self.recipe, ControlRecipe) else None

    @property
    def transfer(self) -> Transfer | None:
        """Where its mask comes from, if it is transferred."""
        return self.recipe.transfer if isinstance(self.recipe, TransferRecipe) else None

    @property
    def has_mask(self) -> bool:
        """Whether its networks are sparse."""
        return self.control is None or self.control.has_mask

    @property
    def has_small_network(self) -> bool:
        """Whether its networks are dense and smaller than the config's."""
        return self.control is not None and self.control.network == "small"

    @property
    def scoring(self) -> "Arm":
        """The arm whose recipe says how to score: a control that ranks scores uses its ticket's."""
        ranks = self.control is not None and self.control.rank_mask is not None
        return self.of if ranks and self.of is not None else self

    @property
    def scores_by(self) -> TicketRecipe | None:
        """The recipe that says how to score the weights, if a criterion scores them."""
        recipe = self.scoring.recipe
        return recipe if isinstance(recipe, TicketRecipe) else None

    @property
    def criterion(self) -> Criterion | None:
        """What scores the weights, if a criterion does. An own function must have been imported before."""
        recipe = self.scores_by
        if recipe is None or recipe.criterion is None:
            return None
        if recipe.scoring is None:
            raise MaskError(
                f"The criterion {recipe.criterion!r} has not been imported, so it is not known what it reads. Reading "
                "a study imports nothing; running it does: rlottery run CONFIG"
            )
        return recipe.scoring

    @property
    def criterion_name(self) -> str | None:
        """The criterion as its own recipe names it."""
        return self.recipe.criterion if isinstance(self.recipe, PrunedRecipe) else None

    @property
    def sparsity(self) -> dict[str, float] | None:
        """Pruned share by group as its own recipe asks for it; None if given for layers, or by another arm."""
        asked = self.recipe.only_sparsity
        return None if asked is None else asked.by_group

    @property
    def ranks_globally(self) -> bool:
        """Whether its mask comes from one ranking over several layers (`allocation: global`)."""
        recipe = self.recipe
        return isinstance(recipe, PrunedRecipe) and _ranks_globally(recipe)

    @property
    def stages(self) -> tuple[str, ...]:
        """The stages of its run."""
        return ("mask", "ticket") if self.has_mask and not self.recipe.is_dynamic else ("ticket",)

    @property
    def needs_replay(self) -> bool:
        """Whether its mask needs the dense agent's replay."""
        return self.criterion is not None and self.criterion.needs_data

    @property
    def root(self) -> "Arm":
        """The arm at the end of `of`: the ticket of a control, the one whose mask is transferred; or itself."""
        return self if self.of is None else self.of.root

    @property
    def rewind_step(self) -> int | None:
        """The step of the dense run that the weights are rewound to, 0 for its start; None if they stay trained."""
        # Without the ticket's mask, an arm starts from fresh weights or from the dense run's first.
        return self.root.recipe.rewind_step if self.has_mask else 0

    @property
    def rescale(self) -> bool:
        """Whether the surviving weights are scaled up to make up for the pruned ones."""
        if self.of is None or "rescale" in self.recipe.model_fields_set:
            return self.recipe.rescale
        return self.has_mask and self.of.rescale

    def as_dict(self) -> dict[str, Any]:
        """The recipe without name, criterion, sparsity and defaults, in plain types. Fingerprints hold parts of it."""
        return dict(self._own_keys)

    @cached_property
    def _own_keys(self) -> dict[str, Any]:
        recipe = self.recipe
        kept = {
            key: value
            for key, value in recipe.model_dump(mode="json").items()
            if key not in ("name", "criterion", "sparsity", "of")
            and getattr(recipe, key) != type(recipe).model_fields[key].default
        }
        if isinstance(recipe, PrunedRecipe) and kept.get("allocation") == recipe.schedule.chosen.default_rule:
            del kept["allocation"]  # the default, written out: equal recipes have equal fingerprints
        if self.criterion is not None and ":" in (self.criterion_name or ""):
            kept["source"] = self.criterion.source_digest
        if self.of is not None:
            criterion = self.of.criterion_name if self.of.transfer is None else self.of.kind
            kept["of"] = self.of.as_dict() | {"criterion": criterion, "sparsity": self.of.sparsity}
        return kept


def arms_of(config: Config, method: str | None) -> list[Arm]:
    """The arms of a study, each after the arms that it needs.

    Reads from the data folder whether twin critics share a budget (`storage.study_record.twins_of`).

    Args:
        method: "magnitude" or "gradient", for the `pruning:` section. None means magnitude, or all arms of a config
            that lists them; such a config takes no method.
    """
    if not config.arms:
        return built_in_arms("magnitude" if method is None else method, config.pruning, twins_of(config.data))
    if method is not None:
        raise RlotteryError(
            f"The config lists its own arms, and the pruning method {method!r} chooses between the two that `pruning:` "
            "is shorthand for. Leave the method out: `rlottery run`, or main(pruning_method=None)."
        )
    resolved: dict[str, list[Arm]] = {}
    recipes = {recipe.name or "": recipe for recipe in config.recipes}
    ranked = any(isinstance(recipe, PrunedRecipe) and _ranks_globally(recipe) for recipe in recipes.values())
    twins: Twins = twins_of(config.data) if ranked else "separate"
    # Tickets first, then the transfers of their masks, then controls, which may be of either.
    kinds = (ControlRecipe, TransferRecipe)
    for name, recipe in sorted(recipes.items(), key=lambda item: [isinstance(item[1], kind) for kind in kinds]):
        if isinstance(recipe, PrunedRecipe):
            resolved[name] = _with_rounds(Arm(name, recipe, twins=twins))
        else:
            resolved[name] = [Arm(name, recipe, resolved[recipe.of][-1] if recipe.of else None)]
    return [arm for arms in resolved.values() for arm in arms]


def chosen_arms(arms: Sequence[Arm], names: Sequence[str]) -> list[Arm]:
    """The arms with these names, and every arm that they need. Raises RlotteryError if one of them doesn't exist."""
    if not names:
        raise RlotteryError("No arm was chosen. Name at least one, or leave --arms out to run all of them.")
    known = {arm.name: arm for arm in arms}
    wanted: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if arm := known.get(name):
            wanted.add(name)
            open_names += [needed.name for needed in (arm.scored, arm.of) if needed is not None]
        # The name of a list of sparsities means all of its arms.
        elif several := [k for k in known if k.startswith(name) and _SPREAD.fullmatch(k[len(name) :])]:
            open_names += several
        else:
            listed = [known_name for known_name in known if ROUND not in known_name]
            common = [match[1] for match in map(_ONE_OF_SEVERAL.fullmatch, listed) if match]
            hint = or_closest(name, [*listed, *common]) or f". Its arms are: {', '.join(listed)}."
            raise RlotteryError(f"There is no arm {name!r} in this config{hint}")
    return [arm for arm in arms if arm.name in wanted]


def built_in_arms(method: str, pruning: Pruning, twins: Twins = "separate") -> list[Arm]:
    """The ticket of a method, as the config's `pruning:` section describes it, then its controls."""
    recipe, *controls = recipes_for(method, pruning)
    ticket = Arm(recipe.name or "", recipe, method=method, twins=twins)
    return [ticket, *(_control(one, ticket, method) for one in controls)]


def _control(recipe: Recipe, ticket: Arm, method: str) -> Arm:
    assert isinstance(recipe, ControlRecipe)
    # One that is of no ticket, such as dense-again, belongs to both methods.
    return Arm(recipe.name or "", recipe, ticket, method) if recipe.of else Arm(recipe.name or "", recipe)


def comparable_method(arm: Arm) -> str | None:
    """The built-in method ("magnitude" or "gradient") that would make the same ticket; None if neither would."""
    if not isinstance(arm.recipe, TicketRecipe):
        return None
    if arm.method is not None:
        return arm.method
    if arm.as_dict().keys() - {"batches", "batch_size"}:
        return None
    return {"magnitude": "magnitude", "taylor": "gradient", "gradient": "gradient"}.get(arm.criterion_name or "")


def _ranks_globally(recipe: PrunedRecipe) -> bool:
    return recipe.allocation.layers is None and recipe.rule == "global"


def _with_rounds(arm: Arm) -> list[Arm]:
    """The rounds of iterative pruning, each scoring the agent that the round before trained; other arms alone."""
    recipe = arm.recipe
    if not isinstance(recipe, TicketRecipe) or not isinstance(recipe.schedule.chosen, Iterative):
        return [arm]
    assert arm.sparsity is not None
    *before, _ = round_sparsities(arm.sparsity, recipe.schedule.chosen.rate)
    rounds: list[Arm] = []
    for number, sparsity in enumerate(before, start=1):
        of_round = recipe.model_copy(update={"sparsity": (Sparsity(**sparsity),)})
        before_it = rounds[-1] if rounds else None
        rounds.append(Arm(f"{arm.name}{ROUND}{number}", of_round, scored=before_it, twins=arm.twins))
    return [*rounds, replace(arm, scored=rounds[-1] if rounds else None)]
