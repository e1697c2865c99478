"""A user's own function by its import path, and what to say where there is none."""

import difflib
import importlib
import inspect
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, cast

from rlottery.errors import MaskError


def import_function(name: str) -> Callable[..., Any]:
    """The function at an import path such as ``my_module:my_score``.

    Raises:
        MaskError: the module is missing or fails, or has no such function.
    """
    module_name, _, attribute = name.partition(":")
    if module_name.endswith(".py") or "/" in module_name:
        mend = f"{module_name.removesuffix('.py').strip('./').replace('/', '.')}:{attribute}"
        raise MaskError(f"The criterion {name!r} names a file. Write its module's import path: {mend}")
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise MaskError(
                f"There is no module {error.name!r}, where the criterion {name!r} should be. It is looked for in the "
                f"current folder ({Path.cwd()}) and where Python finds its packages."
            ) from None
        raise MaskError(
            f"The module {module_name!r} of the criterion {name!r} can't be imported: {told(error)}. "
            f'Mend it until this works: python -c "import {module_name}"'
        ) from None
    function = getattr(module, attribute, None)
    if not callable(function):
        what = f"is of type {type(function).__name__}, no function" if hasattr(module, attribute) else "isn't there"
        functions = [each for each, value in vars(module).items() if inspect.isfunction(value)]
        raise MaskError(
            f"The criterion {name!r} can't be used: {attribute!r} {what} in {module_name!r}."
            f"{did_you_mean(attribute, functions)}"
        )
    return cast(Callable[..., Any], function)


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the closest of the known names, after a space; nothing where none is close."""
    close = difflib.get_close_matches(name, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def told(error: BaseException) -> str:
    """An error of code that isn't ours, in a line."""
    return f"{type(error).__name__}: {error}"
