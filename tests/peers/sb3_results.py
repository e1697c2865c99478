"""Trains a few steps of PPO on two environments, with logs, and prints what Stable-Baselines3 reads of them as JSON.

Argument: the folder for the logs, which becomes FOLDER/ppo/seed_N.
"""

import json
import sys
from pathlib import Path

import gymnasium
import numpy as np
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import EvalCallback
from stable_baselines3.common.monitor import Monitor, load_results
from stable_baselines3.common.vec_env import DummyVecEnv

told = {}
for seed in range(2):
    folder = Path(sys.argv[1]) / "ppo" / f"seed_{seed}"
    folder.mkdir(parents=True)

    def make(number: int, folder: Path = folder) -> Monitor:
        return Monitor(gymnasium.make("CartPole-v1"), str(folder / str(number)))

    environments = DummyVecEnv([lambda number=number: make(number) for number in range(2)])
    evaluated = Monitor(gymnasium.make("CartPole-v1"))
    callback = EvalCallback(evaluated, log_path=str(folder), eval_freq=64, n_eval_episodes=2, verbose=0)
    model = PPO("MlpPolicy", environments, seed=seed, n_steps=64, policy_kwargs={"net_arch": [8]})
    model.learn(256, callback=callback)
    environments.close()
    episodes, arrays = load_results(str(folder)), np.load(folder / "evaluations.npz")
    told[seed] = {
        "episodes": episodes[["r", "l"]].to_numpy().tolist(),
        "steps": arrays["timesteps"].tolist(),
        "means": arrays["results"].mean(axis=1).tolist(),
    }
print(json.dumps(told))
