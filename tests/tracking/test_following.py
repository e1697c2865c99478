"""The processes that send metrics while runs are trained, and libraries that fail in them."""

import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from rlottery.config import Tracking
from rlottery.tracking import following, process
from rlottery.tracking.following import Followers
from rlottery.tracking.tracked_run import TrackedRun
from tests.tracking.test_sender import finish, write

STAND_IN = Path(__file__).parent / "stand_in"


@pytest.fixture
def sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[int]]:
    """The steps that the stand-in for Trackio has been given."""
    file = tmp_path / "sent"
    monkeypatch.setenv("STAND_IN_FILE", str(file))
    monkeypatch.syspath_prepend(str(STAND_IN))
    monkeypatch.setattr(following, "FIRST_PAUSE", 0.5)
    monkeypatch.setattr(following, "SILENT_SECONDS", 1e6)

    def steps() -> list[int]:
        lines = [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []
        return [line["step"] for line in lines if "step" in line]

    return steps


def runs_in(data: Path, *seeds: int) -> list[TrackedRun]:
    folders = {seed: data / "runs" / "Task" / f"seed_{seed}" / "dense" for seed in seeds}
    return [TrackedRun(str(folder), "study", "Task", seed, "dense", {}, "") for seed, folder in folders.items()]


def follow(data: Path, runs: Sequence[TrackedRun], said: list[str], is_stopped: bool = False) -> Followers:
    return Followers(Tracking.model_validate("trackio"), data, runs, said.append, lambda: is_stopped)


def test_what_is_written_before_the_end_is_sent(tmp_path: Path, sent: Callable[[], list[int]]) -> None:
    said: list[str] = []
    done, interrupted = runs_in(tmp_path, 0, 1)
    checkpoint = write(done, range(3))
    with follow(tmp_path, [done, interrupted], said) as followers:
        write(done, [3, 4], checkpoint)
        finish(done)
        write(interrupted, range(10, 13))
        followers.look()
    assert sorted(sent()) == [0, 1, 2, 3, 4, 10, 11] and said == []


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("raises", "ConnectionError: no way to http://...@server"),
        ("exits", "SystemExit: 3"),
        ("kills", "its process was killed by SIGKILL"),
        ("hangs", "its library didn't return within 1 seconds"),
    ],
)
def test_a_library_that_fails_is_reported_once_and_tried_again(
    tmp_path: Path, sent: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    (run,) = runs_in(tmp_path, 0)
    write(run, range(3))
    said: list[str] = []
    monkeypatch.setenv("STAND_IN_FAULT", fault)
    if fault == "hangs":
        monkeypatch.setattr(following, "python_command", lambda module: [sys.executable, "-c", SHORT.format(module)])
    with follow(tmp_path, [run], said) as followers:
        deadline = time.monotonic() + 60
        while not said and time.monotonic() < deadline:
            time.sleep(0.05)
            followers.look()
        monkeypatch.delenv("STAND_IN_FAULT")  # for the process that is started now
        while followers._all[0]._process is None:
            followers.look()
        finish(run)
    (line,) = said
    assert line.startswith(f"Trackio doesn't get all metrics: {words}")
    assert (
        f"To send the rest later: rlottery track {tmp_path} --to trackio. Log: {tmp_path}/tracking/trackio.log" in line
    )
    # A process that was killed can't take back what it has recorded: a step may be missing, and none is there twice.
    assert sent() == ([2] if fault in ("kills", "hangs") else [0, 1, 2])


SHORT = "import {0} as process; process.CALL_SECONDS = 1; import sys; process.main(int(sys.argv[1]))"


def test_a_command_that_was_stopped_does_not_wait(
    tmp_path: Path, sent: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    (run,) = runs_in(tmp_path, 0)
    write(run, range(3))
    said: list[str] = []
    monkeypatch.setenv("STAND_IN_FAULT", "hangs")
    monkeypatch.setattr(following, "STOPPED_SECONDS", 0.0)
    with follow(tmp_path, [run], said, is_stopped=True) as followers:
        pass
    assert sent() == [] and not followers._all[0].is_at_work()
    assert said[0].startswith("Trackio doesn't get all metrics: not everything was sent in time.")


def test_what_a_library_prints_goes_to_a_log_of_limited_size(
    tmp_path: Path, sent: Callable[[], list[int]], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (run,) = runs_in(tmp_path, 0)
    write(run, range(3))
    finish(run)
    monkeypatch.setenv("STAND_IN_FAULT", "prints")
    log = tmp_path / "tracking" / "trackio.log"
    log.parent.mkdir()
    log.write_bytes(b"x" * (process.MOST_LOG_BYTES + 1))
    with follow(tmp_path, [run], []):
        pass
    assert sent() == [0, 1, 2] and capfd.readouterr() == ("", "")
    assert log.read_text() == "noise " * 100 + "\n" + ("noise " * 100 + "\n") * 5


def test_no_tracker_starts_no_process(tmp_path: Path) -> None:
    with Followers(Tracking(), tmp_path, [], print) as followers:
        followers.look()
    assert list(tmp_path.iterdir()) == []
