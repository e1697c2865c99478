"""Trains Stable-Baselines3's DQN as its zoo does on CartPole and Acrobot, and writes its curve like sb3_sac.py.

The zoo has no settings for MinAtar: those of `benchmarks/learning/dqn_settings.yaml` are used there.

python benchmarks/peers/sb3_dqn.py --task CartPole-v1 --seed 0 --steps 50000 --interval 5000 --out curve.jsonl
"""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import gymnasium
from sb3_sac import curve_parser, learn
from stable_baselines3 import DQN

EPISODE_STEPS = 5_000
"""The time limit of MinAtar's episodes, as in rlottery."""
ZOO: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "learning_rate": 2.3e-3,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 1_000,
        "target_update_interval": 10,
        "train_freq": 256,
        "gradient_steps": 128,
        "exploration_fraction": 0.16,
        "exploration_final_eps": 0.04,
    },
    "Acrobot-v1": {
        "learning_rate": 6.3e-4,
        "batch_size": 128,
        "buffer_size": 50_000,
        "learning_starts": 0,
        "target_update_interval": 250,
        "train_freq": 4,
        "gradient_steps": -1,
        "exploration_fraction": 0.12,
        "exploration_final_eps": 0.1,
    },
    "MinAtar/Breakout-v1": {
        "learning_rate": 5e-4,
        "batch_size": 64,
        "buffer_size": 100_000,
        "learning_starts": 5_000,
        "target_update_interval": 1_000,
        "train_freq": 4,
        "gradient_steps": 1,
        "exploration_fraction": 0.3,
        "exploration_final_eps": 0.05,
    },
}
"""Settings by task. MinAtar's are for 100,000 steps, of which exploration falls in 30,000."""


def flat_minatar(make: Callable[..., Any]) -> Callable[..., Any]:
    """`gymnasium.make` with MinAtar's tasks, as flat vectors."""

    def made(task: str) -> gymnasium.Env[Any, Any]:
        if not task.startswith("MinAtar/"):
            return make(task)
        from minatar.gym import register_envs

        register_envs()
        return gymnasium.wrappers.FlattenObservation(make(task, max_episode_steps=EPISODE_STEPS))

    return made


def main() -> None:
    arguments = curve_parser(__doc__.splitlines()[0], steps=50_000).parse_args()
    with patch("gymnasium.make", flat_minatar(gymnasium.make)):  # evaluations make the task too
        model = DQN(
            "MlpPolicy",
            gymnasium.make(arguments.task),
            gamma=0.99,
            policy_kwargs={"net_arch": [256, 256]},
            seed=arguments.seed,
            device="cpu",
            **ZOO[arguments.task],
        )
        learn(model, arguments)


if __name__ == "__main__":
    main()
