"""Trains Stable-Baselines3's SAC, the reference for rlottery's learning curves, and writes its learning curve.

It needs a separate environment (``benchmarks/peers/requirements-sb3.txt``), because SB3 needs PyTorch. It writes one
JSON line per evaluation: env_steps, the mean return of the deterministic policy, and the return of each episode.

    python benchmarks/peers/sb3_sac.py --task HalfCheetah-v5 --seed 0 --steps 50000 --out curve.jsonl
"""

import argparse
import json
from pathlib import Path

import gymnasium
import numpy as np
import torch
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

EVALUATION_SEED = 1_000_003


def evaluate(model: OffPolicyAlgorithm, task: str, episodes: int) -> list[float]:
    """Undiscounted returns of `episodes` episodes with the deterministic policy and fixed seeds."""
    env = gymnasium.make(task)
    returns = []
    for episode in range(episodes):
        observation, _ = env.reset(seed=EVALUATION_SEED + episode)
        total, over = 0.0, False
        while not over:
            action, _ = model.predict(observation, deterministic=True)
            observation, reward, terminated, truncated, _ = env.step(action)
            total += float(reward)
            over = terminated or truncated
        returns.append(total)
    env.close()
    return returns


class WriteCurve(BaseCallback):
    """Evaluates every `interval` environment steps and appends the result to `path`."""

    def __init__(self, path: Path, task: str, interval: int, episodes: int):
        super().__init__()
        self.path, self.task, self.interval, self.episodes = path, task, interval, episodes

    def _on_training_start(self) -> None:
        self._write()

    def _on_step(self) -> bool:
        if self.num_timesteps % self.interval == 0:
            self._write()
        return True

    def _write(self) -> None:
        returns = evaluate(self.model, self.task, self.episodes)
        row = {"env_steps": self.num_timesteps, "return": float(np.mean(returns)), "returns": returns}
        with self.path.open("a") as file:
            file.write(json.dumps(row) + "\n")


def curve_parser(description: str, steps: int) -> argparse.ArgumentParser:
    """The flags of a learning curve: task, seed, file, and how often it is evaluated in how many episodes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--interval", type=int, default=5_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    return parser


def learn(model: OffPolicyAlgorithm, arguments: argparse.Namespace) -> None:
    """Train on one core, and write the learning curve."""
    torch.set_num_threads(1)
    arguments.out.unlink(missing_ok=True)
    curve = WriteCurve(arguments.out, arguments.task, arguments.interval, arguments.episodes)
    model.learn(arguments.steps, callback=curve)


def main() -> None:
    parser = curve_parser(__doc__.splitlines()[0], steps=50_000)
    parser.add_argument("--learning-starts", type=int, default=1_000)
    parser.add_argument("--learning-rate", type=float, default=3e-4)
    arguments = parser.parse_args()
    model = SAC(
        "MlpPolicy",
        gymnasium.make(arguments.task),
        learning_rate=arguments.learning_rate,
        learning_starts=arguments.learning_starts,
        batch_size=256,
        buffer_size=arguments.steps,
        policy_kwargs={"net_arch": [256, 256]},
        seed=arguments.seed,
        device="cpu",
    )
    learn(model, arguments)


if __name__ == "__main__":
    main()
