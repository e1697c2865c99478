"""Spreading recipes out: one for each arm, with a name and one sparsity."""

from collections.abc import Mapping, Sequence

from rlottery.config.recipe_sense import problem_of_pair
from rlottery.config.recipes import Recipe, percent
from rlottery.config.yaml_lines import show


def spread(recipes: Sequence[Recipe]) -> list[Recipe]:
    """One recipe for each arm: lists of sparsities spread out, every arm named.

    A control of an arm with several sparsities becomes one for each.

    Raises:
        RecipeError: two arms of one name, or an `of` that names no ticket; says which recipe, and which key.
    """
    tickets: dict[str, list[Recipe]] = {}
    found: list[tuple[int, Recipe]] = []
    for index, recipe in enumerate(recipes):
        if recipe.kind in ("control", "transfer"):
            continue
        each = [recipe.model_copy(update={"sparsity": (one,)}) for one in recipe.sparsity or ()] or [recipe]
        named = [_named(one, recipe.name, len(each) > 1) for one in each]
        found += [(index, one) for one in named]
        tickets[recipe.name or named[0].name or ""] = named
        if len(named) > 1:
            tickets |= {one.name or "": [one] for one in named}
        elif recipe.name is None:
            tickets[named[0].name or ""] = named
    for index, recipe in enumerate(recipes):
        if recipe.kind not in ("control", "transfer"):
            continue
        if recipe.of is None:
            found.append((index, recipe.model_copy(update={"name": recipe.name or recipe.default_name()})))
            continue
        if recipe.of not in tickets:
            raise RecipeError(index, _no_ticket(recipe.of, recipes, tickets), "of")
        targets = tickets[recipe.of]
        for target in targets:
            if problem := problem_of_pair(recipe, target):
                raise RecipeError(index, problem)
            suffix = f"-{percent(target.only_sparsity)}" if len(targets) > 1 and target.only_sparsity else ""
            one = recipe.model_copy(update={"of": target.name})
            name = f"{recipe.name}{suffix}" if recipe.name else one.default_name()
            found.append((index, one.model_copy(update={"name": name})))
    found.sort(key=lambda pair: pair[0])
    _check_names(recipes, found)
    return [recipe for _, recipe in found]


class RecipeError(ValueError):
    """What is wrong with the recipe at `index`; `place` is its index, and the key to blame if it is one."""

    def __init__(self, index: int, problem: str, *key: str):
        super().__init__(problem)
        self.place: tuple[int | str, ...] = (index, *key)


def _named(recipe: Recipe, name: str | None, several: bool) -> Recipe:
    full = f"{name}-{percent(recipe.only_sparsity)}" if name and several else name or recipe.default_name()
    return recipe.model_copy(update={"name": full})


def _no_ticket(name: str, recipes: Sequence[Recipe], tickets: Mapping[str, object]) -> str:
    """Why no control can stand beside an arm of that name."""
    known = f"this study's are {', '.join(tickets)}" if tickets else "this study has none"
    for recipe in recipes:
        if recipe.kind in ("control", "transfer") and name == (recipe.name or recipe.default_name()):
            return f"must name a ticket, and {name} is a {recipe.kind}; {known}"
    return f"there is no ticket {show(name)}; {known}"


def _check_names(recipes: Sequence[Recipe], found: Sequence[tuple[int, Recipe]]) -> None:
    """Raises RecipeError if two arms have one name, be it given, made, or that of a list of sparsities."""
    said = [(index, recipe.name) for index, recipe in enumerate(recipes) if recipe.name]
    made = [(index, recipe.name) for index, recipe in found if recipe.name and recipe.name != recipes[index].name]
    names: dict[str, int] = {}
    for index, name in sorted([*said, *made], key=lambda pair: pair[0]):
        # Without regard to case: some file systems have none.
        other = names.setdefault(name.casefold(), -1)
        if other == index:
            raise RecipeError(index, f"two of its sparsities would both be called {name}; leave one of them out")
        if other >= 0:
            raise RecipeError(index, f"this arm and arms.{other} are both called {name}; give one of them another name")
        names[name.casefold()] = index
