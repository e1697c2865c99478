"""Stable-Baselines3's SAC, timed by serve.py."""

import torch
from baselines import BaselinesPeer
from drawer_close import DrawerClose, Transitions
from stable_baselines3 import SAC

torch.set_num_threads(1)


class Peer(BaselinesPeer):
    def __init__(self, environment: DrawerClose, transitions: Transitions):
        super().__init__(SAC, environment, transitions)
