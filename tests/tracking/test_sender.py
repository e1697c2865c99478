"""Each step is sent once, whatever is interrupted, whoever sends it."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from rlottery.storage.manifests import MANIFEST_FORMAT, write_manifest
from rlottery.storage.metrics_log import MetricsLog, Position
from rlottery.tracking.sender import BATCH, Sender
from rlottery.tracking.steps import Step
from rlottery.tracking.tracked_run import TrackedRun, flat


class Tracker:
    """What is at a tracker, whichever process has sent it."""

    def __init__(self) -> None:
        self.runs: dict[str, list[Step]] = {}
        self.ends: list[str] = []

    def steps(self) -> list[list[int]]:
        return [[step.env_steps for step in steps] for steps in self.runs.values()]


class Session:
    """A sink of one process (`Sink`). `fails_at`: the step that can't be sent."""

    destination: Mapping[str, Any] = {"project": "p"}

    def __init__(self, tracker: Tracker, *, knows: bool = False, fails_at: int | None = None):
        self.tracker, self.knows, self.fails_at = tracker, knows, fails_at
        self.open: set[str] = set()

    def begin(self, run: TrackedRun, key: str) -> int | None:
        assert key not in self.open
        self.open.add(key)
        steps = self.tracker.runs.setdefault(key, [])
        return (steps[-1].env_steps if steps else -1) if self.knows else None

    def log(self, key: str, steps: Sequence[Step]) -> None:
        assert key in self.open and steps
        if self.fails_at in [step.env_steps for step in steps]:
            raise ConnectionError("gone")
        self.tracker.runs[key] += steps

    def end(self, key: str, status: str, facts: Mapping[str, Any]) -> None:
        self.open.remove(key)
        self.tracker.ends.append(status)


@pytest.fixture
def run(tmp_path: Path) -> TrackedRun:
    return TrackedRun(str(tmp_path / "run"), "study", "Task", 0, "dense", {"sac": {"discount": 0.99}}, "made of")


def write(run: TrackedRun, steps: Sequence[int], resume: Position | None = None) -> Position:
    """Add rows to the run's log: at each step losses, and at every second an evaluation."""
    with MetricsLog(run.files.metrics, run.files.tensorboard, resume) as log:
        for step in steps:
            log.write({"kind": "losses", "env_steps": step, "critic_loss": 0.5 * step, "updates_per_second": 1.0})
            if step % 2 == 0:
                row = {"kind": "evaluation", "env_steps": step, "return": -1.0 * step, "lengths": [1, 2]}
                log.write(row | {"returns": [-1.0 * step], "seconds": 0.1})
        return log.position()


def finish(run: TrackedRun, status: str = "done") -> None:
    head: Any = {"format_version": MANIFEST_FORMAT, "status": status, "fingerprint": {}, "files": {}}
    write_manifest(run.files, head | {"seconds": 2.5})


def test_a_step_is_complete_once_a_later_one_is_there_or_the_run_is_done(run: TrackedRun) -> None:
    tracker = Tracker()
    sender = Sender("wandb", Session(tracker))
    assert not sender.send(run) and tracker.runs == {}
    position = write(run, [1])
    assert not sender.send(run) and tracker.steps() == []
    write(run, [2], position)
    assert not sender.send(run) and tracker.steps() == [[1]]
    finish(run)
    assert sender.send(run) and tracker.steps() == [[1, 2]] and tracker.ends == ["done"]
    (steps,) = tracker.runs.values()
    assert steps[1].values == {
        "losses/critic_loss": 1.0,
        "losses/updates_per_second": 1.0,
        "evaluation/return": -2.0,
        "evaluation/length": 1.5,
        "evaluation/seconds": 0.1,
    }
    assert sender.send(run) and Sender("wandb", Session(tracker)).send(run)
    assert tracker.steps() == [[1, 2]] and tracker.ends == ["done"]


@pytest.mark.parametrize("knows", [False, True])
def test_a_run_that_continues_from_a_checkpoint_goes_on_in_the_same_run(run: TrackedRun, knows: bool) -> None:
    tracker = Tracker()
    first = Sender("wandb", Session(tracker, knows=knows))
    checkpoint = write(run, range(4))
    first.send(run)
    write(run, range(4, 9), checkpoint)
    first.send(run)
    assert tracker.steps() == [[*range(8)]]
    first.close()  # the command was stopped
    write(run, range(4, 6), checkpoint)  # and continues: what was sent already is made again
    for sender in (first, Sender("wandb", Session(tracker, knows=knows))):
        sender.send(run)
        assert tracker.steps() == [[*range(8)]]
    again = Sender("wandb", Session(tracker, knows=knows))
    again.send(run)
    write(run, range(4, 20), checkpoint)
    finish(run)
    assert again.send(run) and tracker.steps() == [[*range(20)]]
    assert tracker.ends == ["interrupted", "done"]


def test_a_failure_is_made_up_for_later(run: TrackedRun) -> None:
    tracker = Tracker()
    write(run, range(2 * BATCH))
    with pytest.raises(ConnectionError):
        Sender("wandb", Session(tracker, fails_at=BATCH + 3)).send(run)
    assert tracker.steps() == [[*range(BATCH)]]
    finish(run)
    assert Sender("wandb", Session(tracker)).send(run)
    assert tracker.steps() == [[*range(2 * BATCH)]]


def test_a_tracker_that_lost_steps_gets_them_again(run: TrackedRun) -> None:
    tracker = Tracker()
    write(run, range(9))
    Sender("mlflow", Session(tracker, knows=True)).send(run)
    for steps in tracker.runs.values():
        del steps[3:]  # they were on their way when the machine went down
    finish(run)
    assert Sender("mlflow", Session(tracker, knows=True)).send(run)
    assert tracker.steps() == [[*range(9)]]


def test_other_settings_and_other_destinations_are_other_runs(run: TrackedRun) -> None:
    tracker = Tracker()
    write(run, range(3))
    Sender("wandb", Session(tracker)).send(run)
    other = TrackedRun(**{**run.to_json(), "made_from": "another learning rate"})
    Sender("wandb", Session(tracker)).send(other)
    elsewhere = Session(tracker)
    elsewhere.destination = {"project": "q"}
    Sender("wandb", elsewhere).send(other)
    assert tracker.steps() == [[0, 1], [0, 1], [0, 1]]


def test_a_run_that_failed_may_continue(run: TrackedRun) -> None:
    tracker = Tracker()
    checkpoint = write(run, range(4))
    finish(run, "failed")
    sender = Sender("wandb", Session(tracker))
    assert not sender.send(run) and not sender.send(run)
    assert tracker.steps() == [[0, 1, 2]] and tracker.ends == ["failed"]
    run.files.manifest.unlink()
    write(run, [4, 5], checkpoint)
    finish(run, "diverged")
    assert sender.send(run) and tracker.steps() == [[*range(6)]] and tracker.ends == ["failed", "diverged"]


def test_a_log_that_is_none_is_an_error_and_not_sent(run: TrackedRun) -> None:
    run.files.folder.mkdir()
    for text in ("[1]\n", "x\n", json.dumps({"kind": 1, "env_steps": 0}) + "\n", '{"kind": "losses"}\n'):
        run.files.metrics.write_text(text)
        with pytest.raises(ValueError):
            Sender("wandb", Session(Tracker())).send(run)


def test_a_damaged_record_begins_another_run(run: TrackedRun) -> None:
    tracker = Tracker()
    write(run, range(3))
    Sender("wandb", Session(tracker)).send(run)
    (record,) = run.files.tracking.glob("*.json")
    record.write_text('{"key": "../../x"}')
    Sender("wandb", Session(tracker)).send(run)
    assert len(tracker.runs) == 2 and all(len(key) == 12 for key in tracker.runs)


def test_flat() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": [2]}, "e": None}) == {"a.b.c": 1, "a.d": [2], "e": None}
