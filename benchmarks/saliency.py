"""What saliency scores measure in trained agents: ``uv run python -m benchmarks.saliency benchmarks/saliency.yaml``.

Reads the dense agents of a study, given by its config file or data folder, that are done and have their replay buffer.
Scores each on 100 batches of 256 transitions, as `taylor` does by default, and writes benchmarks/results/saliency.csv.
A line has, for one network of one agent:

- taylor_fisher: Spearman's rank correlation between the taylor and the fisher scores of all its weights;
- taylor_magnitude: the same with the magnitude scores, for comparison;
- signal: the sum over all weights of |E g| divided by that of E|g|, g the gradient of one batch. It is 1 if the
  gradients of all batches agree, and about 0.1 (1 / sqrt(batches)) if they are noise around zero;
- rank_one: the share of the squared taylor scores of its largest layer that a product of one number per input and one
  per output explains;
- idle_taylor, idle_magnitude: the share of survivors on no path at 98 % and `allocation: global`, without `reclaim`.
"""

import argparse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from benchmarks.result_tables import write_rows
from rlottery.agents.base import jax_key
from rlottery.config import Config
from rlottery.errors import StudyError
from rlottery.pruning.allocation import allocate_global
from rlottery.pruning.criteria import score
from rlottery.pruning.effective import effective, rank_one_share
from rlottery.pruning.masks import by_network, select
from rlottery.pruning.ranking import Scores
from rlottery.storage.open_study import config_from_study
from rlottery.study.planning.jobs import Job
from rlottery.study.stages.agents import algorithm_for, dense_replay, saved_agent, settings_of
from rlottery.training.saliency import gather_statistics

BATCHES, BATCH_SIZE = 100, 256
SPARSITY = 0.98
READ = ("weights", "mean_abs_gradient", "mean_gradient", "mean_squared_gradient")


def measure(config: Config) -> Iterator[dict[str, Any]]:
    """A line for each network of each dense agent. Agents that can't be used are named and skipped."""
    for index, task in enumerate(config.tasks):
        for seed in config.seeds:
            job = Job(config, "dense", index, seed)
            try:
                state, replay = saved_agent(job, job.files.agent), dense_replay(job)
            except StudyError as error:
                print(f"{job.label}: skipped. {error}")
                continue
            statistics = gather_statistics(
                algorithm_for(job),
                settings_of(job),
                state,
                READ,
                stored=replay,
                key=jax_key(0),
                generator=np.random.default_rng(0),
                batches=BATCHES,
                batch_size=BATCH_SIZE,
            )
            for group, found in statistics.items():
                scores = {name: score(name, found) for name in ("taylor", "fisher", "magnitude")}
                for name in by_network(scores["taylor"]):
                    network = f"{group}.{name}" if name else group
                    own = {criterion: by_network(of)[name] for criterion, of in scores.items()}
                    gradients = {of: by_network(found[of])[name] for of in ("mean_gradient", "mean_abs_gradient")}
                    steps = config.training_for(task).env_steps
                    yield {"task": task.id, "seed": seed, "env_steps": steps, "network": network} | of_network(
                        own, gradients["mean_gradient"], gradients["mean_abs_gradient"]
                    )


def of_network(scores: Mapping[str, Scores], mean: Scores, mean_abs: Scores) -> dict[str, float]:
    """What the scores of a network measure.

    Args:
        scores: criterion -> scores of each layer.
        mean, mean_abs: E g and E|g| of each layer.
    """
    flat = {criterion: np.concatenate([of.ravel() for of in layers.values()]) for criterion, layers in scores.items()}
    largest = max(scores["taylor"].values(), key=lambda layer: layer.size)
    return {
        "taylor_fisher": spearmanr(flat["taylor"], flat["fisher"]).statistic,
        "taylor_magnitude": spearmanr(flat["taylor"], flat["magnitude"]).statistic,
        "signal": _total(mean) / _total(mean_abs),
        "rank_one": rank_one_share(largest) or 0.0,
        **{f"idle_{criterion}": _idle(scores[criterion]) for criterion in ("taylor", "magnitude")},
    }


def _total(layers: Scores) -> float:
    return float(sum(np.abs(layer).sum(dtype=np.float64) for layer in layers.values()))


def _idle(scores: Scores) -> float:
    return effective({"": select(scores, allocate_global(scores, SPARSITY))}).idle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("study", type=Path, help="config file or data folder of a study with dense agents")
    parser.add_argument("overrides", nargs="*", help="such as data=FOLDER")
    given = parser.parse_args()
    lines = list(measure(config_from_study(given.study, given.overrides)))
    if not lines:
        raise SystemExit(
            "No dense agent could be measured: train some first (see the top of benchmarks/saliency.yaml)."
        )
    write_rows(
        "saliency.csv",
        [{key: f"{value:.3f}" if isinstance(value, float) else value for key, value in line.items()} for line in lines],
    )


if __name__ == "__main__":
    main()
