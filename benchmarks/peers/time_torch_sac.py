"""SAC in one file of eager PyTorch, in the style of CleanRL, timed by serve.py.

Haarnoja et al. 2018 (arXiv:1812.05905) with twin critics and an automatic temperature. As in CleanRL, the actor's loss
also computes the gradients of the critics' weights, which nothing reads.
"""

import numpy as np
import torch
from drawer_close import ACTION_SIZE, LEARNING_STARTS, OBSERVATION_SIZE, REPLAY_SIZE, DrawerClose, Transitions
from torch import Tensor, nn
from torch.nn import functional

BATCH_SIZE = 256
GAMMA = 0.99
TAU = 0.005
LEARNING_RATE = 3e-4
LOG_STD_MIN, LOG_STD_MAX = -20.0, 2.0

torch.set_num_threads(1)


def network(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, 256), nn.ReLU(), nn.Linear(256, 256), nn.ReLU(), nn.Linear(256, outputs))


class Actor(nn.Module):
    """A tanh-Gaussian policy."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network(OBSERVATION_SIZE, 2 * ACTION_SIZE)

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Actions (batch, act) in (-1, 1) and their log-probabilities (batch,)."""
        mean, log_std = self.body(observations).chunk(2, dim=-1)
        log_std = log_std.clamp(LOG_STD_MIN, LOG_STD_MAX)
        noise = torch.randn_like(mean)
        raw = mean + log_std.exp() * noise
        log_density = -0.5 * noise.square() - log_std - 0.5 * np.log(2 * np.pi)
        log_slope = 2.0 * (np.log(2.0) - raw - functional.softplus(-2.0 * raw))
        return raw.tanh(), (log_density - log_slope).sum(dim=-1)


class Critic(nn.Module):
    """Values (batch,) of observations and actions."""

    def __init__(self) -> None:
        super().__init__()
        self.body = network(OBSERVATION_SIZE + ACTION_SIZE, 1)

    def forward(self, observations: Tensor, actions: Tensor) -> Tensor:
        return self.body(torch.cat([observations, actions], dim=-1)).squeeze(-1)


class ReplayBuffer:
    """A ring buffer of transitions in NumPy."""

    def __init__(self) -> None:
        self.observations = np.zeros((REPLAY_SIZE, OBSERVATION_SIZE), np.float32)
        self.actions = np.zeros((REPLAY_SIZE, ACTION_SIZE), np.float32)
        self.rewards = np.zeros(REPLAY_SIZE, np.float32)
        self.next_observations = np.zeros((REPLAY_SIZE, OBSERVATION_SIZE), np.float32)
        self.terminations = np.zeros(REPLAY_SIZE, np.float32)
        self.added = 0

    def add(self, observation: np.ndarray, action: np.ndarray, reward: float, following: np.ndarray, end: bool) -> None:
        row = self.added % REPLAY_SIZE
        self.observations[row], self.actions[row], self.rewards[row] = observation, action, reward
        self.next_observations[row], self.terminations[row] = following, end
        self.added += 1

    def sample(self) -> tuple[Tensor, ...]:
        rows = np.random.randint(0, min(self.added, REPLAY_SIZE), BATCH_SIZE)
        fields = (self.observations, self.actions, self.rewards, self.next_observations, self.terminations)
        return tuple(torch.from_numpy(field[rows]) for field in fields)


class Agent:
    """Actor, critics, temperature, their optimisers, and the replay buffer."""

    def __init__(self) -> None:
        self.actor = Actor()
        self.critics, self.targets = (nn.ModuleList([Critic(), Critic()]) for _ in range(2))
        self.targets.load_state_dict(self.critics.state_dict())
        self.log_temperature = torch.zeros((), requires_grad=True)
        self.actor_optimiser = torch.optim.Adam(self.actor.parameters(), lr=LEARNING_RATE)
        self.critic_optimiser = torch.optim.Adam(self.critics.parameters(), lr=LEARNING_RATE)
        self.temperature_optimiser = torch.optim.Adam([self.log_temperature], lr=LEARNING_RATE)
        self.replay = ReplayBuffer()

    def act(self, observation: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            actions, _ = self.actor(torch.from_numpy(observation)[None])
        return actions[0].numpy()

    def update(self) -> None:
        observations, actions, rewards, next_observations, terminations = self.replay.sample()
        temperature = self.log_temperature.exp().item()

        with torch.no_grad():
            next_actions, log_probabilities = self.actor(next_observations)
            next_values = torch.min(*(target(next_observations, next_actions) for target in self.targets))
            soft_values = next_values - temperature * log_probabilities
            wanted = rewards + GAMMA * (1.0 - terminations) * soft_values
        critic_loss = sum(functional.mse_loss(critic(observations, actions), wanted) for critic in self.critics)
        self.critic_optimiser.zero_grad()
        critic_loss.backward()
        self.critic_optimiser.step()

        own_actions, log_probabilities = self.actor(observations)
        values = torch.min(*(critic(observations, own_actions) for critic in self.critics))
        actor_loss = (temperature * log_probabilities - values).mean()
        self.actor_optimiser.zero_grad()
        actor_loss.backward()
        self.actor_optimiser.step()

        surplus = log_probabilities.detach() - ACTION_SIZE
        temperature_loss = -(self.log_temperature.exp() * surplus).mean()
        self.temperature_optimiser.zero_grad()
        temperature_loss.backward()
        self.temperature_optimiser.step()

        with torch.no_grad():
            for target, critic in zip(self.targets.parameters(), self.critics.parameters(), strict=True):
                target.lerp_(critic, TAU)


class Peer:
    def __init__(self, environment: DrawerClose, transitions: Transitions):
        self._environment = environment
        self._full, self._training = Agent(), Agent()
        for transition in zip(*transitions, strict=True):
            self._full.replay.add(*transition, False)
        self.update = self._full.update
        self._observation: np.ndarray | None = None

    def train(self, steps: int) -> None:
        agent, environment = self._training, self._environment
        if self._observation is None:
            self._observation, _ = environment.reset(seed=0)
        for _ in range(steps):
            at_random = agent.replay.added < LEARNING_STARTS
            action = environment.action_space.sample() if at_random else agent.act(self._observation)
            following, reward, terminated, truncated, _ = environment.step(action)
            agent.replay.add(self._observation, action, reward, following, terminated)
            self._observation = environment.reset()[0] if terminated or truncated else following
            if not at_random:
                agent.update()
