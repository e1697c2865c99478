"""Runs a header of `rlottery.export.c_header`: the machine's C compiler makes a program of it."""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

COMPILERS = ("cc", "gcc", "clang")
FLAGS = ("-std=c99", "-O1")
SECONDS = 120
"""The longest that compiling may take, and running."""


def compiler() -> list[str] | None:
    """The command that compiles C: $CC, or the first of `COMPILERS`; None if there is none."""
    chosen = shlex.split(os.environ.get("CC", ""))
    candidates = [chosen] if chosen else [[name] for name in COMPILERS]
    return next((command for command in candidates if shutil.which(command[0])), None)


def run_header(
    header: bytes, name: str, observations: NDArray[np.float32], action_size: int | None
) -> tuple[np.ndarray | None, str]:
    """The actions that a header's function computes, and the compiler; or None, and why there are none.

    Args:
        name: what the header's names begin with.
        observations: (batch, obs).
        action_size: entries of an action; None if actions are integers.
    """
    command = compiler()
    if command is None:
        return None, "NumPy, because there is no C compiler here"
    try:
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder)
            (place / "policy.h").write_bytes(header)
            (place / "main.c").write_text(_main(name, discrete=action_size is None))
            build = [*command, *FLAGS, "main.c", "-o", "main", "-lm"]
            subprocess.run(build, cwd=place, check=True, capture_output=True, timeout=SECONDS)
            given = np.ascontiguousarray(observations, np.float32).tobytes()
            run = subprocess.run([place / "main"], input=given, check=True, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        said = getattr(error, "stderr", b"") or b""
        why = next(iter(said.decode(errors="replace").splitlines()), str(error))[:200]
        return None, f"NumPy, because {command[0]} made no program that runs: {why}"
    if action_size is None:
        return np.frombuffer(run.stdout, np.int64), command[0]
    return np.frombuffer(run.stdout, np.float32).reshape(len(observations), action_size), command[0]


def _main(name: str, *, discrete: bool) -> str:
    """A program that reads observations from its standard input and writes actions."""
    act = f"action = {name}_act(observation);" if discrete else f"{name}_act(observation, action);"
    return f"""#include <stdio.h>
#include "policy.h"

static float observation[{name.upper()}_OBSERVATION_SIZE];

int main(void)
{{
  {"int64_t action" if discrete else f"static float action[{name.upper()}_ACTION_SIZE]"};
  while (fread(observation, sizeof observation, 1, stdin) == 1) {{
    {act}
    if (fwrite({"&action" if discrete else "action"}, sizeof action, 1, stdout) != 1) return 1;
  }}
  return 0;
}}
"""
