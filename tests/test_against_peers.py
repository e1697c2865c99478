"""The benchmark against other libraries, with processes whose speed is known. What it times is no matter for a test."""

import csv
import io
import os
import sys
from itertools import chain
from pathlib import Path
from typing import Any

import pytest

from benchmarks.against_peers import (
    LOOP_STEPS,
    LOOP_TICKET,
    PEERS,
    PEERS_FOLDER,
    Peer,
    PeerProcess,
    measure,
    missing,
)
from benchmarks.flops import METAWORLD, update_flops
from benchmarks.peer_samples import ANCESTORS_MASKS, OURS, Sample, chosen, ticket_curves, to_csv, to_markdown
from benchmarks.peers_figure import draw
from benchmarks.speed import GEMM_FLOPS
from benchmarks.worker import Worker
from rlottery.study.execution.cores import available_cores

FLOPS = sum(update_flops(METAWORLD).values())
VERSIONS = {OURS: {"jax": "1.2"}, "SBX": {"sbx-rl": "3.4", "jax": "5.6"}}


class FakeWorker(Worker):
    """Replies with rates by work. Every turn is half as fast as the one before of the same work: a slowing machine."""

    def __init__(self, rates: dict[str, float], asked: list[str]):
        self.rates, self.asked = rates, asked
        self.slowness = dict.fromkeys(rates, 1.0)

    def ask(self, workload: str, **arguments: Any) -> Any:
        work = f"{workload} {arguments.get('work', '')}".strip()
        self.asked.append(work)
        rate = self.rates[work] * self.slowness[work]
        if workload == "loop":
            assert arguments["steps"] == LOOP_STEPS
            self.slowness[work] /= 2
            return {"loop": rate}
        if work != "rate gemm":
            self.slowness[work] /= 2
        return rate


def samples_of(ratios: list[float], quantity: str, what: str, limit_share: float | None = None) -> list[Sample]:
    return [Sample(quantity, what, turn, 100 * ratio, ratio, limit_share) for turn, ratio in enumerate(ratios)]


TWO_LIBRARIES = [
    *samples_of([1.0, 1.0, 1.0], "update", OURS, 0.75),
    *samples_of([0.4, 0.6, 0.5], "update", "SBX", 0.375),
    *samples_of([1.0, 1.0, 1.0], "loop", OURS),
    *samples_of([0.2, 0.3, 0.1], "loop", "SBX"),
]
TICKETS = [
    *samples_of([1.0, 1.0, 1.0], "ticket", "dense"),
    *samples_of([1.0, 2.0, 3.0], "ticket", "uniform:0.5"),
    *samples_of([6.0, 2.0, 4.0], "ticket", "uniform:0.95"),
    *samples_of([3.0, 3.0, 3.0], "ticket", "global:0.95"),
    *samples_of([0.9, 0.9, 0.9], "ticket", ANCESTORS_MASKS),
    *samples_of([5.0, 5.0, 5.0], "loop", "uniform:0.95"),
]


def test_ratios_are_taken_within_a_round() -> None:
    asked: list[str] = []
    ours = FakeWorker({"rate gemm": 1e3, "rate update_with_sampling": 80.0, "loop update": 40.0}, asked)
    other = FakeWorker({"rate update": 20.0, "loop": 30.0}, asked)
    samples = list(chain(*measure(ours, {"other": other}, rounds=3, tickets=False)))
    assert [sample.ratio for sample in chosen(samples, "update", "other")] == [0.25] * 3
    assert [sample.ratio for sample in chosen(samples, "loop", "other")] == [0.75] * 3
    assert [sample.rate for sample in chosen(samples, "loop", "other")] == [30.0, 15.0, 7.5]
    first = chosen(samples, "update", OURS)[0]
    assert first.rate == 40.0  # the first turn of all is thrown away
    assert first.limit_share == pytest.approx(40.0 * FLOPS / (1e3 * GEMM_FLOPS))


def test_no_library_is_always_first() -> None:
    asked: list[str] = []
    ours = FakeWorker({"rate gemm": 1e3, "rate update_with_sampling": 80.0, "loop update": 40.0}, asked)
    other = FakeWorker({"rate update": 20.0, "loop": 30.0}, asked)
    assert len(list(measure(ours, {"other": other}, rounds=2, tickets=False))) == 2
    updates = [work for work in asked if "update" in work and "loop" not in work][2:]
    assert updates == ["rate update_with_sampling", "rate update", "rate update", "rate update_with_sampling"]


def test_tickets_are_held_against_dense_updates_and_the_ancestors_against_its_own() -> None:
    class Any80(dict[str, float]):
        def __missing__(self, work: str) -> float:
            return 80.0

    class Steady(FakeWorker):
        def ask(self, workload: str, **arguments: Any) -> Any:
            rate = self.rates[f"{workload} {arguments.get('work', '')}".strip()]
            return {"loop": rate} if workload == "loop" else rate

    ours = Steady(Any80({"rate ticket:uniform:0.9": 240.0, f"loop ticket:{LOOP_TICKET}": 320.0}), [])
    ancestor = Steady({"rate update": 10.0, "rate masked_update": 9.0, "loop": 5.0}, [])
    (samples,) = measure(ours, {PEERS["ancestor"].title: ancestor}, rounds=1, tickets=True)
    assert chosen(samples, "ticket", "uniform:0.9")[0].ratio == 3.0
    assert chosen(samples, "ticket", "global:0.5")[0].ratio == 1.0
    assert chosen(samples, "ticket", ANCESTORS_MASKS)[0].ratio == 0.9
    assert chosen(samples, "loop", LOOP_TICKET)[0].ratio == 4.0


def test_curves_are_medians_over_sparsity_of_our_masks_alone() -> None:
    curves = ticket_curves(TICKETS)
    assert {name: list(curve) for name, curve in curves.items()} == {"uniform": [0.5, 0.95], "global": [0.95]}
    assert curves["uniform"][0.95] == (4.0, 3.0, 5.0)


def test_csv_has_a_line_a_sample() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(TWO_LIBRARIES))))
    assert len(rows) == len(TWO_LIBRARIES)
    assert rows[4] == {
        "quantity": "update", "what": "SBX", "round": "1", "rate": "60", "ratio": "0.6", "limit_share": "0.375"
    }  # fmt: skip
    assert rows[-1]["limit_share"] == ""


def test_page_of_libraries() -> None:
    page = to_markdown(TWO_LIBRARIES, "Some CPU", VERSIONS)
    assert "One core of Some CPU; medians over rounds (n = 3), quartiles in brackets." in page
    assert "- SBX: sbx-rl 3.4, jax 5.6" in page
    assert "| rlottery | 100 (100 to 100) | 1 | 0.75 (0.75 to 0.75) | 100 (100 to 100) | 1 |" in page
    assert (
        "| SBX | 50 (45 to 55) | 0.50 (0.45 to 0.55) | 0.38 (0.38 to 0.38) | 20 (15 to 25) | 0.20 (0.15 to 0.25) |"
        in (page)
    )
    assert "Tickets" not in page


def test_page_of_tickets() -> None:
    lines = to_markdown([*TWO_LIBRARIES, *TICKETS], "Some CPU", VERSIONS).splitlines()
    dense = next(number for number, line in enumerate(lines) if line.startswith("| dense"))
    assert lines[dense] == "| dense | 100 (100 to 100) | 1 | 100 (100 to 100) | 1 |"
    assert [line.split(" | ")[0] for line in lines[dense + 1 :]] == [
        "| uniform, 50%",
        "| uniform, 95%",
        "| global, 95%",
        "| ancestor's masks, 95%",
    ]
    assert lines[dense + 2].endswith("| 4.00 (3.00 to 5.00) | 500 (500 to 500) | 5.00 (5.00 to 5.00) |")


@pytest.mark.parametrize("samples", [TWO_LIBRARIES, [*TWO_LIBRARIES, *TICKETS]], ids=["libraries", "both"])
def test_figure(samples: list[Sample], tmp_path: Path) -> None:
    draw(samples, tmp_path / "peers.png")
    assert (tmp_path / "peers.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "peers.svg").read_text()
    assert "<svg" in drawn and "<dc:date>" not in drawn


def test_why_a_peer_is_left_out(tmp_path: Path) -> None:
    assert "--install creates it" in str(missing(tmp_path, "sb3", None))
    for name in ("sb3", "ancestor"):
        (tmp_path / name / "bin").mkdir(parents=True)
        (tmp_path / name / "bin" / "python").touch()
    assert missing(tmp_path, "sb3", None) is None
    assert "--ancestor" in str(missing(tmp_path, "ancestor", None))
    assert missing(tmp_path, "ancestor", tmp_path) is None


@pytest.mark.parametrize("name", PEERS)
def test_requirements_are_exact_and_say_how_to_install_them(name: str) -> None:
    path = PEERS_FOLDER / f"requirements-{name}.txt"
    command, *lines = path.read_text().splitlines()
    assert command.startswith(f"# python -m venv {name} && ")
    assert command.endswith(f"{name}/bin/pip install -r benchmarks/peers/{path.name}")
    assert ("pip install torch==" in command) == PEERS[name].needs_torch
    assert all(line.startswith("#") or line.count("==") == 1 for line in lines)
    assert {"metaworld==3.1.1", "mujoco==3.3.0"} <= set(lines)


def test_a_peers_process(tmp_path: Path) -> None:
    (tmp_path / "sleeper.py").write_text(
        """
import time
print("not a reply")

class Peer:
    def __init__(self, environment, transitions):
        assert len(transitions.observations) == 25_000
        self.environment, self.trained = environment, []

    def update(self):
        time.sleep(0.001)

    def train(self, steps):
        self.trained.append(steps)
        print("nor this")
        self.environment.reset(seed=0)
        for step in range(steps):
            _, _, terminated, truncated, _ = self.environment.step(self.environment.action_space.sample())
            assert (terminated, truncated) == (False, step == 499)
"""
    )
    core = available_cores()[0]
    with PeerProcess(Path(sys.prefix), Peer("sleeper", "sleeper"), core, tmp_path) as process:
        assert 0 < process.ask("rate", work="update", seconds=0.05) <= 1000
        assert process.ask("loop", steps=20)["loop"] > 0
        assert "numpy" in process.ask("versions")
        if hasattr(os, "sched_getaffinity"):
            assert os.sched_getaffinity(process._process.pid) == {core}
