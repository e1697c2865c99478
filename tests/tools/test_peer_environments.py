import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.peer_environments import peer_python, run_peer
from tools import peer_environments


def test_requirements_are_exact() -> None:
    assert "sb3" in peer_environments.names()
    for name in peer_environments.names():
        lines = (peer_environments.REQUIREMENTS / f"{name}.txt").read_text().split()
        assert all(line.count("==") == 1 for line in lines)


def test_an_unknown_environment_is_refused() -> None:
    script = peer_environments.__file__
    done = subprocess.run([sys.executable, script, "sb4"], capture_output=True, text=True)
    assert done.returncode == 1 and "No environment is called sb4. There are: " in done.stderr


def test_without_an_environment_the_test_is_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLOTTERY_PEERS", str(tmp_path))
    with pytest.raises(pytest.skip.Exception, match=r"tools/peer_environments.py sb3"):
        peer_python("sb3")
    (tmp_path / "sb3" / "bin").mkdir(parents=True)
    (tmp_path / "sb3" / "bin" / "python").symlink_to(sys.executable)
    assert peer_python("sb3") == tmp_path / "sb3" / "bin" / "python"


def test_a_script_that_fails_is_no_result() -> None:
    with pytest.raises(AssertionError, match="No such file"):
        run_peer(Path(sys.executable), f"no_script_{os.getpid()}.py")
