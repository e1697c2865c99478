"""rlottery: lottery tickets in reinforcement-learning agents."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rlottery.version import __version__

if TYPE_CHECKING:
    from rlottery.analysis.data_frames import Study, load_study
    from rlottery.export.policy import Policy, load_agent

__all__ = ["Policy", "Study", "__version__", "load_agent", "load_study"]

_FROM = {
    "Policy": "rlottery.export.policy",
    "Study": "rlottery.analysis.data_frames",
    "load_agent": "rlottery.export.policy",
    "load_study": "rlottery.analysis.data_frames",
}
"""Where each name comes from. It is imported when it is asked for: the command line needs none of them, nor pandas."""


def __getattr__(name: str) -> Any:
    if name not in _FROM:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FROM[name]), name)
