"""Stands in for `rlottery.processes.children.call_in_child`: calls the function in this process, which takes no start.

Tests register environments in their own process, and patch what it does.
"""

import importlib
import json
from collections.abc import Mapping
from typing import Any

from rlottery.errors import RlotteryError, error_text
from rlottery.processes.children import ChildError


def call_here(function: str, *arguments: Any, seconds: float, environment: Mapping[str, str] | None = None) -> Any:
    module, _, name = function.partition(":")
    try:
        answer = getattr(importlib.import_module(module), name)(*json.loads(json.dumps(arguments)))
    except RlotteryError:
        raise
    except Exception as error:
        raise ChildError(error_text(error)) from None
    return json.loads(json.dumps(answer))
