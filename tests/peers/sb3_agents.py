"""Trains agents with Stable-Baselines3 for a moment, and saves what `rlottery import` reads and what they did.

    python sb3_agents.py FOLDER '{"sac": {"algorithm": "SAC", "task": "Pendulum-v1", "steps": 300}, ...}'

Other keys are arguments of the algorithm's class. `normalise` puts the environment into a VecNormalize, `environments`
is their number, and `constant` is a learning rate that a function of this script returns.

Files in FOLDER/NAME: initial.zip, agent.zip, replay.pkl (if there is a replay buffer), vecnormalize.pkl (if it is
normalised), and acted.npz with random observations (1000, obs), the actions that the deterministic policy takes, and
what it chooses discrete ones by.
"""

import json
import sys
from pathlib import Path
from typing import Any
from unittest import mock

import gymnasium
import numpy as np
import sb3_contrib
import stable_baselines3
import torch
from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize


def train(folder: Path, algorithm: str, task: str, steps: int, **arguments: Any) -> None:
    folder.mkdir(parents=True)
    library = sb3_contrib if hasattr(sb3_contrib, algorithm) else stable_baselines3
    normalise, number = arguments.pop("normalise", False), arguments.pop("environments", 1)
    kwargs = arguments.get("policy_kwargs", {})
    if "activation_fn" in kwargs:
        kwargs["activation_fn"] = getattr(torch.nn, kwargs["activation_fn"])
    env = DummyVecEnv([lambda: gymnasium.make(task)] * number)
    env = VecNormalize(env) if normalise else env
    policy = arguments.pop("policy", "MlpPolicy")
    if (constant := arguments.pop("constant", None)) is not None:
        arguments["learning_rate"] = lambda progress: constant
    model = getattr(library, algorithm)(policy, env, seed=0, device="cpu", **arguments)
    model.save(folder / "initial.zip")
    model.learn(steps)
    model.save(folder / "agent.zip")
    if getattr(model, "replay_buffer", None) is not None:
        model.save_replay_buffer(folder / "replay.pkl")
        save_replay(model.replay_buffer, folder / "replay.npz")
    if algorithm == "SAC":
        save_moments(model, folder / "moments.npz")
    if normalise:
        env.save(str(folder / "vecnormalize.pkl"))
    space = env.observation_space
    if isinstance(space, gymnasium.spaces.Box) and len(space.shape) == 1:
        observations = np.random.default_rng(0).normal(size=(1_000, *space.shape)).astype(np.float32)
        seen = env.normalize_obs(observations) if normalise else observations
        actions, _ = model.predict(seen, deterministic=True)
        outputs = {} if actions.ndim > 1 else {"outputs": outputs_of(model, torch.as_tensor(seen))}
        np.savez(folder / "acted.npz", observations=observations, actions=actions, **outputs)


def outputs_of(model: Any, observations: torch.Tensor) -> np.ndarray:
    """What discrete actions are chosen by: values, or logarithms of probabilities; (n, actions)."""
    with torch.no_grad():
        if hasattr(model, "q_net"):
            return model.q_net(observations).numpy()
        return model.policy.get_distribution(observations).distribution.logits.numpy()


def save_replay(buffer: Any, file: Path) -> None:
    """What the buffer gives to training: all of its rows, those of several environments in turn."""
    rows = np.arange(buffer.buffer_size if buffer.full else buffer.pos)
    drawn: dict[str, list[np.ndarray]] = {}
    for environment in range(buffer.n_envs):
        # The buffer draws an environment for each row.
        with mock.patch("numpy.random.randint", lambda *_, high, size, e=environment: np.full(size, e)):
            sample = buffer._get_samples(rows)
        for ours, theirs in FIELDS.items():
            drawn.setdefault(ours, []).append(getattr(sample, theirs).numpy())
    joined = {name: np.stack(of, axis=1).reshape(len(rows) * buffer.n_envs, -1) for name, of in drawn.items()}
    np.savez(file, **{name: of[:, 0] if name in ("rewards", "terminations") else of for name, of in joined.items()})


FIELDS = {
    "observations": "observations",
    "next_observations": "next_observations",
    "actions": "actions",
    "rewards": "rewards",
    "terminations": "dones",
}


def save_moments(model: Any, file: Path) -> None:
    """Adam's moments of two layers, as PyTorch has them."""
    actor, critic = model.actor, model.critic
    first = actor.optimizer.state[actor.latent_pi[0].weight]
    last = critic.optimizer.state[critic.qf1[-1].weight]
    np.savez(file, first=first["exp_avg_sq"], last=last["exp_avg"], steps=int(last["step"]))


def main(folder: Path, agents: dict[str, dict[str, Any]]) -> None:
    torch.set_num_threads(1)
    for name, arguments in agents.items():
        train(folder / name, **arguments)


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
