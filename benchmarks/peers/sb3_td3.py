"""Trains Stable-Baselines3's TD3 as its zoo does on MuJoCo's tasks, and writes its learning curve like sb3_sac.py.

python benchmarks/peers/sb3_td3.py --task HalfCheetah-v5 --seed 0 --steps 200000 --out curve.jsonl
"""

import argparse
from pathlib import Path

import gymnasium
import numpy as np
import torch
from sb3_sac import WriteCurve
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, default=200_000)
    parser.add_argument("--interval", type=int, default=5_000)
    parser.add_argument("--episodes", type=int, default=10)
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    arguments.out.unlink(missing_ok=True)
    env = gymnasium.make(arguments.task)
    size = env.action_space.shape[0]
    model = TD3(
        "MlpPolicy",
        env,
        learning_rate=1e-3,
        learning_starts=10_000,
        batch_size=256,
        buffer_size=arguments.steps,
        train_freq=1,
        gradient_steps=1,
        action_noise=NormalActionNoise(np.zeros(size), 0.1 * np.ones(size)),
        policy_kwargs={"net_arch": [400, 300]},
        seed=arguments.seed,
        device="cpu",
    )
    model.learn(
        arguments.steps,
        callback=WriteCurve(arguments.out, arguments.task, arguments.interval, arguments.episodes),
    )


if __name__ == "__main__":
    main()
