"""Whether rlottery's SAC and Stable-Baselines3's make the same updates: both get the same weights, batches and noise.

uv run python -m benchmarks.learning.same_batches record
sb3/bin/python benchmarks/peers/sb3_recorded_updates.py --folder data/same-batches
uv run python -m benchmarks.learning.same_batches compare

`record` makes the updates of rlottery, and `compare` writes `results/same_batches.csv`: after some numbers of updates,
the losses of both, and for each network the distance of the two as a share of how far rlottery's has moved. "exact" is
Stable-Baselines3 without the 1e-6 that it adds to 1 - tanh(u)^2 in the policy's log-probability.
"""

import argparse
import csv
from pathlib import Path
from typing import Any

import gymnasium
import jax
import numpy as np

from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.base import jax_key, to_arrays
from rlottery.agents.description import Spec
from rlottery.agents.sac import init, init_params, update
from rlottery.config import Config
from rlottery.storage.transitions import Transitions

TASK, STEPS, UPDATES, SEED = "HalfCheetah-v5", 5_000, 1_000, 0
KEPT = (1, 3, 10, 30, 100, 300, 1_000)
"""The numbers of updates after which the two are compared."""
FOLDER = Path("data/same-batches")
RESULT = Path(__file__).parent / "results" / "same_batches.csv"
NETWORKS = ("actor", "critic.q1", "critic.q2")


def random_transitions() -> tuple[Transitions, Spec]:
    """Transitions of a random policy."""
    environment = gymnasium.make(TASK)
    environment.action_space.seed(SEED)
    assert environment.observation_space.shape is not None
    assert environment.action_space.shape is not None
    rows = []
    observation, _ = environment.reset(seed=SEED)
    for _ in range(STEPS):
        action = environment.action_space.sample()
        next_observation, reward, terminated, truncated, _ = environment.step(action)
        rows.append((observation, action, reward, next_observation, float(terminated)))
        observation = environment.reset()[0] if terminated or truncated else next_observation
    fields = [np.asarray(field, np.float32) for field in zip(*rows, strict=True)]
    return Transitions(*fields), Spec(environment.observation_space.shape[0], environment.action_space.shape[0])


def named(params: Any) -> dict[str, np.ndarray]:
    """Weights by name. The halves of the actor's output layer, means and log standard deviations, are apart."""
    found = {f"weights.{name}": array for name, array in to_arrays(params).items()}
    for kind in ("kernel", "bias"):
        of_mean, of_log_std = np.split(found.pop(f"weights.actor.layer_2.{kind}"), 2, axis=-1)
        found |= {f"weights.actor.mean.{kind}": of_mean, f"weights.actor.log_std.{kind}": of_log_std}
    return found


def record() -> None:
    """Make the updates of rlottery, and write what the other library needs to make its own."""
    stored, spec = random_transitions()
    config = Config.model_validate({"tasks": [TASK], "seeds": [SEED]})
    settings = algorithm_of(config).settings(config, config.tasks[0])
    params_key, key = jax.random.split(jax_key(SEED))
    state = init(init_params(params_key, spec, settings), key, settings)
    initial = named(state.params)
    generator = np.random.default_rng(SEED)
    size = settings.batch_size
    indices = generator.integers(STEPS, size=(UPDATES, size))
    batches = Transitions(*(field[indices] for field in stored.fields.values()))
    noise: dict[str, list[np.ndarray]] = {"actor_noise": [], "critic_noise": []}
    results: dict[str, Any] = {}
    step = jax.jit(update, static_argnums=2)
    for done in range(1, UPDATES + 1):
        _, *keys = jax.random.split(state.key, 3)
        for name, one in zip(("critic_noise", "actor_noise"), keys, strict=True):
            noise[name].append(np.asarray(jax.random.normal(one, (size, spec.action_size))))
        state, metrics = step(state, Transitions(*(field[done - 1] for field in batches.fields.values())), settings)
        for name, value in metrics.items():
            results.setdefault(name, []).append(float(value))
        if done in KEPT:
            for name, weights in named(state.params).items():
                results.setdefault(name, []).append(weights)
    FOLDER.mkdir(parents=True, exist_ok=True)
    given: dict[str, Any] = {"task": np.array(TASK), "kept": np.array(KEPT)} | batches.fields | initial
    given |= {name: np.stack(values) for name, values in noise.items()}
    np.savez(FOLDER / "recorded.npz", **given)
    np.savez(FOLDER / "ours.npz", **results)


def compare() -> None:
    """Compare both libraries, and write and print the table."""
    initial, ours = (np.load(FOLDER / f"{name}.npz") for name in ("recorded", "ours"))
    rows = []
    for library, file in (("Stable-Baselines3", "sb3"), ("Stable-Baselines3, exact", "sb3_exact")):
        theirs = np.load(FOLDER / f"{file}.npz")
        for place, done in enumerate(KEPT):
            row: dict[str, Any] = {"library": library, "updates": done}
            for loss in ("critic_loss", "actor_loss"):
                row |= {f"our_{loss}": f"{ours[loss][done - 1]:.6g}", f"their_{loss}": f"{theirs[loss][done - 1]:.6g}"}
            for network in NETWORKS:
                names = [name for name in ours if name.startswith(f"weights.{network}.")]
                apart = norm([ours[name][place] - theirs[name][place] for name in names])
                row[f"{network}_distance"] = (
                    f"{apart / norm([ours[name][place] - initial[name] for name in names]):.2g}"
                )
            rows.append(row)
    with RESULT.open("w", newline="") as file_of_rows:
        writer = csv.DictWriter(file_of_rows, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        print("  ".join(f"{name} {value}" for name, value in row.items()))


def norm(arrays: list[np.ndarray]) -> float:
    """Euclidean norm of all entries."""
    return float(np.sqrt(sum(np.square(array, dtype=np.float64).sum() for array in arrays)))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare the updates of rlottery and Stable-Baselines3.")
    parser.add_argument("what", choices=("record", "compare"))
    {"record": record, "compare": compare}[parser.parse_args().what]()


if __name__ == "__main__":
    main()
