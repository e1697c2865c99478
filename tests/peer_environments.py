"""The Pythons of other libraries' environments. A test that needs one is skipped where it hasn't been made.

`tools/peer_environments.py` makes them. Another folder with them can be given by RLOTTERY_PEERS.
"""

import os
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
SCRIPTS = CHECKOUT / "tests" / "peers"
"""What runs in these environments."""


def peer_python(name: str) -> Path:
    """The Python of the environment `name`. Skips the test if there is none."""
    python = Path(os.environ.get("RLOTTERY_PEERS", CHECKOUT / ".peers")).absolute() / name / "bin" / "python"
    if not python.exists():
        pytest.skip(f"There is no environment {name}: uv run python tools/peer_environments.py {name}")
    return python


def run_peer(python: Path, script: str, *arguments: object) -> str:
    """What a script of tests/peers prints in an environment, on one thread. It must end well."""
    others = ("PYTHONPATH", "VIRTUAL_ENV", "XLA_FLAGS")  # those of the tests change the last bits
    environment = {key: value for key, value in os.environ.items() if key not in others}
    done = subprocess.run(
        [python, SCRIPTS / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def sb3_python() -> Path:
    """A Python with Stable-Baselines3, SB3-Contrib and PyTorch."""
    return peer_python("sb3")


@pytest.fixture(scope="session")
def sbx_python() -> Path:
    """A Python with SBX and JAX."""
    return peer_python("sbx")
