"""Runs a header of `rlottery.export.c_header`: the machine's C compiler makes a program of it."""

import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rlottery.errors import StudyError

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
    """The actions that a header's function computes, and the compiler; or None, and why no program can run here.

    Args:
        name: what the header's names begin with.
        observations: (batch, obs).
        action_size: entries of an action; None if actions are integers.

    Raises:
        StudyError: the compiler works, but not with this header, or the program of the header fails.
    """
    command = compiler()
    if command is None:
        return None, "NumPy, because there is no C compiler here"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "policy.h").write_bytes(header)
        (place / "main.c").write_text(_main(name, discrete=action_size is None))
        if why := _compile_failure([*command, *FLAGS, "main.c", "-o", "main", "-lm"], place):
            (place / "nothing.c").write_text("int main(void) { return 0; }\n")
            if broken := _compile_failure([*command, *FLAGS, "nothing.c", "-o", "nothing"], place):
                return None, f"NumPy, because {command[0]} compiles nothing: {broken}"
            raise StudyError(f"{command[0]} can't compile the header, so it was not written: {why}")
        given = np.ascontiguousarray(observations, np.float32).tobytes()
        try:
            run = subprocess.run([place / "main"], input=given, check=True, capture_output=True, timeout=SECONDS)
        except OSError:  # it is for another processor
            return None, f"NumPy, because programs of {command[0]} don't run here"
        except subprocess.SubprocessError as error:
            raise StudyError(f"The program of the header fails, so it was not written: {error}") from None
    if action_size is None:
        return np.frombuffer(run.stdout, np.int64), command[0]
    return np.frombuffer(run.stdout, np.float32).reshape(len(observations), action_size), command[0]


def _compile_failure(command: list[str], folder: Path) -> str:
    """Run a compiler. Returns the line that says why it failed; "" if it ended well."""
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=SECONDS)
    except (OSError, subprocess.SubprocessError) as error:
        lines = (getattr(error, "stderr", b"") or str(error).encode()).decode(errors="replace").splitlines()
        return next((line for line in lines if "error" in line), lines[0])[:200]
    return ""


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
