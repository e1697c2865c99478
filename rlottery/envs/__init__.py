"""Tasks: environments that agents can learn, the names of their observations, and how they are rendered."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rlottery.envs.environment import EPISODE_LIMIT, Environment, Step, make
    from rlottery.envs.episode import EpisodeTotals
    from rlottery.envs.families import entry_names, is_metaworld, observation_names
    from rlottery.envs.open_environments import OpenEnvironments, make_closed
    from rlottery.envs.spaces import ActionBounds, DiscreteActions

__all__ = [
    "EPISODE_LIMIT",
    "ActionBounds",
    "DiscreteActions",
    "Environment",
    "EpisodeTotals",
    "OpenEnvironments",
    "Step",
    "entry_names",
    "is_metaworld",
    "make",
    "make_closed",
    "observation_names",
]

_MODULES = {
    "EPISODE_LIMIT": "environment",
    "ActionBounds": "spaces",
    "DiscreteActions": "spaces",
    "Environment": "environment",
    "EpisodeTotals": "episode",
    "OpenEnvironments": "open_environments",
    "Step": "environment",
    "entry_names": "families",
    "is_metaworld": "families",
    "make": "environment",
    "make_closed": "open_environments",
    "observation_names": "families",
}
"""The module of each name. It is imported on first use: commands that show a study need no Gymnasium."""


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
