"""Trains Stable-Baselines3's SAC to a step, saves it with its optimisers and its replay, and trains it on from there.

`benchmarks.learning.continued` trains the same agent on with rlottery. What differs afterwards comes from the two
training loops, not from what happened before.

The commands are in `benchmarks/learning/continued.py`.
"""

import argparse
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import numpy as np
import torch
from sb3_recorded_updates import as_recorded, weights_of
from sb3_sac import WriteCurve
from stable_baselines3 import SAC

FIELDS = ("observations", "actions", "rewards", "next_observations", "dones", "timeouts")


def start(arguments: argparse.Namespace) -> None:
    """Train to a step, and save the agent twice: for this library, and as arrays for rlottery."""
    model = SAC(
        "MlpPolicy",
        gymnasium.make(arguments.task),
        learning_starts=1_000,
        buffer_size=60_000,
        policy_kwargs={"net_arch": [256, 256]},
        seed=arguments.seed,
        device="cpu",
    )
    model.learn(arguments.steps)
    arguments.folder.mkdir(parents=True, exist_ok=True)
    model.save(arguments.folder / "agent.zip")
    model.save_replay_buffer(arguments.folder / "replay.pkl")
    replay = model.replay_buffer
    stored = {f"replay.{field}": getattr(replay, field)[: replay.pos, 0] for field in FIELDS}
    np.savez(arguments.folder / "agent.npz", **dict(arrays_of(model)), **stored)


def arrays_of(model: SAC) -> Iterator[tuple[str, np.ndarray]]:
    """Weights, target critics, temperature, and Adam's moments and number of steps, by rlottery's names."""
    moments = model.actor.optimizer.state | model.critic.optimizer.state
    targets = {name: weights for name, weights in weights_of(model, model.critic_target).items() if "critic" in name}
    for name, weights in weights_of(model).items():
        yield name, as_recorded(name, weights)
        for moment in ("exp_avg", "exp_avg_sq"):
            yield f"{moment}.{name}", as_recorded(name, moments[weights][moment])
    for name, weights in targets.items():
        yield f"target.{name}", as_recorded(name, weights)
    of_temperature = model.ent_coef_optimizer.state[model.log_ent_coef]
    yield "log_temperature", model.log_ent_coef.detach().numpy()
    for moment in ("exp_avg", "exp_avg_sq"):
        yield f"{moment}.log_temperature", of_temperature[moment].numpy()
    yield "updates", np.array(int(of_temperature["step"]))


def go_on(arguments: argparse.Namespace) -> None:
    """Train the saved agent on with random numbers of its own, and write its learning curve."""
    model = SAC.load(arguments.folder / "agent.zip", env=gymnasium.make(arguments.task), device="cpu")
    model.load_replay_buffer(arguments.folder / "replay.pkl")
    model.set_random_seed(arguments.seed)
    path = arguments.folder / f"sb3-{arguments.seed}.jsonl"
    path.unlink(missing_ok=True)
    curve = WriteCurve(path, arguments.task, interval=2_500, episodes=10)
    model.learn(arguments.steps - model.num_timesteps, reset_num_timesteps=False, callback=curve)


def main() -> None:
    parser = argparse.ArgumentParser(description="Train Stable-Baselines3's SAC in two parts.")
    parser.add_argument("what", choices=("start", "go-on"))
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--steps", type=int, required=True, help="environment steps at the end of this part")
    parser.add_argument("--folder", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    {"start": start, "go-on": go_on}[arguments.what](arguments)


if __name__ == "__main__":
    main()
