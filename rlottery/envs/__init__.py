"""Tasks: environments that an agent can learn, what their observations are called, and how they are drawn."""

from rlottery.envs.environment import EPISODE_LIMIT, Environment, Step, is_metaworld, make

__all__ = ["EPISODE_LIMIT", "Environment", "Step", "is_metaworld", "make"]
