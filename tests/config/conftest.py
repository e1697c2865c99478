"""Fixtures that load a config from its text."""

from collections.abc import Callable
from pathlib import Path

import pytest

from rlottery.config import Config, load_config
from rlottery.errors import ConfigError

Faults = Callable[..., list[str]]


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str | bytes], Path]:
    def write(content: str | bytes) -> Path:
        path = tmp_path / "config.yaml"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


@pytest.fixture
def faults(write: Callable[[str | bytes], Path]) -> Faults:
    """The lines of the message that a config is refused with, its folder cut off."""

    def faults(content: str | bytes, *overrides: str) -> list[str]:
        path = write(content)
        with pytest.raises(ConfigError) as error:
            load_config(path, overrides, runs_code=True)
        return str(error.value).replace(f"{path.parent}/", "").split("\n")

    return faults


@pytest.fixture
def load(write: Callable[[str | bytes], Path]) -> Callable[..., Config]:
    return lambda content, *overrides: load_config(write(content), overrides)
