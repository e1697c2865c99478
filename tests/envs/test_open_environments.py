import math
import os
import sys
from pathlib import Path
from threading import Event
from typing import Any, NoReturn

import gymnasium
import numpy as np
import pytest

from rlottery.envs import OpenEnvironments, make_closed, open_environments
from rlottery.envs.environment import make
from rlottery.errors import TaskError
from tests.environments import Target

CLOSED: list[object] = []


class Closing(Target):
    """Closes as `how` says, and is made in another folder."""

    def __init__(self, how: str = "well", folder: str | None = None):
        super().__init__()
        self._how = how
        if folder:
            os.chdir(folder)

    def close(self) -> None:
        CLOSED.append(self._how)
        if self._how == "fails":
            raise RuntimeError("not connected")
        if self._how == "leaves":
            sys.exit(0)


TASK = "rlottery-tests/Closing-v0"


@pytest.fixture(autouse=True)
def _registered() -> Any:
    CLOSED.clear()
    gymnasium.register(TASK, Closing)
    yield
    del gymnasium.registry[TASK]


def test_all_are_closed_whatever_happens_and_troubles_are_lines(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="joint 3"), OpenEnvironments() as environments:
        for how in ("well", "fails", "leaves"):
            environments.make(TASK, {"how": how})
        raise ValueError("joint 3")
    assert CLOSED == ["leaves", "fails", "well"]
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(
        f"An environment of {TASK} was not closed: close() tried to end the process with sys.exit(0)"
    )
    assert second == f"An environment of {TASK} was not closed: RuntimeError: not connected"


@pytest.mark.parametrize("method", ["__init__", "reset", "step"])
def test_a_call_that_does_not_return_is_reported(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    messages: list[str] = []
    reported = Event()

    def hang(self: Closing, *arguments: Any, **options: Any) -> NoReturn:
        assert reported.wait(600)
        raise RuntimeError("enough")

    def hung(message: str) -> None:
        messages.append(message)
        reported.set()

    monkeypatch.setattr(Closing, method, hang)
    monkeypatch.setattr(open_environments, "HUNG_SECONDS", 0.06)
    monkeypatch.setattr(open_environments, "LOOK_SECONDS", 0.01)
    with pytest.raises((RuntimeError, TaskError), match="enough"), OpenEnvironments(hung) as environments:
        environment = environments.make(TASK)
        environment.reset(0)
        environment.step(np.zeros(1))
    # On a busy machine the other calls take that long too.
    assert set(messages) == {f"The environment of {TASK} has not returned from a call for 0 minutes."}


class Watched(OpenEnvironments):
    """Looks once for each text, while a call is in progress that began at its place among the first texts."""

    def __init__(self, calls: str):
        super().__init__()
        self._making, self.calls, self.messages = ("", math.inf), list(calls), list[str]()
        self._over = self  # type: ignore[assignment]

    def wait(self, seconds: float) -> bool:
        """In place of the event's: the time between two looks, however long the process was suspended."""
        call = self.calls.pop(0) if self.calls else ""
        self._making = TASK, float(ord(call)) if call.strip() else math.inf
        return not call

    def watch(self) -> int:
        """The number of messages."""
        self._watch(self.messages.append)
        return len(self.messages)


def test_looks_at_the_same_call_count_and_not_the_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(open_environments, "HUNG_SECONDS", 30.0)  # three looks and one more; all began long ago
    assert Watched("aaabbb ccc ").watch() == 0
    assert Watched("aaa aaabbbb").watch() == 1


def test_one_for_its_sizes_is_closed_and_changes_no_folder(tmp_path: Path) -> None:
    before = Path.cwd()
    assert make_closed(TASK, {"folder": str(tmp_path)}).observation_size == 2
    assert CLOSED == ["well"] and Path.cwd() == before


def test_a_constructor_that_ends_the_process_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Closing, "__init__", lambda self: sys.exit(1))
    with pytest.raises(TaskError, match=rf"^Task '{TASK}' tried to end the process with sys.exit\(1\) in "):
        make(TASK)
