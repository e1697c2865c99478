"""Trains Stable-Baselines3's PPO as its zoo does on two tasks, and writes its learning curve like sb3_sac.py.

python benchmarks/peers/sb3_ppo.py --task CartPole-v1 --seed 0 --out curve.jsonl
"""

from collections.abc import Callable
from typing import Any

from sb3_sac import curve_parser, learn
from stable_baselines3 import PPO
from stable_baselines3.common.env_util import make_vec_env


def falling(start: float) -> Callable[[float], float]:
    """From `start` at the beginning of training to 0 at its end."""
    return lambda left: left * start


ENVIRONMENTS = {"CartPole-v1": 8, "Pendulum-v1": 4}
SETTINGS: dict[str, dict[str, Any]] = {
    "CartPole-v1": {
        "n_steps": 32,
        "batch_size": 256,
        "gae_lambda": 0.8,
        "gamma": 0.98,
        "n_epochs": 20,
        "ent_coef": 0.0,
        "learning_rate": falling(1e-3),
        "clip_range": falling(0.2),
    },
    "Pendulum-v1": {
        "n_steps": 1024,
        "gae_lambda": 0.95,
        "gamma": 0.9,
        "n_epochs": 10,
        "ent_coef": 0.0,
        "learning_rate": 1e-3,
        "clip_range": 0.2,
        "use_sde": True,
        "sde_sample_freq": 4,
    },
}


def main() -> None:
    parser = curve_parser(__doc__.splitlines()[0], steps=100_000)
    arguments = parser.parse_args()
    env = make_vec_env(arguments.task, n_envs=ENVIRONMENTS[arguments.task], seed=arguments.seed)
    model = PPO("MlpPolicy", env, seed=arguments.seed, device="cpu", **SETTINGS[arguments.task])
    learn(model, arguments)


if __name__ == "__main__":
    main()
