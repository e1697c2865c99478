"""What a library that the user allows does in its own process: here Python itself, which unpickles code of the test."""

import base64
import json
import os
import pickle
import sys
import time
import zipfile
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest

from rlottery.errors import ConfigError, ForeignFileError
from rlottery.interop import library
from rlottery.interop.library import Library
from rlottery.interop.read_agent import read_agent
from rlottery.interop.replay import read_replay
from rlottery.interop.sb3_archive import Settings
from rlottery.interop.sb3_settings import action_noise

PYTHON = Path(sys.executable)
AGENT = Path(__file__).parent.parent / "fixtures" / "sb3" / "agent.zip"


class Calls:
    """Pickles as a program, which its reader executes."""

    def __init__(self, program: str) -> None:
        self.program = program

    def __reduce__(self) -> Any:
        return exec, (self.program,)


def pickled(folder: Path, value: object) -> Path:
    path = folder / "replay.pkl"
    path.write_bytes(cloudpickle.dumps(value))
    return path


def buffer_of_a_class_of_its_own(**changed: Any) -> object:
    """A buffer whose class is pickled with it, as cloudpickle does for classes of a script."""

    class ReplayBuffer:
        pass

    class OwnBuffer(ReplayBuffer):
        pass

    found = OwnBuffer()
    vars(found).update({"buffer_size": 10, "pos": 4, "full": False, "handle_timeout_termination": True})
    random = np.random.default_rng(0)
    for name, entries in {"observations": 3, "next_observations": 3, "actions": 1}.items():
        vars(found)[name] = random.uniform(-1, 1, (10, 2, entries)).astype(np.float32)
    for name in ("rewards", "dones", "timeouts"):
        vars(found)[name] = (random.uniform(size=(10, 2)) < 0.5).astype(np.float32)
    vars(found).update(changed)
    return found


def read(file: Path, python: Path | None = PYTHON) -> Any:
    return read_replay(file, 3, 1, discrete=False, library=None if python is None else Library(python))


def test_a_replay_is_read_by_executing_it_only_if_that_is_allowed(tmp_path: Path) -> None:
    buffer: Any = buffer_of_a_class_of_its_own()
    file = pickled(tmp_path, buffer)
    with pytest.raises(ForeignFileError, match=r"not executed.*--library-python PYTHON"):
        read(file, None)
    found = read(file).transitions
    for row, (step, environment) in enumerate((step, environment) for step in range(4) for environment in range(2)):
        np.testing.assert_array_equal(found.observations[row], buffer.observations[step, environment])
        ended = buffer.dones[step, environment] and not buffer.timeouts[step, environment]
        assert found.terminations[row] == ended and found.rewards[row] == buffer.rewards[step, environment]
    assert len(found.rewards) == 8


def test_what_it_answers_is_checked(tmp_path: Path) -> None:
    for changed, why in (
        ({"observations": np.zeros((10, 2, 4), np.float32)}, "observations have 4 entries"),
        ({"observations": np.array([[{}] * 2] * 10)}, "no array of numbers|no answer"),
        ({"pos": "x"}, "how full it is"),
    ):
        with pytest.raises(ForeignFileError, match=why):
            read(pickled(tmp_path, buffer_of_a_class_of_its_own(**changed)))


@pytest.mark.parametrize(
    ("program", "why"),
    [
        ("import os; os._exit(3)", "ended with exit code 3"),
        ("import os; os.abort()", "was killed by SIGABRT"),
        ("import os; os._exit(0)", "gave no answer"),
        ("raise RuntimeError('it broke')", "RuntimeError: it broke"),
        ("import no_such_module", "No module named 'no_such_module'. Name a Python in which"),
        ("print('x' * 10**6); import sys; sys.stderr.write('y\\n' * 10**5); raise KeyError('z')", "KeyError: 'z'"),
        ("import sys; sys.exit('\\x1b[31mred')", r"\\x1b\[31mred"),
        ("pass", "holds a NoneType"),
    ],
)
def test_a_child_that_fails_gives_one_message(
    program: str, why: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ForeignFileError, match=why) as raised:
        read(pickled(tmp_path, Calls(program)))
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 1_000
    assert capfd.readouterr() == ("", "")


def test_a_child_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started = tmp_path / "started"
    program = (
        "import subprocess, time, pathlib; process = subprocess.Popen(['sleep', '600'], start_new_session=True); "
        f"pathlib.Path({str(started)!r}).write_text(str(process.pid)); time.sleep(600)"
    )
    monkeypatch.setattr(library, "SECONDS", 15.0)
    with pytest.raises(ForeignFileError, match="longer than 15 seconds"):
        read(pickled(tmp_path, Calls(program)))
    pid = int(started.read_text())
    deadline = time.monotonic() + 10
    while Path(f"/proc/{pid}/cmdline").exists() and Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_child_gets_no_secrets_and_leaves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "secret")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.chdir(tmp_path)
    program = "import os, sys; sys.exit(repr([os.environ.get('WANDB_API_KEY'), os.getcwd(), sys.stdin.read()]))"
    (tmp_path / "numpy.py").write_text("raise SystemExit('a module of the working directory')")
    with pytest.raises(ForeignFileError, match=r"\[None, '.*rlottery-\w+', ''\]"):
        read(pickled(tmp_path, Calls(program)))
    assert not list(tmp_path.glob("rlottery-*")) and os.environ["WANDB_API_KEY"] == "secret"


def agent_with(folder: Path, program: str) -> Path:
    """An agent of Stable-Baselines3 whose learning rate and clip range are made by a program."""
    path = folder / "agent.zip"
    setting = {":serialized:": base64.b64encode(cloudpickle.dumps(Calls(program))).decode()}
    with zipfile.ZipFile(AGENT) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            content = old.read(name)
            if name == "data":
                content = json.dumps({**json.loads(content), "learning_rate": setting, "train_freq": setting}).encode()
            new.writestr(name, content)
    return path


def test_a_library_that_cant_read_settings_is_an_error_and_asked_once(tmp_path: Path) -> None:
    started = tmp_path / "started"
    count = f"open({str(started)!r}, 'a').write('x'); "
    file = agent_with(tmp_path, count + "import os; os._exit(3)")
    assert any("schedule" in note and "--library-python" in note for note in read_agent(file).agent.notes)
    assert not started.exists()
    with pytest.raises(ForeignFileError, match=r"couldn't read .*ended with exit code 3"):
        read_agent(file, None, Library(PYTHON))
    assert started.read_text() == "x"
    file = agent_with(tmp_path, "raise RuntimeError")  # of one setting, not of the library
    assert any("schedule" in note and "--" not in note for note in read_agent(file, None, Library(PYTHON)).agent.notes)


def test_exploration_noise_of_a_class_of_its_own_is_not_imported() -> None:
    noise = base64.b64encode(cloudpickle.dumps(Calls("pass"))).decode()
    notes: list[str] = []
    assert action_noise(Settings({"action_noise": {":serialized:": noise}}), notes) == {}
    assert "exploration noise is of another kind" in notes[0]
    assert action_noise(Settings({"action_noise": None}), []) == {"exploration_noise": 0.0}


def test_an_answer_that_needs_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def too_much(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(library, "read_npz", too_much)
    with pytest.raises(ForeignFileError, match="needs more memory than there is"):
        read(pickled(tmp_path, buffer_of_a_class_of_its_own()))


def test_a_python_that_isnt_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"--library-python no/such/python: there is no such program"):
        Library(Path("no/such/python"))


def test_a_python_of_the_working_directory_is_told_from_one_in_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    here = tmp_path / "python"
    here.write_text("#!/bin/sh\n")
    here.chmod(0o700)
    assert Library("./python").python == here
    assert Library("python").python != here


def test_objects_in_settings_become_plain_values() -> None:
    from rlottery.interop.in_library import described

    assert described({"a": (1, 2.5, None)}) == {
        "dict": {"a": {"list": [{"value": 1}, {"value": 2.5}, {"value": None}]}}
    }
    assert described(lambda progress: 3e-4) == {"value": 3e-4}
    assert "error" in described(lambda progress: progress) and "error" in described(lambda: 1)
    assert described(Path) == {"class": [Path.__module__, "Path"]}
    assert described(pickle) == {"error": "it is a module"}
