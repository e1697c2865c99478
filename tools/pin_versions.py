"""Pin every version, indirect ones too, for all supported Pythons, in pyproject.toml's `constraint-dependencies`.

    uv run python tools/pin_versions.py

The versions come from `uv pip compile --universal`, markers and all. `uv.lock` would hold the hosts that they were
downloaded from, so it stays out of the repository, and the constraints stand in for it.
"""

import re
import subprocess
import tomllib
from pathlib import Path

PYPROJECT = Path(__file__).parent.parent / "pyproject.toml"


def compiled() -> list[str]:
    """All requirements with exact versions and markers, sorted."""
    without_pins = _with_constraints(PYPROJECT.read_text(), [])
    lowest = tomllib.loads(without_pins)["project"]["requires-python"].removeprefix(">=").split(",")[0]
    command = ["uv", "pip", "compile", "--universal", "--python-version", lowest, "--all-extras"]
    command += ["--group", "dev", "--group", "docs"]
    original = PYPROJECT.read_text()
    PYPROJECT.write_text(without_pins)
    try:
        output = subprocess.run(
            [*command, "--quiet", "--no-header", "--no-annotate", PYPROJECT.name],
            check=True,
            capture_output=True,
            text=True,
            cwd=PYPROJECT.parent,
        ).stdout
    finally:
        PYPROJECT.write_text(original)
    return sorted(line.strip() for line in output.splitlines() if re.match(r"[A-Za-z0-9]", line))


def _with_constraints(text: str, pins: list[str]) -> str:
    """`text` with the list of constraints replaced; it must be there, if only as ``[]``."""
    listed = "".join(f'    "{pin}",\n' for pin in pins)
    block = f"constraint-dependencies = [\n{listed}]" if pins else "constraint-dependencies = []"
    replaced, count = re.subn(r"^constraint-dependencies = \[(?:\n.*?^)?\]", lambda _: block, text, flags=re.M | re.S)
    if count != 1:
        raise SystemExit("pyproject.toml has no constraint-dependencies to rewrite.")
    return replaced


if __name__ == "__main__":
    pins = compiled()
    PYPROJECT.write_text(_with_constraints(PYPROJECT.read_text(), pins))
    print(f"Pinned {len(pins)} requirements. Check with: uv sync && uv run pytest")
