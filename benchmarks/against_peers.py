"""Compares rlottery's speed with other SAC implementations, and measures its tickets by sparsity.

    uv run python -m benchmarks.against_peers --environments FOLDER --install
    uv run python -m benchmarks.against_peers --environments FOLDER --ancestor CLONE

On one core, with the same networks, batch size and replay ratio. Every round measures in turn each library's update
including the sampling of its batch, each library's training loop, our tickets, and the matrix product that is the
limit. The result is the median over rounds of the ratios within a round. benchmarks/peers/README.md describes what is
equal and what is not.
Writes peers.csv, peers.md, peers.png and peers.svg into benchmarks/results.
"""

import argparse
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from benchmarks.flops import METAWORLD, update_flops
from benchmarks.machine import processor_name
from benchmarks.peer_samples import ANCESTORS_DENSE, ANCESTORS_MASKS, OURS, Sample, to_csv, to_markdown
from benchmarks.peers_figure import draw
from benchmarks.ratios import harmonic_mean, share_of_limit
from benchmarks.speed import GEMM_FLOPS
from benchmarks.worker import Worker, WorkerError
from rlottery.storage.disk import write_bytes

RESULTS = Path(__file__).parent / "results"
PEERS_FOLDER = Path(__file__).parent / "peers"
SECONDS = 1.0
"""Length of each measurement of updates."""
LOOP_STEPS = 500
"""Length of each measurement of a training loop: one episode, with one reset."""
TORCH = "torch==2.13.0"
ALLOCATIONS = ("uniform", "global")
SPARSITIES = (0.5, 0.8, 0.9, 0.95, 0.98)
LOOP_TICKET = "uniform:0.95"
"""The ticket whose training loop is also timed."""
TICKETS = "tickets"


@dataclass(frozen=True)
class Peer:
    """Another implementation of SAC.

    Attributes:
        title: its name in tables and figures.
        module: the module that serve.py times.
        needs_torch: install PyTorch before its requirements.
    """

    title: str
    module: str
    needs_torch: bool = True


PEERS = {
    "sb3": Peer("Stable-Baselines3", "time_sb3"),
    "sbx": Peer("SBX", "time_sbx"),
    "torch": Peer("PyTorch, CleanRL style", "time_torch_sac"),
    "ancestor": Peer("ancestor", "time_ancestor", needs_torch=False),
}
"""By the name of the environment's folder and requirements file."""


class PeerProcess(Worker):
    """A peer's process, in the peer's environment, used like a worker."""

    def __init__(self, environment: Path, peer: Peer, core: int, checkout: Path | None):
        command = [_python(environment), str(PEERS_FOLDER / "serve.py"), peer.module, "--core", str(core)]
        if checkout is not None:
            command += ["--checkout", str(checkout)]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={name: value for name, value in os.environ.items() if name != "PYTHONPATH"},
        )


def install(environments: Path, name: str) -> None:
    """Create the environment of a peer, or update it to its requirements."""
    environment = environments / name
    subprocess.run([sys.executable, "-m", "venv", environment], check=True)
    pip = [_python(environment), "-m", "pip", "install"]
    if PEERS[name].needs_torch:
        subprocess.run([*pip, TORCH], check=True)
    subprocess.run([*pip, "-r", str(PEERS_FOLDER / f"requirements-{name}.txt")], check=True)


def missing(environments: Path, name: str, ancestor: Path | None) -> str | None:
    """Why a peer can't be timed, or None."""
    if not Path(_python(environments / name)).exists():
        return f"it has no environment {environments / name}; --install creates it"
    if name == "ancestor" and ancestor is None:
        return "its code is not part of this repository; give a clone of it with --ancestor"
    return None


def measure(ours: Worker, peers: Mapping[str, Worker], rounds: int, tickets: bool) -> Iterator[list[Sample]]:
    """Measure everything, and yield the samples of each round.

    Args:
        peers: by title.
        tickets: also measure tickets.
    """
    ancestor = PEERS["ancestor"].title
    gemm = _rate(ours, "gemm", SECONDS / 2)
    updates = {OURS: _rate(ours, "update_with_sampling")} | {name: _rate(peers[name], "update") for name in peers}
    loops = {OURS: _loop(ours, work="update")} | {name: _loop(peers[name]) for name in peers}
    ticket_updates: dict[str, Callable[[], float]] = {}
    if tickets:
        loops[LOOP_TICKET] = _loop(ours, work=f"ticket:{LOOP_TICKET}")
        ticket_updates["dense"] = _rate(ours, "update")
        for name in (f"{allocation}:{sparsity}" for allocation in ALLOCATIONS for sparsity in SPARSITIES):
            ticket_updates[name] = _rate(ours, f"ticket:{name}")
        if ancestor in peers:
            ticket_updates[ANCESTORS_DENSE] = _rate(peers[ancestor], "update")
            ticket_updates[ANCESTORS_MASKS] = _rate(peers[ancestor], "masked_update")

    for timed in (*updates.values(), *ticket_updates.values()):
        timed()  # compiled, and every page touched
    flops = sum(update_flops(METAWORLD).values())
    for turn in range(rounds):
        samples = []
        before = gemm()
        rates = _by_turns(updates, turn)
        limit = GEMM_FLOPS * harmonic_mean(before, gemm())
        for name, rate in rates.items():
            samples.append(Sample("update", name, turn, rate, rate / rates[OURS], share_of_limit(rate, flops, limit)))
        looped = _by_turns(loops, turn)
        samples += [Sample("loop", name, turn, rate, rate / looped[OURS]) for name, rate in looped.items()]
        pruned = _by_turns(ticket_updates, turn)
        for name, rate in pruned.items():
            dense = ANCESTORS_DENSE if name in (ANCESTORS_DENSE, ANCESTORS_MASKS) else "dense"
            samples.append(Sample("ticket", name, turn, rate, rate / pruned[dense]))
        yield samples


def write(samples: list[Sample], versions: Mapping[str, Mapping[str, str]], folder: Path) -> None:
    """Write the results so far, so that an interrupted run keeps them."""
    write_bytes(folder / "peers.csv", to_csv(samples).encode())
    write_bytes(folder / "peers.md", to_markdown(samples, processor_name(), versions).encode())
    draw(samples, folder / "peers.png")


def _rate(process: Worker, work: str, seconds: float = SECONDS) -> Callable[[], float]:
    """A function that measures updates, or other `work`, per second."""
    return lambda: float(process.ask("rate", work=work, seconds=seconds))


def _loop(process: Worker, **arguments: str) -> Callable[[], float]:
    """A function that measures environment steps per second of a training loop."""
    return lambda: float(process.ask("loop", steps=LOOP_STEPS, **arguments)["loop"])


def _by_turns(timed: Mapping[str, Callable[[], float]], turn: int) -> dict[str, float]:
    """One rate each. Each round starts with another one, so that none is always first."""
    names = list(timed)
    start = turn % max(1, len(names))
    return {name: timed[name]() for name in names[start:] + names[:start]}


def _python(environment: Path) -> str:
    return str(environment / "bin" / "python")


def main() -> None:
    """Install, or measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--environments", type=Path, required=True, help="the folder with one environment per peer")
    parser.add_argument("--install", action="store_true", help="make the environments, and stop")
    parser.add_argument("--ancestor", type=Path, help="a clone of the ancestor")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", nargs="+", choices=[*PEERS, TICKETS], help="measure only these (and ours)")
    parser.add_argument("--out", type=Path, default=RESULTS, help="the folder to write to")
    arguments = parser.parse_args()
    if arguments.rounds < 1:
        parser.error("--rounds must be at least 1")
    chosen = arguments.only or [*PEERS, TICKETS]
    names = [name for name in PEERS if name in chosen]
    if arguments.install:
        for name in names:
            install(arguments.environments, name)
        return
    try:
        with ExitStack() as stack:
            ours = stack.enter_context(Worker(arguments.core))
            peers: dict[str, Worker] = {}
            versions = {OURS: ours.ask("describe")["versions"]}
            for name in names:
                title = PEERS[name].title
                if (why := missing(arguments.environments, name, arguments.ancestor)) is not None:
                    print(f"{title} is skipped: {why}.")
                    continue
                checkout = arguments.ancestor if name == "ancestor" else None
                process = PeerProcess(arguments.environments / name, PEERS[name], arguments.core, checkout)
                peers[title] = stack.enter_context(process)
                versions[title] = peers[title].ask("versions")
            samples: list[Sample] = []
            for of_round in measure(ours, peers, arguments.rounds, TICKETS in chosen):
                samples += of_round
                write(samples, versions, arguments.out)
                print(f"round {of_round[0].round + 1} of {arguments.rounds}", flush=True)
    except WorkerError as error:
        raise SystemExit(f"error: {error}") from None
    print((arguments.out / "peers.md").read_text())


if __name__ == "__main__":
    main()
