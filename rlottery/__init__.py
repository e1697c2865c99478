"""rlottery: lottery tickets in reinforcement-learning agents."""

__version__ = "0.1.0"
