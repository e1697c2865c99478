"""Every number of a report follows from its tables of runs and of untrained policies (`tests.report.recomputed`)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rlottery.config import Config
from rlottery.report.collect import collect
from rlottery.report.page import table_files
from rlottery.storage.disk import write_bytes
from rlottery.storage.paths import Store
from rlottery.storage.untrained_record import UntrainedScores, write_untrained
from tests.analysis.stores import returns, success, write_mask, write_run
from tests.report.recomputed import disagreements

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(path.parent.parent for path in ROOT.glob("results/*/tables/untrained.csv"))
"""The committed studies whose reports have the table of untrained policies."""
SEEDS = range(6)
CONFIG = """\
tasks: [Reacher-v5, Pusher-v5, Pendulum-v1, reach-v3]
seeds: [0, 1, 2, 3, 4, 5]
arms:
  - {name: magnitude-80, criterion: magnitude, sparsity: 0.8}
  - {name: taylor-80, criterion: taylor, sparsity: 0.8}
  - {name: magnitude-90, criterion: magnitude, sparsity: 0.9}
  - {name: taylor-90, criterion: taylor, sparsity: 0.9}
  - {name: random-80, control: random, of: magnitude-80}
  - {name: random-90, control: random, of: magnitude-90}
  - {name: set-90, schedule: {set: {interval: 20}}, sparsity: 0.9}
  - {name: rigl-90, schedule: {rigl: {interval: 20}}, sparsity: 0.9}
training: {env_steps: 300, warmup_steps: 10}
evaluation: {interval: 100, episodes: 4, score_evaluations: 2, untrained_policies: 30}
verdict: {margin: 0.15, resamples: 100}
"""
CONTRASTS = """\
contrasts:
  - rigl-90 > set-90 > taylor-90
  - random-90 vs dense
  - taylor-90 - magnitude-90 > taylor-80 - magnitude-80
  - {claim: taylor-90 > magnitude-90, measure: area}
"""
TASKS: dict[str, tuple[float, float, float, float]] = {
    "Reacher-v5": (-24.0, -5.0, 0.15, 3.0),
    "Pusher-v5": (-57.0, -37.0, 0.004, 4.0),
    "Pendulum-v1": (-1200.0, -1150.0, 0.3, 200.0),
    "reach-v3": (0.0, 1.0, 0.1, 0.05),
}
"""Untrained and dense score, the spread of runs as a share of their difference, and that of untrained policies."""
WORTH = {
    "dense": 1.0,
    "magnitude-80": 0.97,
    "taylor-80": 0.99,
    "random-80": 0.9,
    "magnitude-90": 0.5,
    "taylor-90": 1.0,
    "random-90": 0.6,
    "set-90": 0.8,
    "rigl-90": 1.0,
}


def made_study(folder: Path, contrasts: str = "", untrained: bool = True) -> Path:
    """The tables of a study's report, and its config, as a folder of results has them.

    Of its tasks, one is learned, on one all arms are tied at the maximum, one isn't learned, and one knows success. One
    run has failed, one has diverged, and two are not there.
    """
    config = Config.model_validate(yaml_of(CONFIG + contrasts) | {"data": folder / "data"})
    store, generator = Store(config.data), np.random.default_rng(0)
    for task, (zero, top, spread, scatter) in TASKS.items():
        rows: Callable[..., list[dict[str, Any]]] = success if task == "reach-v3" else returns
        worth = dict.fromkeys(WORTH, 1.0) if task == "Pusher-v5" else WORTH
        for arm, share in worth.items():
            for seed in SEEDS:
                if (arm, seed) in (("rigl-90", 5), ("dense", 4)):
                    continue
                write(store, task, arm, seed, curve(generator, rows, zero, top, share, spread))
        if untrained:
            values = zero + generator.normal(0, scatter, 30)
            is_success = task == "reach-v3"
            values = (values > 0.05) * 1.0 if is_success else values
            successes = values.tolist() if is_success else [None] * 30
            write_untrained(store.untrained(task), task, UntrainedScores({}, 30, values.tolist(), successes, {}))
    for name, data in table_files(collect(store, config)).items():
        write_bytes(folder / name, data)
    write_bytes(folder / "config.yaml", (CONFIG + contrasts).encode())
    return folder


def yaml_of(text: str) -> dict[str, Any]:
    import yaml

    found: dict[str, Any] = yaml.safe_load(text)
    return found


def curve(
    generator: np.random.Generator, rows: Any, zero: float, top: float, share: float, spread: float
) -> list[dict[str, Any]]:
    """Evaluations at four steps that rise from near `zero` to a share of `top`."""
    end = zero + (top - zero) * (share + generator.normal(0, spread))
    values = [zero + generator.uniform(0, 0.1) * (top - zero), (zero + end) / 2, end, end + (top - zero) * 0.01]
    if rows is success:
        return success(*np.round(np.clip(values, 0, 1) * 4) / 4)
    return returns(*values)


def write(store: Store, task: str, arm: str, seed: int, rows: list[dict[str, Any]]) -> None:
    facts: dict[str, Any] = {"seconds": 100.0 + seed}
    if arm.startswith("random"):
        percent = float(arm[-2:]) / 100
        facts["recipe"] = {"control": "random", "of": {"criterion": "magnitude", "sparsity": percent}}
    if arm.startswith(("set", "rigl")):
        facts |= {"recipe": {"schedule": arm[:-3]}, "criterion": arm[:-3]}
    if (task, arm, seed) == ("Reacher-v5", "magnitude-90", 3):
        facts |= {"status": "diverged", "error": "NaN"}
    if (task, arm, seed) == ("Reacher-v5", "random-80", 2):
        facts["error"] = "it crashed"
    write_run(store, arm, seed, rows, task=task, **facts)
    if arm != "dense" and not arm.startswith(("set", "rigl")):
        first = {"magnitude": 0, "taylor": 3, "random": 6}[arm[:-3]]
        write_mask(store.run(task, seed, arm).mask, range(first, first + (2 if arm.endswith("80") else 1)))


@pytest.mark.parametrize(
    ("contrasts", "untrained"), [("", True), (CONTRASTS, False)], ids=["fresh", "of an earlier version"]
)
def test_every_number_of_a_made_study(tmp_path: Path, contrasts: str, untrained: bool) -> None:
    folder = made_study(tmp_path, contrasts, untrained)
    number, wrong = disagreements(folder)
    assert wrong == []
    assert number > 1_000
    table = folder / "tables" / "untrained.csv"
    task, *_ = lines = table.read_text().splitlines()
    table.write_text("\n".join(line for line in lines if line == task or not line.startswith("Reacher-v5,fresh,7,")))
    assert untrained == any(" normalised: published" in line for line in disagreements(folder)[1])


@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_every_number_of_a_published_study(folder: Path) -> None:
    number, wrong = disagreements(folder)
    assert wrong == []
    assert number > 100
