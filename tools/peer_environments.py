"""Make the environments of other libraries, whose agents some tests train and run (tests/peer_environments.py).

    uv run python tools/peer_environments.py             # all
    uv run python tools/peer_environments.py sb3 sbx     # these

Each is a folder `.peers/NAME` with the pinned requirements of tests/peers/NAME.txt. One that is there already is kept,
unless its requirements have changed. PyTorch is its build for CPUs, which pip finds where an index of it is configured.
"""

import shutil
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).parent.parent
PEERS = CHECKOUT / ".peers"
REQUIREMENTS = CHECKOUT / "tests" / "peers"


def names() -> list[str]:
    """The names of all environments."""
    return sorted(path.stem for path in REQUIREMENTS.glob("*.txt"))


def make(name: str) -> bool:
    """Make the environment `name`, if it isn't there. Returns whether it is there now."""
    folder, requirements = PEERS / name, REQUIREMENTS / f"{name}.txt"
    made_of = folder / "requirements.txt"
    if made_of.exists() and made_of.read_bytes() == requirements.read_bytes():
        return True
    shutil.rmtree(folder, ignore_errors=True)
    python = folder / "bin" / "python"
    install = [python, "-m", "pip", "install", "--quiet", "--requirement", requirements]
    for command in ([sys.executable, "-m", "venv", folder], install):
        if subprocess.run(command).returncode:
            shutil.rmtree(folder, ignore_errors=True)
            return False
    made_of.write_bytes(requirements.read_bytes())  # written last: an unfinished environment is made again
    return True


if __name__ == "__main__":
    asked = sys.argv[1:] or names()
    if unknown := set(asked) - set(names()):
        raise SystemExit(f"No environment is called {', '.join(sorted(unknown))}. There are: {', '.join(names())}.")
    failed = [name for name in asked if not make(name)]
    if failed:
        raise SystemExit(f"Not installed: {', '.join(failed)}. The tests that need them are skipped.")
