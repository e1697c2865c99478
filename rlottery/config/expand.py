"""Expanding recipes: one for each arm, with a name and one sparsity."""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from rlottery.config.recipes import PrunedRecipe, Recipe, SparseTrainingRecipe, TicketRecipe, percent
from rlottery.config.yaml_lines import show

_Ticket: TypeAlias = TicketRecipe | SparseTrainingRecipe


def spread(recipes: Sequence[Recipe]) -> list[Recipe]:
    """One recipe for each arm: lists of sparsities become an arm each, and every arm gets a name.

    A control of an arm with several sparsities becomes one control for each.

    Raises:
        RecipeError: two arms have the same name, or `of` names no ticket. The error knows which recipe and which key.
    """
    tickets: dict[str, list[_Ticket]] = {}
    found: list[tuple[int, Recipe]] = []
    for index, recipe in enumerate(recipes):
        if not isinstance(recipe, _Ticket):
            continue
        each = [recipe.model_copy(update={"sparsity": (one,)}) for one in recipe.sparsity or ()] or [recipe]
        named = [_named(one, len(each) > 1) for one in each]
        found += [(index, one) for one in named]
        tickets[recipe.name or named[0].name or ""] = named
        if len(named) > 1:
            tickets |= {one.name or "": [one] for one in named}
    for index, recipe in enumerate(recipes):
        if isinstance(recipe, _Ticket):
            continue
        if recipe.of is None:
            found.append((index, recipe.model_copy(update={"name": recipe.name or recipe.default_name()})))
            continue
        if recipe.of not in tickets:
            raise RecipeError(index, _no_ticket(recipe.of, recipes, tickets), "of")
        targets = tickets[recipe.of]
        for target in targets:
            if problem := recipe.objection(target):
                raise RecipeError(index, problem)
            suffix = f"-{percent(target.only_sparsity)}" if len(targets) > 1 and target.only_sparsity else ""
            one = recipe.model_copy(update={"of": target.name})
            name = f"{recipe.name}{suffix}" if recipe.name else one.default_name()
            found.append((index, one.model_copy(update={"name": name})))
    found.sort(key=lambda pair: pair[0])
    _check_names(recipes, found)
    return [recipe for _, recipe in found]


class RecipeError(ValueError):
    """What is wrong with the recipe at `index`; `place` is the index, followed by the key at fault if there is one."""

    def __init__(self, index: int, problem: str, *key: str):
        super().__init__(problem)
        self.place: tuple[int | str, ...] = (index, *key)


def _named(recipe: _Ticket, several: bool) -> _Ticket:
    full = f"{recipe.name}-{percent(recipe.only_sparsity)}" if recipe.name and several else recipe.name
    return recipe.model_copy(update={"name": full or recipe.default_name()})


def _no_ticket(name: str, recipes: Sequence[Recipe], tickets: Mapping[str, object]) -> str:
    """Why no arm of that name can have a control."""
    known = f"this study's tickets are {', '.join(tickets)}" if tickets else "this study has none"
    for recipe in recipes:
        if not isinstance(recipe, PrunedRecipe) and name == (recipe.name or recipe.default_name()):
            return f"must name a ticket, but {name} is a {recipe.kind}; {known}"
    return f"there is no ticket {show(name)}; {known}"


def _check_names(recipes: Sequence[Recipe], found: Sequence[tuple[int, Recipe]]) -> None:
    """Raises RecipeError if two arms have the same name, whether given, made, or made from a list of sparsities."""
    given = [(index, recipe.name) for index, recipe in enumerate(recipes) if recipe.name]
    made = [(index, recipe.name) for index, recipe in found if recipe.name and recipe.name != recipes[index].name]
    names: dict[str, int] = {}
    for index, name in sorted([*given, *made], key=lambda pair: pair[0]):
        # Case doesn't count: some file systems ignore it.
        other = names.setdefault(name.casefold(), -1)
        if other == index:
            raise RecipeError(index, f"two of its sparsities would both be named {name}; leave one of them out")
        if other >= 0:
            raise RecipeError(index, f"this arm and arms.{other} are both named {name}; rename one of them")
        names[name.casefold()] = index
