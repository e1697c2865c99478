"""Expanding recipes: one for each arm, with a name and one sparsity."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from rlottery.config.recipes import (
    ControlRecipe,
    PrunedRecipe,
    Recipe,
    SparseTrainingRecipe,
    TicketRecipe,
    TransferRecipe,
    percent,
)
from rlottery.config.yaml_lines import show

if TYPE_CHECKING:
    from rlottery.pruning.controls import Ticket

_Ticket: TypeAlias = TicketRecipe | SparseTrainingRecipe
_Derived: TypeAlias = ControlRecipe | TransferRecipe


class _Target(NamedTuple):
    """An arm that others may be `of`.

    Attributes:
        made_by: the arm that makes its mask: itself, or the one that it is transferred from; None if a file has it.
        seen: what controls see as their ticket; None if a file has its mask, which is read when the study is planned.
        suffix: what its name has more than its entry, if the entry makes several arms.
    """

    name: str
    made_by: _Ticket | None
    seen: "Ticket | None"
    suffix: str


def spread(recipes: Sequence[Recipe]) -> list[Recipe]:
    """One recipe for each arm: lists of sparsities become an arm each, and every arm gets a name.

    A control or a transfer of an arm with several sparsities becomes one for each.

    Raises:
        RecipeError: two arms have the same name, or `of` names no ticket. The error knows which recipe and which key.
    """
    targets: dict[str, list[_Target]] = {}
    found: list[tuple[int, Recipe]] = []
    for index, recipe in enumerate(recipes):
        if not isinstance(recipe, _Ticket):
            continue
        each = [recipe.model_copy(update={"sparsity": (one,)}) for one in recipe.sparsity or ()] or [recipe]
        named = [_named(one, len(each) > 1) for one in each]
        found += [(index, one) for one in named]
        _add(targets, recipe, [_Target(one.name or "", one, one, f"-{percent(one.only_sparsity)}") for one in named])
    # Controls last: they may be of a transfer, which is of nothing but a ticket.
    for kind in (TransferRecipe, ControlRecipe):
        known = dict(targets)
        for index, recipe in enumerate(recipes):
            if not isinstance(recipe, kind):
                continue
            derived = _derived(index, recipe, known, recipes)
            found += [(index, one) for one, _ in derived]
            if isinstance(recipe, TransferRecipe):
                _add(targets, recipe, [_of_transfer(one, source) for one, source in derived])
    found.sort(key=lambda pair: pair[0])
    _check_names(recipes, found)
    return [recipe for _, recipe in found]


class RecipeError(ValueError):
    """What is wrong with the recipe at `index`; `place` is the index, followed by the key at fault if there is one."""

    def __init__(self, index: int, problem: str, *key: str):
        super().__init__(problem)
        self.place: tuple[int | str, ...] = (index, *key)


def _add(targets: dict[str, list[_Target]], recipe: Recipe, made: list[_Target]) -> None:
    """Let others be `of` the arms of an entry, by its name and by their own."""
    targets[recipe.name or made[0].name] = made
    if len(made) > 1:
        targets |= {one.name: [one] for one in made}


def _derived(
    index: int, recipe: _Derived, targets: Mapping[str, Sequence[_Target]], recipes: Sequence[Recipe]
) -> list[tuple[_Derived, _Target | None]]:
    """The controls or transfers that an entry makes, with the arm that each is `of`."""
    if recipe.of is None:
        return [(recipe.model_copy(update={"name": recipe.name or recipe.default_name()}), None)]
    if recipe.of not in targets:
        raise RecipeError(index, _no_ticket(recipe.of, recipes, targets), "of")
    found: list[tuple[_Derived, _Target | None]] = []
    several = len(targets[recipe.of]) > 1
    for target in targets[recipe.of]:
        if target.seen is not None and (problem := recipe.objection(target.seen)):
            raise RecipeError(index, problem)
        one = recipe.model_copy(update={"of": target.name})
        name = f"{recipe.name}{target.suffix * several}" if recipe.name else one.default_name()
        found.append((one.model_copy(update={"name": name}), target))
    return found


def _of_transfer(recipe: _Derived, of: _Target | None) -> _Target:
    assert isinstance(recipe, TransferRecipe)
    made_by = None if of is None else of.made_by
    seen = None if made_by is None else recipe.as_ticket(made_by)
    return _Target(recipe.name or "", made_by, seen, "" if of is None else of.suffix)


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
