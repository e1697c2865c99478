"""Tasks: environments that agents can learn, the names of their observations, and how they are rendered."""

from rlottery.envs.environment import EPISODE_LIMIT, Environment, Step, make
from rlottery.envs.families import is_metaworld, observation_names

__all__ = ["EPISODE_LIMIT", "Environment", "Step", "is_metaworld", "make", "observation_names"]
