"""Trains an agent of Stable-Baselines3's SAC on with rlottery, next to Stable-Baselines3 itself.

    agent="--task HalfCheetah-v5 --folder data/continued"
    sb3/bin/python benchmarks/peers/sb3_continued.py start $agent --seed 100 --steps 25000
    for seed in 1 2 3 4 5; do
        sb3/bin/python benchmarks/peers/sb3_continued.py go-on $agent --seed $seed --steps 40000
        uv run python -m benchmarks.learning.continued $agent --seed $seed --steps 40000
    done
    uv run python -m benchmarks.learning.continued $agent --compare

Both begin with the same weights, targets, temperature, optimisers and replay, so a difference comes from the updates
and the loop, not from what happened before. `--compare` writes `results/continued_sac.csv`.
"""

import argparse
import csv
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from benchmarks.learning.against_sb3 import LAST, OURS, THEIRS, difference_of
from rlottery.agents.algorithms import algorithm_of
from rlottery.agents.base import jax_key
from rlottery.agents.description import Spec
from rlottery.agents.sac import SAC, SACState, init
from rlottery.config import Config
from rlottery.envs import Environment, make
from rlottery.seeding import Streams
from rlottery.storage.metrics_log import MetricsRow
from rlottery.training.learner import CpuLearner
from rlottery.training.loop import TrainingPlan, action_noise, begin, evaluation_row, train

RESULT = Path(__file__).parent / "results" / "continued_sac.csv"
EVALUATION_SEEDS = [1_000_003 + episode for episode in range(10)]
"""As in `benchmarks/peers/sb3_sac.py`."""
Arrays = dict[str, np.ndarray]


class Curve:
    """A recorder that keeps the evaluations."""

    def __init__(self) -> None:
        self.rows: list[MetricsRow] = []

    def write(self, row: MetricsRow) -> None:
        if row["kind"] == "evaluation":
            self.rows.append(row)

    def tick(self, step: int) -> None: ...
    def enter(self, phase: Any) -> None: ...


def tree(arrays: Arrays, prefix: str) -> dict[str, Any]:
    """The actor's weights, or a critic's, nested by layer."""
    layers: dict[str, Any] = {}
    for layer in range(3):
        for kind in ("kernel", "bias"):
            name = f"{prefix}.layer_{layer}.{kind}"
            halves = [name] if name in arrays else [f"{prefix}.{part}.{kind}" for part in ("mean", "log_std")]
            joined = np.concatenate([arrays[half] for half in halves], axis=-1)
            layers.setdefault(f"layer_{layer}", {})[kind] = jnp.asarray(joined)
    return layers


def state_of(arrays: Arrays, settings: Any, seed: int) -> SACState:
    """The saved agent, with a key of its own for the noise of updates."""

    def networks(prefix: str) -> dict[str, Any]:
        critics = {name: tree(arrays, f"{prefix}critic.{name}") for name in ("q1", "q2")}
        return {"actor": tree(arrays, f"{prefix}actor"), "critic": critics} if prefix != "target." else critics

    def moments(name: str) -> dict[str, Any]:
        temperature = jnp.float32(arrays[f"{name}.log_temperature"][0])
        return networks(f"{name}.") | {"temperature": temperature}

    fresh = init(networks(""), jax_key(seed), settings)
    first, second, updates = moments("exp_avg"), moments("exp_avg_sq"), int(arrays["updates"])
    optimizer = {
        group: tuple(
            part._replace(count=jnp.int32(updates), mu=first[group], nu=second[group]) if hasattr(part, "mu") else part
            for part in parts
        )
        for group, parts in fresh.optimizer.items()
    }
    log_temperature = jnp.float32(arrays["log_temperature"][0])
    return fresh._replace(optimizer=optimizer, target_critic=networks("target."), log_temperature=log_temperature)


def go_on(task: str, seed: int, steps: int, folder: Path) -> None:
    """Train the saved agent on, and write its learning curve."""
    arrays = dict(np.load(folder / "agent.npz"))
    replay = {name.removeprefix("replay."): array for name, array in arrays.items() if name.startswith("replay.")}
    rates = dict.fromkeys(("actor_learning_rate", "critic_learning_rate", "temperature_learning_rate"), 3e-4)
    config = Config.model_validate(
        {
            "tasks": [task],
            "seeds": [seed],
            "sac": rates | {"initial_temperature": 1.0},
            "training": {"env_steps": steps, "warmup_steps": 1_000},
        }
    )
    settings = algorithm_of(config).settings(config, config.tasks[0])
    streams = Streams("continued", task, seed, "dense")
    environment = make(task)
    spec = Spec.of(environment)
    plan = TrainingPlan(
        training=config.training,
        batch_size=settings.batch_size,
        evaluation_interval=2_500,
        evaluation_seeds=EVALUATION_SEEDS,
        streams=streams,
    )
    learner = CpuLearner(SAC, settings, state_of(arrays, settings, seed), spec, action_noise(streams))
    loop = begin(learner, plan, spec)
    terminations = replay["dones"] * (1.0 - replay["timeouts"])
    fields = (replay["observations"], replay["actions"], replay["rewards"], replay["next_observations"], terminations)
    for observation, action, reward, following, termination in zip(*fields, strict=True):
        loop.replay.add(observation, action, float(reward), following, bool(termination))
    loop.env_steps = loop.replay.added
    loop.episodes = int(replay["dones"].sum())
    curve, opened = Curve(), [environment]

    def another() -> Environment:
        opened.append(make(task))
        return opened[-1]

    curve.write(evaluation_row(loop, plan, [environment]))
    for _ in train(loop, plan, another, curve):
        pass
    for one in opened:
        one.close()
    path = folder / f"rlottery-{seed}.jsonl"
    lines = [json.dumps({key: row[key] for key in ("env_steps", "return")}) for row in curve.rows]
    path.write_text("\n".join(lines) + "\n")


def compare(task: str, folder: Path) -> None:
    """Write and print all curves."""
    rows: list[list[object]] = []
    ends: dict[str, list[float]] = {OURS: [], THEIRS: []}
    for library, stem in ((OURS, "rlottery"), (THEIRS, "sb3")):
        for path in sorted(folder.glob(f"{stem}-*.jsonl")):
            seed = int(path.stem.rpartition("-")[2])
            curve = [json.loads(line) for line in path.read_text().splitlines()]
            rows += [[task, library, seed, row["env_steps"], round(row["return"], 2)] for row in curve]
            ends[library].append(float(np.mean([row["return"] for row in curve[-LAST:]])))
            print(f"{library:18} {seed:3}", *(round(row["return"]) for row in curve))
    print(f"mean of the last {LAST} evaluations: {difference_of(ends[OURS], ends[THEIRS])}")
    with RESULT.open("w", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows([["task", "library", "seed", "env_steps", "return"], *rows])


def main() -> None:
    parser = argparse.ArgumentParser(description="Train an agent of Stable-Baselines3 on with rlottery.")
    parser.add_argument("--task", required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=40_000, help="environment steps at the end")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--compare", action="store_true")
    arguments = parser.parse_args()
    if arguments.compare:
        compare(arguments.task, arguments.folder)
    else:
        go_on(arguments.task, arguments.seed, arguments.steps, arguments.folder)


if __name__ == "__main__":
    main()
