"""Tasks: environments that agents can learn, the names of their observations, and how they are rendered."""

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
