"""Functions of the user by their import path, with helpful messages if they can't be imported."""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from rlottery.errors import MaskError, closest, error_text
from rlottery.processes.user_code import isolated


def check_import_path(name: str) -> None:
    """Raise MaskError if an import path names a file. Nothing is imported."""
    module_name, _, attribute = name.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        path = f"{module_name.removesuffix('.py').strip('./').replace('/', '.')}:{attribute}"
        raise MaskError(f"The criterion {name!r} names a file. Give the import path of its module: {path}")


def import_function(name: str) -> Callable[..., Any]:
    """The function at an import path such as ``my_module:my_score``.

    Raises:
        MaskError: the module is missing or fails, or has no such function.
    """
    check_import_path(name)
    module_name, _, attribute = name.partition(":")
    try:
        with contextlib.chdir("."), isolated("it", MaskError):
            module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise MaskError(
                f"There is no module {error.name!r} for the criterion {name!r}. It must be in the current folder "
                f"({Path.cwd()}), next to the config file, or installed."
            ) from None
        raise MaskError(
            f"The module {module_name!r} of the criterion {name!r} can't be imported: "
            f"{error_text(error).removesuffix('.')}. "
            f'Fix it until this works: python -c "import {module_name}"'
        ) from None
    function = getattr(module, attribute, None)
    if not callable(function):
        what = f"is {type(function).__name__}, not a function," if hasattr(module, attribute) else "doesn't exist"
        functions = [each for each, value in vars(module).items() if inspect.isfunction(value)]
        raise MaskError(
            f"The criterion {name!r} can't be used: {attribute!r} {what} in {module_name!r}."
            f"{did_you_mean(attribute, functions)}"
        )
    return cast(Callable[..., Any], function)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A space and a question with the closest known name; empty if none is close."""
    meant = closest(name, known)
    return "" if meant is None else f" Did you mean {meant!r}?"
