"""Microseconds to choose the actions of several environments: ``uv run python -m benchmarks.acting``.

One core; SAC, 39 observations, 4 actions, 2 x 256 units, dense and at 90 % sparsity. Actions of n environments one
after another, and all in one call, in turn, and the part of the network; the least of many short measurements, which a
busy machine disturbs least. Writes benchmarks/results/acting.csv.
"""

import time
from collections.abc import Callable
from functools import partial

import jax
import numpy as np

from benchmarks.machine import processor_name
from benchmarks.result_tables import write_rows
from rlottery.agents.algorithms import SACSetup
from rlottery.agents.base import jax_key, kernels, nest_masks
from rlottery.agents.description import Spec
from rlottery.agents.kernels.library import find
from rlottery.agents.sac import SAC
from rlottery.config import NetworkSettings, SACSettings
from rlottery.pruning.prune import prune
from rlottery.study.execution.cores import pin
from rlottery.training.learner import CpuLearner

SPEC = Spec(39, 4)
SETTINGS = SACSetup(SACSettings(), NetworkSettings())
REPEATS = 1000


def learner(sparsity: float) -> CpuLearner:
    state = SAC.init(SAC.init_params(jax_key(0), SPEC, SETTINGS), jax_key(1), SETTINGS)
    rng = np.random.default_rng(0)
    if sparsity:
        weights = {group: kernels(tree) for group, tree in state.params.items()}
        scores = {g: {path: rng.random(kernel.shape) for path, kernel in of.items()} for g, of in weights.items()}
        masks = {group: prune(layers, sparsity, allocation="uniform") for group, layers in scores.items()}
        state = SAC.with_masks(state, nest_masks(masks))
    return CpuLearner(SAC, SETTINGS, state, SPEC, np.asarray(jax.random.key_data(jax_key(2))))


def one_by_one(agent: CpuLearner, rows: np.ndarray) -> None:
    for step, row in enumerate(rows, start=1):
        agent.act(row, step)


def microseconds(*calls: Callable[[], object]) -> list[float]:
    """The least time of each call; they take turns."""
    least = [float("inf")] * len(calls)
    for _ in range(REPEATS):
        for index, call in enumerate(calls):
            began = time.perf_counter()
            call()
            least[index] = min(least[index], 1e6 * (time.perf_counter() - began))
    return least


def main() -> None:
    pin(0)
    table: list[dict[str, object]] = []
    for name, sparsity in (("dense", 0.0), ("90 %", 0.9)):
        agent = learner(sparsity)
        for number in (1, 8, 16):
            rows = np.random.default_rng(1).normal(size=(number, SPEC.observation_size)).astype(np.float32)
            found = microseconds(
                partial(one_by_one, agent, rows),
                partial(agent.act_together, rows, 1),
                partial(lambda of, given: [of(row) for row in given], agent.outputs, rows),
                partial(agent.outputs_together, rows),
            )
            names = ("one_by_one", "together", "network_one_by_one", "network_together")
            taken = {f"{what}_us": round(of, 1) for what, of in zip(names, found, strict=True)}
            of_agent = {"agent": name, "environments": number}
            table.append({**of_agent, **taken, "processor": processor_name(), "kernels": str(find())})
    write_rows("acting.csv", table)


if __name__ == "__main__":
    main()
