"""How much faster tickets are updated than dense agents, over masks, widths and batch sizes.

    uv run python -m benchmarks.ticket_speed

SAC with the inputs and outputs of Meta-World's tasks and two hidden layers, on one core. The dense agent, the ticket
and NumPy's matrix product are measured in turns in one pinned process, by its CPU time. A ratio is the median over
rounds. Masks are random (uniform, erk), or keep the highest Taylor scores of a fresh agent (global, one ranking for
each group). Writes benchmarks/results/ticket_speed.csv, with the processor's name and the kernels in every row. Rows of
other sizes, processors and kernels stay there.
"""

import argparse
import statistics
import time
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product

import numpy as np

from benchmarks.flops import METAWORLD, update_flops
from benchmarks.machine import processor_name
from benchmarks.ratios import harmonic_mean, units_per_second
from benchmarks.result_tables import write_rows
from benchmarks.worker import Worker
from benchmarks.workloads import GEMM_SIZE, REPLAY_SIZE, SPEC, Agent, gemm, random_replay
from rlottery.agents.kernels.library import find
from rlottery.training.replay_buffer import ReplayBuffer

WIDTHS, BATCHES = (256, 512, 1024), (256, 1024, 4096)
ALLOCATIONS, SPARSITIES = ("uniform", "erk", "global"), (0.9, 0.95, 0.98)
ROUNDS, SECONDS = 9, 0.4
RATE = "benchmarks.ticket_speed:rate"


def main() -> None:
    parser = argparse.ArgumentParser(description="Updates of tickets over those of dense agents.")
    parser.add_argument("--core", type=int, default=0, help="the core to measure on")
    parser.add_argument("--widths", type=int, nargs="+", default=WIDTHS, help="units of each hidden layer")
    parser.add_argument("--batches", type=int, nargs="+", default=BATCHES, help="transitions in an update")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="rounds of every ratio")
    given = parser.parse_args()
    rows: list[dict[str, object]] = []
    for width, batch in product(given.widths, given.batches):
        with Worker(given.core) as worker:  # a new process for each size: its programs and buffers are not kept
            rows += compare(worker, width, batch, given.rounds)
    write_rows("ticket_speed.csv", rows, keep=("width", "batch", "processor", "kernels"))


def compare(worker: Worker, width: int, batch: int, rounds: int) -> Iterator[dict[str, object]]:
    """A row for each allocation and sparsity at one width and batch size."""
    shapes = METAWORLD._replace(actor_widths=(width, width), critic_widths=(width, width), batch_size=batch)
    flops = sum(update_flops(shapes).values())

    def measure(work: str, seconds: float) -> float:
        measured: float = worker.ask(RATE, work=work, batch=batch, seconds=seconds)
        return measured

    dense = f"update:{width}"
    for allocation, sparsity in product(ALLOCATIONS, SPARSITIES):
        ticket = f"ticket:{allocation}:{sparsity}:{width}"
        ratios, rates, shares = [], [], []
        for work in (dense, ticket, "gemm"):
            measure(work, 0.05)
        for _ in range(rounds):
            before, gemm = measure(dense, SECONDS / 2), measure("gemm", SECONDS / 4)
            of_ticket, after = measure(ticket, SECONDS), measure(dense, SECONDS / 2)
            rates.append(harmonic_mean(before, after))
            ratios.append(of_ticket / rates[-1])
            shares.append(rates[-1] * flops / (gemm * 2 * GEMM_SIZE**3))
        yield {
            "width": width,
            "batch": batch,
            "allocation": allocation,
            "sparsity": sparsity,
            "ticket_over_dense": round(statistics.median(ratios), 2),
            "dense_over_gemm_limit": round(statistics.median(shares), 3),
            "dense_updates_per_second": round(statistics.median(rates), 1),
            "processor": processor_name(),
            "kernels": str(find()),
        }


def rate(work: str, batch: int, seconds: float) -> float:
    """Updates per second of CPU time, at least one: of an agent that `Agent.read` knows, or products for ``gemm``."""
    return units_per_second(gemm() if work == "gemm" else _updates(work, batch), seconds, time.process_time)


@cache
def _updates(work: str, batch: int) -> Callable[[], object]:
    learner, buffer = Agent.read(work).learner(), ReplayBuffer(REPLAY_SIZE, *SPEC.sizes)
    buffer.extend(random_replay())
    rows = buffer.sample(np.random.default_rng(1), batch)
    learner.update(rows)
    return lambda: learner.update(rows)


if __name__ == "__main__":
    main()
