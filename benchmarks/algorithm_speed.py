"""How much faster tickets of each algorithm are updated than its dense agent.

    uv run python -m benchmarks.algorithm_speed

Sizes of Meta-World's tasks (39 inputs, 4 actions), two layers of 256 units, batches of 256, one core. Dense agent and
tickets are updated in turns in one pinned process, and the result is the median over rounds of the ratio of their
rates. Masks are random (uniform, erk), or keep the highest Taylor scores of a fresh agent (global, one ranking for each
group). Writes benchmarks/results/algorithm_speed.csv, with the processor's name and the kernels in every row. Rows of
other processors and kernels stay there.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from functools import cache
from itertools import cycle
from typing import Any, cast

import jax
import numpy as np

from benchmarks.flops import METAWORLD
from benchmarks.machine import processor_name
from benchmarks.ratios import harmonic_mean, units_per_second
from benchmarks.result_tables import write_rows
from benchmarks.worker import Worker
from rlottery.agents.algorithms import ALGORITHMS
from rlottery.agents.base import functions_of, kernels, nest_masks
from rlottery.agents.description import Description, Spec
from rlottery.agents.kernels.library import find
from rlottery.config import Config
from rlottery.pruning.criteria import score, statistics_for
from rlottery.pruning.prune import Rule, prune
from rlottery.storage.transitions import Transitions, one_hot
from rlottery.training.learner import CpuLearner
from rlottery.training.saliency import gather_statistics

SPARSITIES = (0.9, 0.95)
ALLOCATIONS: tuple[Rule, ...] = ("uniform", "erk", "global")
ROUNDS, SECONDS = 9, 0.4
RATE = "benchmarks.algorithm_speed:agent_rate"
ROWS = 4 * METAWORLD.batch_size


def main() -> None:
    parser = argparse.ArgumentParser(description="Updates of tickets over those of dense agents, for each algorithm.")
    parser.add_argument("--core", type=int, default=0, help="the core to measure on")
    arguments = parser.parse_args()
    with Worker(arguments.core) as worker:
        write_rows("algorithm_speed.csv", list(compare(worker)), keep=("algorithm", "processor", "kernels"))


def compare(worker: Worker) -> Iterator[dict[str, object]]:
    """A row for each algorithm, allocation and sparsity."""
    for name in ALGORITHMS:
        for allocation in ALLOCATIONS:
            for sparsity in SPARSITIES:
                ticket = f"{allocation}:{sparsity}"
                ratios, rates = [], []
                for work in ("dense", ticket):
                    worker.ask(RATE, algorithm=name, work=work, seconds=0.05)
                for _ in range(ROUNDS):
                    before, of_ticket, after = (
                        worker.ask(RATE, algorithm=name, work=work, seconds=SECONDS / share)
                        for work, share in (("dense", 2), (ticket, 1), ("dense", 2))
                    )
                    rates.append(harmonic_mean(before, after))
                    ratios.append(of_ticket / rates[-1])
                yield {
                    "algorithm": name,
                    "allocation": allocation,
                    "sparsity": sparsity,
                    "ticket_over_dense": round(statistics.median(ratios), 2),
                    "dense_updates_per_second": round(statistics.median(rates)),
                    "processor": processor_name(),
                    "kernels": str(find()),
                }


def agent_rate(algorithm: str, work: str, seconds: float) -> float:
    """Updates per second of an agent: ``dense``, or ``ALLOCATION:SPARSITY``."""
    return units_per_second(_updates(algorithm, work), seconds)


@cache
def _updates(name: str, work: str) -> Callable[[], object]:
    description = ALGORITHMS[name]
    algorithm, spec, settings = functions_of(description), _spec(description), _settings(description)
    weights, noise = jax.random.split(jax.random.key(0))
    state = algorithm.init(algorithm.init_params(weights, spec, settings), noise, settings)
    if work != "dense":
        allocation, _, sparsity = work.partition(":")
        state = algorithm.with_masks(
            state, nest_masks(_masks(description, state, cast(Rule, allocation), float(sparsity)))
        )
    learner = CpuLearner(algorithm, settings, state, spec, np.zeros(2, np.uint32))
    rows = _rows(_transitions(description))
    if algorithm.prepare is not None:
        rows = learner.prepare(rows)
    batches = cycle(np.split(rows, len(rows) // METAWORLD.batch_size))
    return lambda: learner.update(next(batches))


def _masks(description: Description, state: Any, allocation: Rule, sparsity: float) -> dict[str, Any]:
    generator = np.random.default_rng(0)
    if allocation == "global":
        found = gather_statistics(
            functions_of(description),
            _settings(description),
            state,
            statistics_for("taylor").trained,
            stored=_transitions(description),
            key=jax.random.key(0),
            generator=generator,
            batches=4,
            batch_size=METAWORLD.batch_size,
        )
        scores = {group: score("taylor", of_group) for group, of_group in found.items()}
    else:
        by_group = {group: kernels(tree) for group, tree in state.params.items()}
        scores = {g: {p: generator.random(k.shape) for p, k in of.items()} for g, of in by_group.items()}
    return {g: prune(of, sparsity, allocation=allocation, group=g) for g, of in scores.items()}


def _settings(description: Description) -> Any:
    """With 256 units in each of two layers, and batches of 256."""
    rollouts = {"rollout_steps": ROWS} if functions_of(description).prepare else {}
    section = {"batch_size": METAWORLD.batch_size} | rollouts
    study = {"tasks": ["CartPole-v1"], "seeds": [0], "algorithm": description.name, description.name: section}
    config = Config.model_validate(study | {"network": {group: [256, 256] for group in description.groups}})
    return description.fit(description.settings(config, config.tasks[0]), _spec(description))


def _spec(description: Description) -> Spec:
    discrete = "continuous" not in description.learns
    return Spec(METAWORLD.observation_size, METAWORLD.action_size, discrete=discrete)


def _transitions(description: Description) -> Transitions:
    """Random transitions: the speed of dense arithmetic doesn't depend on their values."""
    generator, (observations, actions) = np.random.default_rng(3), _spec(description).sizes

    def normal(*shape: int) -> np.ndarray:
        return generator.standard_normal((ROWS, *shape), dtype=np.float32)

    chosen = one_hot(generator.integers(actions, size=ROWS), actions)
    return Transitions(
        observations=normal(observations),
        actions=chosen if _spec(description).discrete else np.tanh(normal(actions)),
        rewards=normal(),
        next_observations=normal(observations),
        terminations=np.zeros(ROWS, np.float32),
        ends=np.zeros(ROWS, np.float32) if functions_of(description).prepare else None,
    )


def _rows(transitions: Transitions) -> np.ndarray:
    """Rows in the replay buffer's format."""
    fields = transitions.fields.values()
    return np.concatenate([field.reshape(ROWS, -1) for field in fields], axis=1)


if __name__ == "__main__":
    main()
