"""Runs that were interrupted and continued, at the real trackers: each step once, with its values.

Weights & Biases is tried offline, MLflow and Trackio with a database on this machine. A server was not tried.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from rlottery.tracking.tracked_run import TrackedRun
from tests.peer_environments import CHECKOUT, peer_python, run_peer
from tests.tracking.test_sender import finish, write

STEPS = [*range(0, 900, 100)]


@pytest.fixture(scope="session")
def trackers_python() -> Path:
    """A Python with Weights & Biases, MLflow and Trackio."""
    return peer_python("trackers")


def interrupt_and_continue(python: Path, tracker: str, settings: dict[str, Any], folder: Path) -> None:
    """Send a run in two sessions. The second one continues from a checkpoint before what the first one has sent."""
    sac = {"discount": 0.99, "batch_size": 256}
    run = TrackedRun(str(folder / "run"), "a study", "Task", 0, "dense", {"seed": 0, "sac": sac}, "x")

    def send() -> None:
        plain = json.dumps(settings), json.dumps(run.to_json())
        run_peer(python, "send_run.py", CHECKOUT, tracker, *plain, folder / "tracking")

    checkpoint = write(run, STEPS[:3])
    write(run, STEPS[3:6], checkpoint)
    send()
    write(run, STEPS[3:], checkpoint)
    finish(run)
    send()


def is_complete(values: dict[str, list[list[float]]]) -> bool:
    """Whether there are all steps of `write`, each once, with their values."""
    return values["losses/critic_loss"] == [[step, 0.5 * step] for step in STEPS] and values["evaluation/return"] == [
        [step, -1.0 * step] for step in STEPS
    ]


def test_weights_and_biases_offline(trackers_python: Path, tmp_path: Path) -> None:
    interrupt_and_continue(trackers_python, "wandb", {"mode": "offline", "tags": ["a"]}, tmp_path)
    found = json.loads(run_peer(trackers_python, "wandb_steps.py", tmp_path / "tracking"))
    ((key, steps),) = found.items()
    assert len(key) == 12 and len(list((tmp_path / "tracking" / "wandb").glob("offline-run-*"))) == 2
    names = {name for _, values in steps for name in values}
    assert is_complete({name: [[step, values[name]] for step, values in steps if name in values] for name in names})


def test_mlflow_in_a_local_database(trackers_python: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    interrupt_and_continue(trackers_python, "mlflow", {"uri": uri, "experiment": "tickets"}, tmp_path)
    ((experiment, params, values, status, tags),) = [
        run for run in json.loads(run_peer(trackers_python, "tracked.py", "mlflow", uri)) if run[2]
    ]
    assert experiment == "tickets" and status == "FINISHED" and is_complete(values)
    assert params == {"seed": "0", "sac.discount": "0.99", "sac.batch_size": "256"}
    assert (tags["arm"], tags["status"], tags["seconds"]) == ("dense", "done", "2.5")


def test_trackio_on_this_machine(trackers_python: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    interrupt_and_continue(trackers_python, "trackio", {"project": "tickets"}, tmp_path)
    ((run, config, values),) = json.loads(run_peer(trackers_python, "tracked.py", "trackio", "tickets"))
    assert run.startswith("Task seed 0 dense ") and is_complete(values)
    assert config["sac"] == {"discount": 0.99, "batch_size": 256}
