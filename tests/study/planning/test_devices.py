import sys
from pathlib import Path

import pytest

from rlottery.errors import StudyError
from rlottery.study.planning import devices
from rlottery.study.planning.devices import check_device, has_jax_plugin
from tests.study.studies import tiny_config


def test_a_plugin_of_jax(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])  # without those that are installed
    monkeypatch.delitem(sys.modules, "jax_plugins", raising=False)
    folder = tmp_path / "jax_plugins"
    folder.mkdir()
    before = has_jax_plugin()
    (folder / "of_a_test.py").touch()
    assert has_jax_plugin() and not before


def test_a_gpu_is_asked_for_where_jax_can_have_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "has_jax_plugin", lambda: False)
    check_device(tiny_config(tmp_path))
    with pytest.raises(StudyError, match=r"device: cuda, but JAX finds no NVIDIA GPU.*cuda12.*or set device: cpu"):
        check_device(tiny_config(tmp_path, "device=cuda"))
    monkeypatch.setattr(devices, "has_jax_plugin", lambda: True)
    check_device(tiny_config(tmp_path, "device=cuda"))
