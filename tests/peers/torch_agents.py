"""Saves networks in PyTorch with the layers of CleanRL's scripts, and the actions that they take.

    python torch_agents.py FOLDER

Each FOLDER/NAME.cleanrl_model is what such a script saves, and NAME.npz has random observations (1000, obs) and the
actions, or the values that discrete ones are chosen by. `checkpoint.pth` is a state_dict within other things,
`half.pth` has weights in bfloat16, and `module.pth` and `old.pth` can't be read.
"""

import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

OBSERVATIONS, ACTIONS, SCALE, MIDDLE = 3, 1, 2.0, 0.0


class Actor(nn.Module):
    def __init__(self, *heads: str) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(OBSERVATIONS, 8), nn.Linear(8, 6)
        for head in heads:
            setattr(self, head, nn.Linear(6, ACTIONS))
        self.register_buffer("action_scale", torch.full((1, ACTIONS), SCALE))
        self.register_buffer("action_bias", torch.full((1, ACTIONS), MIDDLE))
        self.first = heads[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.relu(self.fc2(torch.relu(self.fc1(x))))
        return torch.tanh(getattr(self, self.first)(hidden)) * self.action_scale + self.action_bias


class Critic(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2, self.fc3 = nn.Linear(OBSERVATIONS + ACTIONS, 8), nn.Linear(8, 6), nn.Linear(6, 1)


class Values(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 6), nn.ReLU(), nn.Linear(6, 2))


def tanh_layers(inputs: int, outputs: int) -> nn.Sequential:
    layers = nn.Linear(inputs, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh()
    return nn.Sequential(*layers, nn.Linear(8, outputs))


class Tanh(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.critic, self.actor = tanh_layers(4, 1), tanh_layers(4, 2)


class TanhContinuous(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.critic, self.actor_mean = tanh_layers(OBSERVATIONS, 1), tanh_layers(OBSERVATIONS, ACTIONS)
        self.actor_logstd = nn.Parameter(torch.zeros(1, ACTIONS))


def main(folder: Path) -> None:
    torch.manual_seed(0)
    td3, sac, critics, values = Actor("fc_mu"), Actor("fc_mean", "fc_logstd"), (Critic(), Critic()), Values()
    states = [critic.state_dict() for critic in critics]
    torch.save((td3.state_dict(), *states), folder / "td3.cleanrl_model")
    torch.save((sac.state_dict(), *states), folder / "sac.cleanrl_model")
    torch.save(values.state_dict(), folder / "dqn.cleanrl_model")
    save_actions(folder / "dqn.npz", values.network, 4)
    discrete, continuous = Tanh(), TanhContinuous()
    torch.save(discrete.state_dict(), folder / "ppo.cleanrl_model")
    torch.save(continuous.state_dict(), folder / "ppo_continuous.cleanrl_model")
    save_actions(folder / "ppo.npz", discrete.actor, 4)
    save_actions(folder / "ppo_continuous.npz", continuous.actor_mean, OBSERVATIONS)
    torch.save(Tanh(), folder / "module.pth")
    optimizer = torch.optim.Adam(values.parameters())
    values.network(torch.zeros(1, 4)).sum().backward()
    optimizer.step()
    checkpoint = {"epoch": 3, "model": values.state_dict(), "optimizer": optimizer.state_dict(), "loss": np.float64(1)}
    torch.save(checkpoint, folder / "checkpoint.pth")
    torch.save(values.to(torch.bfloat16).state_dict(), folder / "half.pth")
    torch.save(values.state_dict(), folder / "old.pth", _use_new_zipfile_serialization=False)
    values = values.to(torch.float32)
    save_actions(folder / "td3.npz", td3, OBSERVATIONS)
    save_actions(folder / "sac.npz", sac, OBSERVATIONS)
    save_actions(folder / "half.npz", values.network, 4)
    save_actions(folder / "checkpoint.npz", saved(folder / "checkpoint.pth"), 4)


def save_actions(file: Path, acts: nn.Module, size: int) -> None:
    observations = np.random.default_rng(0).normal(size=(1_000, size)).astype(np.float32)
    with torch.no_grad():
        np.savez(file, observations=observations, actions=acts(torch.as_tensor(observations)))


def saved(checkpoint: Path) -> nn.Module:
    values = Values()
    values.load_state_dict(torch.load(checkpoint, weights_only=False)["model"])
    return values.network


if __name__ == "__main__":
    main(Path(sys.argv[1]))
