"""The arms that `pruning:` is shorthand for: the ticket of one of the two built-in methods, and its controls."""

from typing import Any

from rlottery.config.expand import spread
from rlottery.config.recipes import Recipe, TicketRecipe, named_control
from rlottery.config.sections import Pruning
from rlottery.errors import RlotteryError, or_closest

METHODS = ("magnitude", "gradient")
"""The two built-in methods, which `pruning:` and `--pruning-method` choose from."""
_DEFAULTS = Pruning()


def check_method(method: str | None) -> None:
    """Raise RlotteryError if there is no such method. None means that none was asked for."""
    if method not in (None, *METHODS):
        hint = or_closest(str(method), METHODS) or f"; choose one of: {', '.join(METHODS)}."
        raise RlotteryError(f"Unknown pruning method {method!r}{hint}")


def recipes_for(method: str, pruning: Pruning) -> list[Recipe]:
    """The ticket of a method, then its controls, each with a name.

    Raises:
        RlotteryError: there is no such method.
        RecipeError: a control makes no sense with the ticket. The places of controls begin at 1.
    """
    ticket = _ticket(method, pruning)
    return spread([ticket, *(named_control(control, ticket.name) for control in pruning.controls)])


def _ticket(method: str, pruning: Pruning) -> TicketRecipe:
    check_method(method)
    criterion = "magnitude" if method == "magnitude" else pruning.gradient_method
    keys: dict[str, Any] = {"criterion": criterion, "sparsity": pruning.sparsity}
    batches = (pruning.num_gradient_batches, pruning.gradient_batch_size)
    if criterion != "magnitude" and batches != (_DEFAULTS.num_gradient_batches, _DEFAULTS.gradient_batch_size):
        keys |= {"batches": batches[0], "batch_size": batches[1]}
    if pruning.allocation != _DEFAULTS.allocation:
        keys["allocation"] = pruning.allocation
    if pruning.reclaim:
        keys["reclaim"] = True
    recipe = TicketRecipe.model_validate(keys)
    # Another arm than the ticket of the method magnitude, though it has the same mask.
    prefix = "gradient-" if (method, criterion) == ("gradient", "magnitude") else ""
    return recipe.model_copy(update={"name": prefix + recipe.default_name()})
