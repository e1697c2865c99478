"""Which renderer MuJoCo can use here without a screen. Child processes try them.

A broken driver ends the process that loads it, so this module doesn't import MuJoCo.
"""

import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Ask = Callable[[str, Mapping[str, str]], tuple[str, str]]
"""Code and environment variables of a Python process -> the last line that it prints, and what went wrong."""

_SCENE = "<mujoco><worldbody><light pos='0 0 3'/><geom type='plane' size='1 1 .1'/></worldbody></mujoco>"
_CODE = f"""\
import mujoco
model = mujoco.MjModel.from_xml_string("{_SCENE}")
data = mujoco.MjData(model)
mujoco.mj_forward(model, data)
with mujoco.Renderer(model, 32, 32) as renderer:
    renderer.update_scene(data)
    print(int(renderer.render().max()))
"""


@dataclass(frozen=True)
class Renderer:
    """A renderer that was tried, as a value of MUJOCO_GL, and why it doesn't work ("" if it does)."""

    name: str
    fault: str = ""


def try_renderers(ask: Ask, environment: Mapping[str, str]) -> list[Renderer]:
    """Try renderers in order of preference, up to the first that works."""
    tried = []
    for name in ("cgl",) if sys.platform == "darwin" else ("egl", "osmesa"):
        said, fault = ask(_CODE, {**environment, "MUJOCO_GL": name})
        tried.append(Renderer(name, fault or ("" if int(said) else "the picture is black")))
        if not tried[-1].fault:
            break
    return tried


def ask_a_child(code: str, environment: Mapping[str, str], seconds: float) -> tuple[str, str]:
    """The last line that a Python process prints, and what went wrong ("" if nothing)."""
    try:
        child = subprocess.run(
            [sys.executable, "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            timeout=seconds,
        )
    except subprocess.TimeoutExpired:
        return "", f"no answer within {seconds:g} seconds"
    if child.returncode < 0:
        return "", f"ended by {signal.Signals(-child.returncode).name}"
    # Destructors of what was half made print errors of their own, after the one that counts.
    fault = child.stderr.partition("Exception ignored in")[0].strip() or child.stderr
    lines = (fault if child.returncode else child.stdout).strip().splitlines() or [""]
    if child.returncode:
        return "", lines[-1] or f"exit code {child.returncode}"
    return lines[-1], ""
