"""Training doesn't need the renderer that MUJOCO_GL names. A module stands in for MuJoCo."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import gymnasium
import pytest

from rlottery import envs
from rlottery.envs.mujoco_import import import_without_renderer
from rlottery.errors import TaskError

MUJOCO = """
import os
renderer = os.environ.get("MUJOCO_GL", "")
if renderer not in ("", "egl"):
    raise AttributeError("'NoneType' object has no attribute 'glGetError'")
"""
TASK = """
import mujoco
import gymnasium
from gymnasium.envs.classic_control import PendulumEnv

gymnasium.register("Swings-v0", entry_point=PendulumEnv, max_episode_steps=5)
"""


@pytest.fixture(autouse=True)
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    (tmp_path / "mujoco.py").write_text(MUJOCO)
    (tmp_path / "swinging.py").write_text(TASK)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "mujoco", raising=False)
    yield
    for name in ("mujoco", "swinging"):
        sys.modules.pop(name, None)
    gymnasium.registry.pop("Swings-v0", None)


@pytest.mark.parametrize(("given", "imported_with"), [("osmesa", ""), ("foo", ""), ("egl", "egl"), ("", "")])
def test_a_task_is_made_whatever_the_variable_names(
    monkeypatch: pytest.MonkeyPatch, given: str, imported_with: str
) -> None:
    monkeypatch.setenv("MUJOCO_GL", given)
    assert envs.make("swinging:Swings-v0").action_size == 1
    assert sys.modules["mujoco"].renderer == imported_with
    assert os.environ["MUJOCO_GL"] == given, "rendering uses it"


def test_other_errors_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUJOCO_GL", "osmesa")
    (tmp_path / "mujoco.py").write_text("raise OSError('libmujoco.so is missing')")
    with pytest.raises(TaskError, match=r"libmujoco\.so is missing"):
        envs.make("swinging:Swings-v0")
    assert not import_without_renderer() and os.environ["MUJOCO_GL"] == "osmesa"
