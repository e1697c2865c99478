"""SBX's SAC, timed by serve.py. Its replay buffer is Stable-Baselines3's and needs PyTorch."""

import torch
from baselines import BaselinesPeer
from drawer_close import DrawerClose, Transitions
from sbx import SAC

torch.set_num_threads(1)


class Peer(BaselinesPeer):
    def __init__(self, environment: DrawerClose, transitions: Transitions):
        super().__init__(SAC, environment, transitions)
