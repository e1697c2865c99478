"""Trains Stable-Baselines3's TD3 as its zoo does on MuJoCo's tasks, and writes its learning curve like sb3_sac.py.

python benchmarks/peers/sb3_td3.py --task HalfCheetah-v5 --seed 0 --steps 50000 --out curve.jsonl
"""

import gymnasium
import numpy as np
from sb3_sac import curve_parser, learn
from stable_baselines3 import TD3
from stable_baselines3.common.noise import NormalActionNoise


def main() -> None:
    arguments = curve_parser(__doc__.splitlines()[0], steps=50_000).parse_args()
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
    learn(model, arguments)


if __name__ == "__main__":
    main()
