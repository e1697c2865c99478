"""What one NVIDIA GPU makes of many agents: ``uv run --extra cuda12 python -m benchmarks.gpu``, in under 8 minutes.

It needs this repository and a fresh install, nothing else. Sizes are those of `benchmarks.speed`: Meta-World's tasks,
two layers of 256 units, batches of 256. It measures

- updates per second of 1 to 256 agents that are trained as one program, as `device: cuda` trains them: with masks,
  with the batches' way to the device and the actors' way back, and without both;
- the same for one agent on one CPU core of this machine: dense, and as tickets on the compiled kernels;
- one sparse layer in the forms that might be faster than a masked dense one (gathered inputs, and JAX's BCOO);
- watts while the agents train (``nvidia-smi``), and from these joules and prices per finished run.

Writes benchmarks/results/gpu.csv. Without a GPU it stops, except with ``--quick``, which measures shortly on whatever
there is and writes nothing: so the script is tested on CPUs.
"""

import argparse
import contextlib
import os
import statistics
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import sparse

from benchmarks.flops import METAWORLD
from benchmarks.machine import processor_name
from benchmarks.ratios import units_per_second
from benchmarks.result_tables import write_rows
from benchmarks.worker import Worker
from benchmarks.workloads import SETTINGS, SPEC, fresh_state
from rlottery.agents.sac import SAC
from rlottery.study.execution.cores import available_cores
from rlottery.training.vectorized_learner import compile_together, spread, with_masks

AGENTS = (1, 4, 16, 64, 256)
SPARSITIES = (0.9, 0.95, 0.98)
WIDTH = METAWORLD.critic_widths[0]
ROW = 2 * SPEC.observation_size + SPEC.action_size + 2
LIMIT_SECONDS = 8 * 60
RUN_UPDATES = 1_000_000
"""Updates of the run whose energy and price are given."""
WATTS_EACH = 0.2
"""Seconds between two readings of the power."""


class Effort(NamedTuple):
    """How much to measure: numbers of agents and of updates, seconds of each measurement, and measurements."""

    agents: tuple[int, ...]
    seconds: float
    rounds: int


FULL, QUICK = Effort(AGENTS, 2.0, 3), Effort((1, 2), 0.1, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Updates per second of many agents on one GPU.")
    parser.add_argument("--quick", action="store_true", help="a short run on any device, which writes no result")
    parser.add_argument("--gpu-price", type=float, default=2.0, help="price of the GPU per hour (default: 2.0)")
    parser.add_argument("--core-price", type=float, default=0.04, help="price of a CPU core per hour (default: 0.04)")
    arguments = parser.parse_args()
    if min(arguments.gpu_price, arguments.core_price) < 0:
        parser.error("prices can't be negative")
    if jax.default_backend() == "cpu" and not arguments.quick:
        parser.error("JAX sees no GPU. Install it with `uv sync --extra cuda12`, or try the script with --quick.")
    effort = QUICK if arguments.quick else FULL
    rows = list(measure(effort, arguments.gpu_price, arguments.core_price))
    if arguments.quick:
        for row in rows:
            print(*row.values(), sep="  ")
    else:
        write_rows("gpu.csv", rows)


def measure(effort: Effort, gpu_price: float, core_price: float) -> Iterator[dict[str, object]]:
    """A row for each quantity, until `LIMIT_SECONDS` are nearly over; larger numbers of agents come later."""
    began, device = time.monotonic(), jax.devices()[0]
    about = {"device": device.device_kind, "cpu": processor_name()}

    def row(what: str, agents: int, rate: float, watts: float | None, price: float | None) -> dict[str, object]:
        joules = None if watts is None else watts * RUN_UPDATES / rate
        cost = None if price is None else price / 3600 * RUN_UPDATES / rate
        return about | {
            "what": what,
            "agents": agents,
            "updates_per_second": round(rate, 1),
            "watts": "" if watts is None else round(watts, 1),
            "kilojoules_per_million_updates": "" if joules is None else round(joules / 1000, 1),
            "price_per_million_updates": "" if cost is None else round(cost, 4),
        }

    with Worker(available_cores()[0] if hasattr(os, "sched_setaffinity") else None) as worker:
        for work in ("update", *(f"ticket:uniform:{sparsity}" for sparsity in SPARSITIES)):
            rates = [worker.ask("rate", work=work, seconds=effort.seconds) for _ in range(1 + effort.rounds)]
            yield row(f"one CPU core, {work}", 1, statistics.median(rates[1:]), None, core_price)
    for sparsity in SPARSITIES:
        for form, step in layer_forms(sparsity):
            yield row(f"one layer at {sparsity:.0%}, {form}", 1, _rate(step, effort)[0], None, None)
    for agents in effort.agents:
        if time.monotonic() - began > 0.8 * LIMIT_SECONDS:
            print(f"There was no time left for {agents} agents and more.")
            return
        for what, update in programs(agents):
            rate, watts = _rate(update, effort)
            yield row(what, agents, agents * rate, watts, gpu_price)


def programs(agents: int) -> Iterator[tuple[str, Callable[[], object]]]:
    """An update of all agents as in training, and as the program alone, whose batches are on the device."""
    update, _ = compile_together(SAC, SETTINGS, SPEC)
    states = spread(with_masks(fresh_state()), agents)
    rows = np.random.default_rng(0).standard_normal((agents, METAWORLD.batch_size, ROW), dtype=np.float32)
    rows[..., -1] = 0.0
    every_one, on_device = np.ones(agents, np.bool_), jax.device_put(rows)

    def in_training() -> None:
        nonlocal states
        states, packed, networks = update(states, rows, every_one)
        networks.copy_to_host_async()
        np.asarray(packed), np.asarray(networks)

    def alone() -> None:
        nonlocal states
        states, packed, _ = update(states, on_device, every_one)
        packed.block_until_ready()

    yield "agents in training", in_training
    yield "agents, program alone", alone


def layer_forms(sparsity: float) -> Iterator[tuple[str, Callable[[], Any]]]:
    """A loss of one hidden layer's outputs for a batch, and its gradients, in several forms. The first is dense."""
    generator = np.random.default_rng(0)
    inputs = jnp.asarray(generator.standard_normal((METAWORLD.batch_size, WIDTH), dtype=np.float32))
    kept = max(1, round((1 - sparsity) * WIDTH))
    sources = np.argsort(generator.random((WIDTH, WIDTH)), axis=0)[:kept]  # (kept, outputs)
    dense = generator.standard_normal((WIDTH, WIDTH), dtype=np.float32)
    mask = np.zeros((WIDTH, WIDTH), np.bool_)
    np.put_along_axis(mask, sources, True, axis=0)
    matrix = sparse.BCOO.fromdense(jnp.asarray(np.where(mask, dense, 0.0).T))
    forms: dict[str, tuple[Any, Callable[[Any, jax.Array], jax.Array]]] = {
        "dense": (dense, lambda weights, x: x @ weights),
        "masked dense": (dense, lambda weights, x: x @ (weights * mask)),
        "gathered inputs": (
            np.take_along_axis(dense, sources, axis=0),
            lambda weights, x: jnp.einsum("bko,ko->bo", x[:, sources], weights),
        ),
        "BCOO": (matrix.data, lambda data, x: (sparse.BCOO((data, matrix.indices), shape=matrix.shape) @ x.T).T),
    }
    for name, (weights, product) in forms.items():

        def loss(weights: Any, x: jax.Array, product: Any = product) -> jax.Array:
            return jnp.mean(jnp.square(product(weights, x)))

        step = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))
        yield name, partial(_wait_for, step, jnp.asarray(weights), inputs)


def _wait_for(function: Callable[..., Any], *arguments: Any) -> Any:
    return jax.block_until_ready(function(*arguments))  # type: ignore[no-untyped-call]


def _rate(unit: Callable[[], object], effort: Effort) -> tuple[float, float | None]:
    """Units per second, the median of some measurements, and the mean power meanwhile in watts, if it can be read."""
    unit(), unit()
    rates = []
    with _power() as watts:
        for _ in range(effort.rounds):
            rates.append(units_per_second(unit, effort.seconds))
    return statistics.median(rates), statistics.mean(watts) if watts else None


@contextlib.contextmanager
def _power() -> Iterator[list[float]]:
    """Readings of the first GPU's power in watts, taken in a thread while the context is open."""
    readings: list[float] = []
    over = threading.Event()

    def read() -> None:
        command = ["nvidia-smi", "--id=0", "--query-gpu=power.draw", "--format=csv,noheader,nounits"]
        while not over.wait(WATTS_EACH):
            try:
                readings.append(float(subprocess.run(command, capture_output=True, text=True, check=True).stdout))
            except (OSError, ValueError, subprocess.CalledProcessError):
                return

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield readings
    finally:
        over.set()
        thread.join()


if __name__ == "__main__":
    main()
