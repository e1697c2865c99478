"""Arms: one recipe each, resolved. Those of the config's `arms:`, or the two that `pruning:` is shorthand for."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from rlottery.config import Config, Pruning, Task
from rlottery.config.fields import Sparsity
from rlottery.config.recipes import ROUND, Recipe, percent
from rlottery.errors import RlotteryError
from rlottery.pruning.criteria import Criterion
from rlottery.pruning.schedules import round_sparsities

METHODS = ("magnitude", "gradient")
_SPREAD = re.compile(r"-(\d[\d.]*|a\d[\d.]*-c\d[\d.]*)")
_GUIDE = Pruning()
_WITHOUT_MASK = ("small-dense", "dense-again")


@dataclass(frozen=True)
class Arm:
    """A kind of ticket, or a control.

    Attributes:
        name: its folder's name: what tells it from other arms, readable.
        recipe: of one sparsity at most.
        of: the arm that this one is a control of, or whose mask it takes.
        method: "magnitude" or "gradient" for the guide's two: it names the file that the mask is published under.
        scored: the arm whose trained agent the criterion scores: the round before, or None for the dense agent.
    """

    name: str
    recipe: Recipe
    of: "Arm | None" = None
    method: str | None = None
    scored: "Arm | None" = None

    @property
    def scoring(self) -> "Arm":
        """The arm whose recipe says how to score: an inverted control scores as its ticket does."""
        return self.of if self.kind == "inverted" and self.of is not None else self

    @property
    def criterion(self) -> Criterion | None:
        """What scores the weights, where something does."""
        recipe = self.scoring.recipe
        return recipe.scoring if recipe.kind in ("one-shot", "iterative") else None

    @property
    def kind(self) -> str:
        """The control's name, "transfer", or the ticket's schedule."""
        return self.recipe.control or self.recipe.kind

    @property
    def sparsity(self) -> dict[str, float] | None:
        """Pruned share asked for, by group; None where the recipe leaves it to layers or to another arm."""
        asked = self.recipe.only_sparsity
        return None if asked is None else {"actor": asked.actor, "critic": asked.critic}

    @property
    def is_dynamic(self) -> bool:
        """Whether the mask is made while the ticket trains."""
        return self.recipe.is_dynamic

    @property
    def stages(self) -> tuple[str, ...]:
        """What there is to do for it."""
        return ("ticket",) if self.is_dynamic or self.kind in _WITHOUT_MASK else ("mask", "ticket")

    @property
    def needs_replay(self) -> bool:
        """Whether its mask reads the dense agent's replay."""
        return self.criterion is not None and self.criterion.needs_data

    @property
    def rewind_step(self) -> int | None:
        """The step of the dense run that the weights go back to, 0 its start; None where they stay as trained."""
        # A network without the ticket's mask has fresh weights, or the dense run's first.
        return 0 if self.kind in _WITHOUT_MASK else (self.of or self).recipe.rewind.step

    @property
    def rescale(self) -> bool:
        """Whether the surviving weights are scaled up for those that are gone."""
        if self.of is None or "rescale" in self.recipe.model_fields_set:
            return self.recipe.rescale
        return self.kind not in _WITHOUT_MASK and self.of.rescale

    def env_steps(self, config: Config, task: Task) -> int:
        """Environment steps of its training: the dense run's, less those that rewinding gives back."""
        return config.training_for(task).env_steps - (self.rewind_step or 0)

    def told(self) -> dict[str, Any]:
        """What the recipe says beyond criterion and sparsity, as plain values; its name is not part of it."""
        plain = self.recipe.model_dump(mode="json")
        defaults = {name: field.default for name, field in Recipe.model_fields.items()}
        kept = {
            key: value
            for key, value in plain.items()
            if key not in ("name", "criterion", "sparsity", "of") and getattr(self.recipe, key) != defaults[key]
        }
        if kept.get("allocation") == self.recipe.default_rule:
            del kept["allocation"]  # what it is where none is given, so that equal recipes are told alike
        if self.criterion is not None and ":" in (self.recipe.criterion or ""):
            kept["source"] = self.criterion.source_digest
        if self.of is not None:
            kept["of"] = self.of.told() | {"criterion": self.of.recipe.criterion, "sparsity": self.of.sparsity}
        return kept


def arms_of(config: Config, method: str | None) -> list[Arm]:
    """The arms of a study, each after those that it needs.

    Args:
        method: "magnitude" or "gradient", of the `pruning:` section; None is magnitude, and all arms of a config
            that lists its own.

    Raises:
        RlotteryError: there is no such method, or the config lists its own arms and a method is given.
    """
    if not config.arms:
        return [arm_for("magnitude" if method is None else method, config.pruning)]
    if method is not None:
        raise RlotteryError(
            f"The config lists its own arms, and pruning method {method!r} chooses between the two that `pruning:` "
            "is shorthand for. Leave the method out: `rlottery run`, or main(pruning_method=None)."
        )
    resolved: dict[str, list[Arm]] = {}
    recipes = {recipe.name or "": recipe for recipe in config.recipes}
    # Tickets first, then what stands beside them.
    for name, recipe in sorted(recipes.items(), key=lambda item: item[1].kind in ("control", "transfer")):
        arm = Arm(name, recipe, resolved[recipe.of][-1] if recipe.of else None)
        resolved[name] = [*_rounds(arm), arm] if recipe.kind == "iterative" else [arm]
        if recipe.kind == "iterative" and len(resolved[name]) > 1:
            resolved[name][-1] = replace(arm, scored=resolved[name][-2])
    return [arm for arms in resolved.values() for arm in arms]


def chosen_arms(arms: Sequence[Arm], names: Sequence[str]) -> list[Arm]:
    """Those of these names, with every arm that they need.

    Raises:
        RlotteryError: there is no such arm, or none is named.
    """
    if not names:
        raise RlotteryError("No arm was asked for: name some, or leave --arms out for all of them.")
    known = {arm.name: arm for arm in arms}
    wanted: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        # The name of a list of sparsities stands for all that came of it.
        if name not in known and (
            several := [k for k in known if k.startswith(name) and _SPREAD.fullmatch(k[len(name) :])]
        ):
            open_names += several
            continue
        if name not in known:
            listed = ", ".join(known_name for known_name in known if ROUND not in known_name)
            raise RlotteryError(f"There is no arm {name!r} in this config; its arms are: {listed}.")
        if name not in wanted:
            wanted.add(name)
            arm = known[name]
            open_names += [needed.name for needed in (arm.scored, arm.of) if needed is not None]
    return [arm for arm in arms if arm.name in wanted]


def arm_for(method: str, pruning: Pruning) -> Arm:
    """The arm that a pruning method and the config's `pruning:` section name.

    Raises:
        RlotteryError: there is no such method.
    """
    if method not in METHODS:
        raise RlotteryError(f"Unknown pruning method {method!r}; choose one of: {', '.join(METHODS)}.")
    criterion: str = "magnitude" if method == "magnitude" else pruning.gradient_method
    name: str = "gradient-magnitude" if method == "gradient" and criterion == "magnitude" else criterion
    name += f"-{percent(pruning.sparsity)}"
    recipe: dict[str, Any] = {"criterion": criterion, "sparsity": pruning.sparsity}
    batches = (pruning.num_gradient_batches, pruning.gradient_batch_size)
    if criterion != "magnitude" and batches != (_GUIDE.num_gradient_batches, _GUIDE.gradient_batch_size):
        name += f"-{batches[0]}x{batches[1]}"
        recipe |= {"batches": batches[0], "batch_size": batches[1]}
    return Arm(name, Recipe.model_validate(recipe), method=method)


def comparable_method(arm: Arm) -> str | None:
    """ "magnitude" or "gradient" for a ticket that the guide's method of that name would make; else None."""
    if arm.method is not None:
        return arm.method
    recipe = arm.recipe
    if recipe.kind != "one-shot" or arm.told().keys() - {"batches", "batch_size"}:
        return None
    return {"magnitude": "magnitude", "taylor": "gradient", "gradient": "gradient"}.get(recipe.criterion or "")


def _rounds(arm: Arm) -> list[Arm]:
    """The rounds before the last one of iterative pruning, each scoring what the one before trained."""
    assert arm.sparsity is not None and arm.recipe.schedule.iterative is not None
    *before, _ = round_sparsities(arm.sparsity, arm.recipe.schedule.iterative.rate)
    rounds: list[Arm] = []
    for number, sparsity in enumerate(before, start=1):
        recipe = arm.recipe.model_copy(update={"sparsity": (Sparsity(**sparsity),)})
        scored = rounds[-1] if rounds else None
        rounds.append(Arm(f"{arm.name}{ROUND}{number}", recipe, scored=scored))
    return rounds
