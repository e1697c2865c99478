"""Compares rlottery's speed with what the machine allows: ``uv run python -m benchmarks.speed``.

Rates are measured alternately in one run, in pinned processes with one thread each, and compared as ratios. The result
is the median over rounds. Only the times of masks are absolute. It takes about three minutes on an idle machine.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.flops import METAWORLD, update_flops, with_unread_gradients
from benchmarks.machine import processor_name
from benchmarks.ratios import harmonic_mean, scaling, share_of_limit, share_of_serial_rate, summarise
from benchmarks.worker import Worker, WorkerError
from rlottery.study.execution.cores import available_cores

GEMM_FLOPS = 2 * 256**3
START_DELAY = 0.02
"""Seconds between the request to two workers and their start, so that both can read it in time."""


@dataclass(frozen=True)
class Effort:
    """How much to measure.

    Attributes:
        rounds: rounds of update against GEMM, and of two workers against one.
        seconds: length of each measurement in such a round.
        loop_rounds: rounds of the training loop, one episode each.
        mask_rounds: rounds of making masks.
    """

    rounds: int
    seconds: float
    loop_rounds: int
    mask_rounds: int


FULL = Effort(rounds=12, seconds=0.5, loop_rounds=10, mask_rounds=5)
QUICK = Effort(rounds=3, seconds=0.15, loop_rounds=1, mask_rounds=2)


@dataclass(frozen=True)
class Quantity:
    """A quantity that is measured once per round.

    Attributes:
        name: its name in the table.
        samples: one per round.
        unit: the unit of the samples; "" for a ratio.
        at_least, below: the target for the median, if there is one.
    """

    name: str
    samples: list[float]
    unit: str = ""
    at_least: float | None = None
    below: float | None = None

    @property
    def met(self) -> bool | None:
        """Whether the median meets the target; None without a target."""
        median = summarise(self.samples).median
        if self.at_least is not None:
            return median >= self.at_least
        return None if self.below is None else median < self.below

    def to_json(self) -> dict[str, Any]:
        """Plain values, including the summary."""
        return {**vars(self), **summarise(self.samples)._asdict(), "met": self.met}


def update_against_gemm(worker: Worker, effort: Effort) -> Iterator[Quantity]:
    """Dense updates on one core against NumPy's matrix products, measured before and after."""
    updates, gemms = [], []
    for _ in _rounds(effort.rounds, worker):
        before = worker.ask("rate", work="gemm", seconds=effort.seconds / 2)
        updates.append(worker.ask("rate", work="update", seconds=effort.seconds))
        after = worker.ask("rate", work="gemm", seconds=effort.seconds / 2)
        gemms.append(GEMM_FLOPS * harmonic_mean(before, after))
    flops, wasteful_flops = sum(update_flops(METAWORLD).values()), with_unread_gradients(METAWORLD)
    pairs = list(zip(updates, gemms, strict=True))
    yield Quantity(
        f"update over GEMM limit, {flops / 1e6:.1f} MFLOP",
        [share_of_limit(rate, flops, limit) for rate, limit in pairs],
        at_least=0.78,
    )
    yield Quantity(
        f"  counting unread gradients, {wasteful_flops / 1e6:.1f} MFLOP",
        [share_of_limit(rate, wasteful_flops, limit) for rate, limit in pairs],
    )
    yield Quantity("  updates, one core", updates, "/s")
    yield Quantity("  GEMM 256 x 256 x 256", [limit / 1e9 for limit in gemms], "GFLOP/s")


TICKETS = {"0.8": None, "0.9": (3.0, 2.3), "0.95": (5.0, 3.0), "0.98": (8.0, 3.8)}
"""Sparsity -> targets for the speed-up of a uniform ticket's updates and training loop over the dense agent's."""
WIDE_AT_LEAST = 8.0
"""The target for updates at width 1024 and 95 % sparsity."""


def tickets_against_dense(worker: Worker, effort: Effort) -> Iterator[Quantity]:
    """Updates of tickets over those of the dense agent, measured alternately."""
    pairs = {f"ticket:uniform:{sparsity}": "update" for sparsity in TICKETS}
    pairs |= {f"ticket:global:{sparsity}": "update" for sparsity in TICKETS}
    pairs |= {"ticket:uniform:0.95:1024": "update:1024", "update": "masked-update"}
    ratios: dict[str, list[float]] = {work: [] for work in pairs}
    for work, dense in pairs.items():
        for name in (work, dense):
            worker.ask("rate", work=name, seconds=0.05)
        for _ in range(effort.rounds):
            before = worker.ask("rate", work=dense, seconds=effort.seconds / 2)
            ticket = worker.ask("rate", work=work, seconds=effort.seconds)
            after = worker.ask("rate", work=dense, seconds=effort.seconds / 2)
            ratios[work].append(ticket / harmonic_mean(before, after))
    for sparsity, bars in TICKETS.items():
        for allocation in ("uniform", "global"):
            yield Quantity(
                f"updates, ticket over dense, {float(sparsity):.0%} {allocation}",
                ratios[f"ticket:{allocation}:{sparsity}"],
                at_least=bars[0] if bars and allocation == "uniform" else None,
            )
    wide = ratios["ticket:uniform:0.95:1024"]
    yield Quantity("updates, ticket over dense, 95% uniform, width 1024", wide, at_least=WIDE_AT_LEAST)
    yield Quantity("updates, dense, kernels over XLA alone", ratios["update"])


def ticket_loops_against_dense(worker: Worker, effort: Effort) -> Iterator[Quantity]:
    """Environment steps of training loops on drawer-close-v3, tickets over dense, without evaluations."""
    for sparsity, bars in TICKETS.items():
        samples = []
        for _ in range(max(1, effort.loop_rounds // 2)):
            ticket = worker.ask("loop", work=f"ticket:uniform:{sparsity}", steps=500)["loop"]
            samples.append(ticket / worker.ask("loop", work="update", steps=500)["loop"])
        yield Quantity(
            f"training loop, ticket over dense, {float(sparsity):.0%} uniform",
            samples,
            at_least=bars[1] if bars else None,
        )


def two_workers_against_one(first: Worker, second: Worker, effort: Effort) -> Iterator[Quantity]:
    """The speed-up of two concurrent workers over one, against that of two concurrent GEMMs."""
    samples: dict[str, list[float]] = {"gemm": [], "update": []}
    both_updates = []
    for _ in _rounds(effort.rounds, first, second):
        for work, scalings in samples.items():
            alone = [worker.ask("rate", work=work, seconds=effort.seconds) for worker in (first, second)]
            start = time.monotonic() + START_DELAY
            for worker in (first, second):
                worker.send("rate", work=work, seconds=effort.seconds, start=start)
            together = (first.receive(), second.receive())
            scalings.append(scaling((alone[0], alone[1]), together))
        both_updates.append(sum(together))
    yield Quantity(
        "two workers over one, as a part of GEMM's",
        [update / gemm for update, gemm in zip(samples["update"], samples["gemm"], strict=True)],
        at_least=0.97,
    )
    yield Quantity("  two workers over one", samples["update"])
    yield Quantity("  two GEMMs over one", samples["gemm"])
    yield Quantity("  updates, two cores", both_updates, "/s")


def training_loop(worker: Worker, effort: Effort) -> Iterator[Quantity]:
    """The training loop against update and environment alone, of the dense agent and of a ticket."""
    for work, of in (("update", "dense"), ("ticket:uniform:0.95", "95% uniform")):
        rounds = worker.ask("training_loop", work=work, rounds=effort.loop_rounds)
        yield Quantity(
            f"training loop over update + environment, {of}",
            [share_of_serial_rate(r["loop"], r["update"], r["environment"]) for r in rounds],
            at_least=0.93,
        )
        yield Quantity("  training loop", [r["loop"] for r in rounds], "steps/s")
        yield Quantity("  updates alone", [r["update"] for r in rounds], "/s")
        yield Quantity("  environment alone, with resets", [r["environment"] for r in rounds], "steps/s")


def masks(worker: Worker, effort: Effort) -> Iterator[Quantity]:
    """The time to make the masks of one agent."""
    gradient = [worker.ask("gradient_mask") for _ in range(effort.mask_rounds)]
    magnitude = [worker.ask("magnitude_mask") for _ in range(1 + effort.mask_rounds)][1:]
    yield Quantity(
        "gradient mask, 100 x 256, once compiled", [sample["compiled"] for sample in gradient], "s", below=3.0
    )
    yield Quantity("  with compilation", [sample["with_compilation"] for sample in gradient], "s")
    yield Quantity("magnitude mask", magnitude, "s", below=0.1)


def _rounds(number: int, *workers: Worker) -> range:
    """The rounds, after a short warm-up that compiles and touches all memory."""
    for worker in workers:
        for work in ("gemm", "update"):
            worker.ask("rate", work=work, seconds=0.05)
    return range(number)


def measure(effort: Effort, console: Console) -> tuple[dict[str, Any], list[Quantity]]:
    """A description of the machine, and all measured quantities."""
    cores = available_cores()
    pinned = hasattr(os, "sched_setaffinity")
    if not pinned:
        console.print("This system has no core affinity: the workers are not pinned, and ratios vary more.")
    with ExitStack() as stack:
        workers = [stack.enter_context(Worker(core if pinned else None)) for core in cores[:2]]
        first = workers[0]
        machine = _describe_machine() | {"pinned": pinned} | first.ask("describe")
        console.print(f"{machine['cpu']}, {machine['cores']} cores; NumPy's BLAS: {machine['blas_kernel']}")
        coretype = machine["openblas_coretype"]
        console.print(
            "OPENBLAS_CORETYPE is not set."
            if coretype is None
            else f"OPENBLAS_CORETYPE={coretype} is set: the GEMM limit is this kernel's, not the processor's."
        )
        parts: dict[str, Callable[[], Iterator[Quantity]]] = {
            "update against GEMM": lambda: update_against_gemm(first, effort),
            "two workers against one": lambda: two_workers_against_one(first, workers[1], effort),
            "tickets against dense": lambda: tickets_against_dense(first, effort),
            "training loop": lambda: training_loop(first, effort),
            "training loops of tickets": lambda: ticket_loops_against_dense(first, effort),
            "masks": lambda: masks(first, effort),
        }
        if len(workers) < 2:
            console.print("There is only one core: two workers can't be measured.")
            del parts["two workers against one"]
        quantities = []
        for name, part in parts.items():
            with console.status(f"measuring: {name}"):
                quantities += list(part())
    return machine, quantities


def table(quantities: list[Quantity]) -> Table:
    """A table with one row per quantity."""
    result = Table()
    result.add_column("quantity", no_wrap=True)
    for column in ("median", "quartiles", "bar", "met"):
        result.add_column(column, justify="right", no_wrap=True)
    for quantity in quantities:
        summary = summarise(quantity.samples)
        unit = f" {quantity.unit}" if quantity.unit else ""
        bar = f"at least {quantity.at_least}" if quantity.at_least is not None else ""
        bar = f"below {quantity.below}{unit}" if quantity.below is not None else bar
        met = {True: "yes", False: "[red]no[/red]", None: ""}[quantity.met]
        quartiles = f"{_digits(summary.lower)} to {_digits(summary.upper)}"
        result.add_row(quantity.name, f"{_digits(summary.median)}{unit}", quartiles, bar, met)
    return result


def _digits(value: float) -> str:
    """Three significant digits, or the whole integer part of a larger number."""
    return f"{value:,.0f}" if value >= 100 else f"{value:#.3g}"


def _describe_machine() -> dict[str, Any]:
    return {
        "cpu": processor_name(),
        "cores": len(available_cores()),
        "system": platform.platform(),
        "python": platform.python_version(),
    }


def main() -> None:
    """Measure, print the table, and write everything to `--out`."""
    parser = argparse.ArgumentParser(description="Speed of rlottery against what this machine allows.")
    parser.add_argument("--out", type=Path, help="write machine, samples and medians to this JSON file")
    parser.add_argument("--rounds", type=int, help="rounds of every ratio (default: 12; training loop: 10)")
    parser.add_argument("--quick", action="store_true", help="a short run that only shows that everything works")
    arguments = parser.parse_args()
    if arguments.rounds is not None and arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    if arguments.out is not None and not arguments.out.parent.is_dir():
        parser.error(f"--out: there is no folder {arguments.out.parent}")
    effort = QUICK if arguments.quick else FULL
    if arguments.rounds is not None:
        effort = replace(effort, rounds=arguments.rounds, loop_rounds=arguments.rounds)

    console = Console()
    if not console.is_terminal:
        console.width = 120
    began = time.monotonic()
    try:
        machine, quantities = measure(effort, console)
    except WorkerError as error:
        raise SystemExit(f"error: {error}") from None
    console.print(table(quantities))
    console.print(f"{time.monotonic() - began:.0f} s; medians and quartiles over rounds.")
    if arguments.out is not None:
        report = {
            "machine": machine,
            "effort": vars(effort),
            "flops_per_update": update_flops(METAWORLD),
            "quantities": [quantity.to_json() for quantity in quantities],
        }
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")
        console.print(f"Written to {arguments.out}")


if __name__ == "__main__":
    main()
