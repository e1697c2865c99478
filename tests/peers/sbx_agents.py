"""Trains agents with SBX for a moment, and saves what `rlottery import` reads and what they did.

    python sbx_agents.py FOLDER '{"sac": {"algorithm": "SAC", "task": "Pendulum-v1", "steps": 120}, ...}'

Other keys are arguments of the algorithm's class. Files in FOLDER/NAME: initial.zip, agent.zip, replay.pkl (if there is
a replay buffer), and acted.npz with random observations (1000, obs) and the actions of the deterministic policy.
"""

import json
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import sbx
from flax import linen


def train(folder: Path, algorithm: str, task: str, steps: int, **arguments: Any) -> None:
    folder.mkdir(parents=True)
    kwargs = arguments.get("policy_kwargs", {})
    if "activation_fn" in kwargs:
        kwargs["activation_fn"] = getattr(linen, kwargs["activation_fn"])
    env = gymnasium.make(task)
    model = getattr(sbx, algorithm)("MlpPolicy", env, seed=0, **arguments)
    model.save(folder / "initial.zip")
    model.learn(steps)
    model.save(folder / "agent.zip")
    if getattr(model, "replay_buffer", None) is not None:
        model.save_replay_buffer(folder / "replay.pkl")
    observations = np.random.default_rng(0).normal(size=(1_000, *env.observation_space.shape)).astype(np.float32)
    actions, _ = model.predict(observations, deterministic=True)
    np.savez(folder / "acted.npz", observations=observations, actions=np.asarray(actions))


if __name__ == "__main__":
    for name, arguments in json.loads(sys.argv[2]).items():
        train(Path(sys.argv[1]) / name, **arguments)
