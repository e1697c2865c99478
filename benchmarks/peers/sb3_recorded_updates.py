"""Updates Stable-Baselines3's SAC on the batches and noise that `benchmarks.learning.same_batches` has recorded.

sb3/bin/python benchmarks/peers/sb3_recorded_updates.py data/same-batches/recorded.npz data/same-batches/sb3.npz
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import patch

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.distributions import DiagGaussianDistribution, SquashedDiagGaussianDistribution
from stable_baselines3.common.logger import configure
from stable_baselines3.common.policies import ContinuousCritic
from stable_baselines3.common.type_aliases import ReplayBufferSamples
from torch.nn.functional import softplus

Recorded = dict[str, np.ndarray]
FIELDS = ("observations", "actions", "next_observations", "terminations", "rewards")


class RecordedBuffer:
    """A replay buffer that gives the recorded batches in their order."""

    def __init__(self, recorded: Recorded):
        self._recorded, self._next = recorded, 0

    def sample(self, batch_size: int, env: object = None) -> ReplayBufferSamples:
        """The next batch."""
        given = {name: torch.from_numpy(self._recorded[name][self._next]) for name in FIELDS}
        self._next += 1
        return ReplayBufferSamples(
            observations=given["observations"],
            actions=given["actions"],
            next_observations=given["next_observations"],
            dones=given["terminations"][:, None],
            rewards=given["rewards"][:, None],
        )


def recorded_noise(recorded: Recorded) -> Iterator[np.ndarray]:
    """The noise in the order in which this library draws it: of the actor's loss, then of the critics'."""
    for of_actor, of_critic in zip(recorded["actor_noise"], recorded["critic_noise"], strict=True):
        yield of_actor
        yield of_critic


def weights_of(model: SAC, critic: ContinuousCritic | None = None) -> dict[str, torch.Tensor]:
    """Every weight by rlottery's name for it. The actor's two output layers are one layer there.

    Args:
        critic: the critics, if they aren't the model's: its targets.
    """
    found = {}
    q1, q2 = (critic or model.critic).q_networks
    stacks = {"actor": model.actor.latent_pi, "critic.q1": q1, "critic.q2": q2}
    for name, stack in stacks.items():
        layers = [module for module in stack if isinstance(module, torch.nn.Linear)]
        for index, layer in enumerate(layers):
            found[f"{name}.layer_{index}.kernel"], found[f"{name}.layer_{index}.bias"] = layer.weight, layer.bias
    for part, layer in (("mean", model.actor.mu), ("log_std", model.actor.log_std)):
        found[f"actor.{part}.kernel"], found[f"actor.{part}.bias"] = layer.weight, layer.bias
    return found


def as_recorded(name: str, weights: torch.Tensor) -> np.ndarray:
    """A layer's weights as rlottery has them: kernels are (inputs, outputs)."""
    array = weights.detach().numpy()
    return (array.T if name.endswith("kernel") else array).copy()


def exact_log_prob(distribution: SquashedDiagGaussianDistribution, actions: torch.Tensor, unsquashed: torch.Tensor):
    """Log-probabilities (batch,) without the 1e-6."""
    of_gaussian = DiagGaussianDistribution.log_prob(distribution, unsquashed)
    squash = 2.0 * (np.log(2.0) - unsquashed - softplus(-2.0 * unsquashed))
    return of_gaussian - squash.sum(dim=1)


def run_updates(recorded: Recorded) -> dict[str, np.ndarray]:
    """Losses after each update, and weights after some."""
    environment = gymnasium.make(str(recorded["task"]))
    model = SAC("MlpPolicy", environment, policy_kwargs={"net_arch": [256, 256]}, device="cpu")
    model.set_logger(configure(None, []))
    with torch.no_grad():
        for name, weights in weights_of(model).items():
            weights.copy_(torch.from_numpy(np.ascontiguousarray(recorded[f"weights.{name}"].T)))
    model.critic_target.load_state_dict(model.critic.state_dict())
    model.replay_buffer = RecordedBuffer(recorded)
    noise = recorded_noise(recorded)

    def next_noise(shape: object, dtype: object, device: object) -> torch.Tensor:
        return torch.from_numpy(next(noise))

    results: dict[str, list[np.ndarray | float]] = {}
    with patch("torch.distributions.normal._standard_normal", next_noise):
        for done in range(1, len(recorded["rewards"]) + 1):
            model.train(gradient_steps=1, batch_size=recorded["rewards"].shape[1])
            for name in ("critic_loss", "actor_loss"):
                results.setdefault(name, []).append(model.logger.name_to_value[f"train/{name}"])
            model.logger.name_to_value.clear()
            model.logger.name_to_count.clear()
            if done in recorded["kept"]:
                for name, weights in weights_of(model).items():
                    results.setdefault(f"weights.{name}", []).append(as_recorded(name, weights))
    return {name: np.asarray(values) for name, values in results.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description="Update Stable-Baselines3's SAC on recorded batches.")
    parser.add_argument("--folder", type=Path, required=True, help="what benchmarks.learning.same_batches has written")
    folder = parser.parse_args().folder
    recorded = dict(np.load(folder / "recorded.npz"))
    np.savez(folder / "sb3.npz", **run_updates(recorded))
    with patch.object(SquashedDiagGaussianDistribution, "log_prob", exact_log_prob):
        np.savez(folder / "sb3_exact.npz", **run_updates(recorded))


if __name__ == "__main__":
    main()
